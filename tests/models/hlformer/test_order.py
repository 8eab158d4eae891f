import math

import pytest
import torch
from models.tiny import batch, single
from torch import Tensor

from dreamprvr.models.encoded import PADDED, EncodedBatch, EncodedVideos, Scale
from dreamprvr.models.hlformer import HLFormer, HLFormerConfig, ObjectiveConfig
from dreamprvr.models.hlformer.order import PartialOrder, angle, aperture

GENERATOR = torch.Generator().manual_seed(0)
POINTS = torch.randn(6, 3, dtype=torch.float64, generator=GENERATOR)
SIZES = {
    "hidden_size": 16, "num_heads": 2, "num_clips": 4, "max_frames": 8, "max_words": 5,
    "gaussian_widths": (4.0,), "lorentz_size": 7, "dropout": 0.0, "input_dropout": 0.0,
}  # fmt: skip


def distance(a: Tensor, b: Tensor, curvature: float) -> float:
    """The length of the way between two points, given without the time."""
    times = [math.sqrt(1 / curvature + float(x @ x)) for x in (a, b)]
    return math.acosh(curvature * (times[0] * times[1] - float(a @ b))) / math.sqrt(curvature)


@pytest.mark.parametrize("curvature", [0.1, 1.0, 4.0])
def test_the_angle_is_that_of_a_hyperbolic_triangle(curvature: float) -> None:
    """By the law of cosines, of the triangle of the origin, the apex and the point."""
    root = math.sqrt(curvature)
    for apex, point in zip(POINTS[:3], POINTS[3:], strict=True):
        to_origin, to_point, opposite = (
            root * distance(a, b, curvature)
            for a, b in ((apex, 0 * apex), (apex, point), (0 * point, point))
        )
        cosine = (math.cosh(to_origin) * math.cosh(to_point) - math.cosh(opposite)) / (
            math.sinh(to_origin) * math.sinh(to_point)
        )
        found = angle(apex[None], point[None], torch.tensor(curvature).double())
        # the axis of the cone points away from the origin
        assert float(found) == pytest.approx(math.pi - math.acos(cosine), abs=1e-6)


def test_a_point_behind_the_apex_is_inside_and_the_origin_outside() -> None:
    one, apex = torch.tensor(1.0).double(), POINTS[:1]
    assert float(angle(apex, 1.5 * apex, one)) == pytest.approx(0, abs=1e-3)
    assert float(angle(apex, 0.1 * apex, one)) == pytest.approx(math.pi, abs=1e-3)
    half = aperture(POINTS, one)
    by_length = POINTS.norm(dim=-1).argsort()
    assert (half[by_length].diff() < 0).all()  # a cone far from the origin is narrower
    assert half.max() < math.pi / 2
    expected = [math.asin(0.2 / float(point.norm())) for point in POINTS]
    torch.testing.assert_close(half, torch.tensor(expected).double())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_at_the_borders_are_finite(dtype: torch.dtype) -> None:
    """Of points on the axis, of the apex itself, and of points at and near the origin."""
    row = POINTS[0].to(dtype)
    apex = torch.stack([row, row, 0 * row, 1e-5 * row, row, 1e4 * row]).requires_grad_()
    point = torch.stack([2 * row, row, row, row, 0 * row, 1e4 * row]).requires_grad_()
    curvature = torch.tensor(1.0, dtype=dtype, requires_grad=True)
    loss = (angle(apex, point, curvature) - aperture(apex, curvature)).clamp(min=0).sum()
    loss.backward()
    assert loss.isfinite()
    for tensor in (apex, point, curvature):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def encoded(masks_padding: bool = False) -> tuple[PartialOrder, EncodedBatch]:
    torch.manual_seed(0)
    objective = ObjectiveConfig(order_masks_padding=masks_padding)
    model = HLFormer(6, 5, HLFormerConfig(**SIZES), objective)
    with torch.no_grad():
        found = model.encode_batch(single(batch(captions=(2, 1, 3), frames=(8, 3, 1))))
    return model.order.requires_grad_(False), found


def test_the_term_is_the_mean_over_queries_and_padding_takes_no_part() -> None:
    order, data = encoded()
    queries, videos = order.query_points(data.queries.embedding), order.video_points(data.videos)
    one = torch.tensor(1.0)
    outside = [
        float((angle(videos[[v]], queries[[q]], one) - aperture(videos[[v]], one)).clamp(min=0))
        for q, v in enumerate(data.labels.tolist())
    ]
    assert sum(outside) > 0
    assert float(order(data)) == pytest.approx(sum(outside) / 6, rel=1e-5)
    embedding = torch.cat([data.queries.embedding, torch.zeros(2, 16)])
    padded = EncodedBatch(
        data.queries._replace(embedding=embedding),
        data.videos,
        torch.cat([data.labels, torch.tensor([PADDED, PADDED])]),
    )
    torch.testing.assert_close(order(padded), order(data))


@pytest.mark.parametrize("masks_padding", [False, True])
def test_padded_frames_share_in_the_pooling_only_as_published(masks_padding: bool) -> None:
    order, data = encoded(masks_padding)
    order.frame_pooling.weight.data.normal_()
    clips, frames = data.videos.scales["clips"], data.videos.scales["frames"]
    cut = Scale(frames.tokens[1:2, :3], frames.mask[1:2, :3])  # the video of three frames
    alone = EncodedVideos({"clips": Scale(clips.tokens[1:2]), "frames": cut}, {})
    difference = (order.video_points(data.videos)[1:2] - order.video_points(alone)).abs().max()
    assert (difference < 1e-6) == masks_padding


def test_learned_scalars_are_kept_in_their_ranges() -> None:
    order = PartialOrder(16, False).requires_grad_(False)
    assert order.log_query_scale.exp() == pytest.approx(0.25)
    for given in (-9.0, -1.0, 9.0):
        for scalar in (order.log_curvature, order.log_query_scale, order.log_video_scale):
            scalar.data.fill_(given)
        order.constrain()
        assert order.log_curvature.exp() == pytest.approx(min(max(math.exp(given), 0.1), 10))
        assert order.log_query_scale == order.log_video_scale == min(given, 0)
