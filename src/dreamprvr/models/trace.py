"""The evidence score of TRACE, which rescores candidates (docs/models/trace.md)."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.models.encoded import EncodedBatch, EncodedQueries, EncodedVideos
from dreamprvr.models.layers.basic import at_least_float32, unit
from dreamprvr.models.losses.retrieval import mean_over_queries, triplet
from dreamprvr.models.parts import Rescorer

NUMBERS = 4e6  # largest size of a tensor of queries, videos and frames


class TraceScorer(Rescorer):
    """Scores a video by the frames that the anchors of the video lead a query to.

    The anchors of a video are its registers. In a model without registers they are the means of
    `anchors` equal parts of its frames.

    Args:
        config: settings of the model, with `hidden_size`.
        weight: l, weight of the evidence score in the score of the model.
        temperature: t.
        route_weight: g, weight of the route over the anchors in the score of a frame.
        soft_weight: h, weight of the mean frame's score.
        anchors: number of anchors in a model without registers.
        nce_temperature: t_c, temperature of the loss term `trace_nce`.
        nce_weight: weight of the loss term `trace_nce`.
        triplet_weight: weight of the loss term `trace_triplet`.
        alone_until: epochs in which these two terms are the whole loss, and the rest of the model
            stays as it is.
        fused_from: first epoch, counted from 0, whose other loss terms see the evidence score.
        fused_over: number of epochs after `fused_from` in which its weight there grows up to l.

    Raises:
        UserError: a setting is not allowed.
    """

    def __init__(
        self,
        config: Any,
        weight: float = 0.03,
        temperature: float = 0.07,
        route_weight: float = 0.3,
        soft_weight: float = 0.2,
        anchors: int = 6,
        nce_temperature: float = 0.07,
        nce_weight: float = 0.02,
        triplet_weight: float = 0.05,
        alone_until: int = 5,
        fused_from: int = 30,
        fused_over: int = 20,
    ) -> None:
        super().__init__()
        if not (temperature > 0.02 and nce_temperature > 0 and anchors > 0 and fused_over > 0):
            raise UserError(
                "network.rescorer: temperature must be above 0.02, nce_temperature, anchors and "
                "fused_over above 0"
            )
        size = config.hidden_size
        self.query, self.anchor, self.key, self.value = (
            nn.Linear(size, size, bias=False) for _ in range(4)
        )
        self.weight, self.temperature = weight, temperature
        self.route_weight, self.soft_weight, self.anchors = route_weight, soft_weight, anchors
        self.nce_temperature = nce_temperature
        self.term_weights = {"trace_nce": nce_weight, "trace_triplet": triplet_weight}
        self.alone_until, self.fused_from, self.fused_over = alone_until, fused_from, fused_over

    def forward(self, queries: EncodedQueries, videos: EncodedVideos) -> Tensor:
        """Compute S_trace of every query and video (docs/models/trace.md, section 2).

        Only the directions of frame tokens count, so it does not matter if they have unit length.

        Args:
            queries: Q queries.
            videos: B videos with the scale `frames`, and the extra `registers` if there are any.

        Returns:
            (Q, B), in float32 or float64.
        """
        with torch.autocast(queries.embedding.device.type, enabled=False):
            query = _project(queries.embedding, self.query)
            scale = videos.scales["frames"]
            frames = unit(scale.tokens)
            mask = torch.ones_like(frames[..., 0]) if scale.mask is None else scale.mask
            key, value = _project(frames, self.key), _project(frames, self.value)
            registers = videos.extras.get("registers")
            if registers is None:
                anchors, has_frames = part_means(frames, mask, self.anchors)
            else:
                anchors, has_frames = registers, torch.ones_like(registers[..., 0])
            anchors = _project(anchors, self.anchor)
            per_video = (anchors, has_frames, key, value, mask)
            columns = [
                self._score(query, *(each[tile] for each in per_video))
                for tile in _tiles(len(query), *mask.shape)
            ]
        return torch.cat(columns, dim=1)

    def _score(
        self, query: Tensor, anchors: Tensor, has_frames: Tensor, key: Tensor, value: Tensor,
        mask: Tensor,
    ) -> Tensor:  # fmt: skip
        """Score some videos, (Q, B); all vectors have unit length, masks are (B, R) and (B, M)."""
        t = self.temperature
        padded, empty = mask == 0, has_frames == 0
        direct = torch.einsum("qd,bmd->qbm", query, key)
        to_anchor = torch.einsum("qd,brd->qbr", query, anchors) / t
        to_anchor = to_anchor.masked_fill(empty, -torch.inf)
        to_frame = torch.einsum("brd,bmd->brm", anchors, key) / t
        # log sum_k exp(a_k + b_k); the largest a of a pair and the largest b of a video, which are
        # taken out, are at most 2 / t = 100 apart from the smallest
        top, highest = to_anchor.amax(-1, keepdim=True), to_frame.amax((1, 2), keepdim=True)
        sums = torch.einsum("qbr,brm->qbm", (to_anchor - top).exp(), (to_frame - highest).exp())
        tiny = torch.finfo(sums.dtype).tiny
        route = t * (sums.clamp(min=tiny).log() + top + highest.squeeze(1))
        routed = direct + self.route_weight * route
        best = routed.masked_fill(padded, -torch.inf).max(dim=-1).values
        shares = to_frame.masked_fill(padded[:, None], -torch.inf).softmax(dim=-1)
        mixture = torch.einsum("qbr,brm->qbm", to_anchor.softmax(dim=-1), shares)
        # the cosine of q' and v = sum_i u_i x'_i, without making v: |v|^2 = u^T (x' x'^T) u
        along = (mixture * torch.einsum("qd,bmd->qbm", query, value)).sum(dim=-1)
        products = torch.einsum("bmd,bnd->bmn", value, value)
        square = (torch.einsum("qbm,bmn->qbn", mixture, products) * mixture).sum(dim=-1)
        return best + self.soft_weight * along * square.clamp(min=1e-12).rsqrt()

    def losses(
        self, batch: EncodedBatch, scores: Tensor, margin: float, hard_negatives: bool, pool: int
    ) -> dict[str, Tensor]:
        """Compute the two terms of docs/models/trace.md, section 3; see `Rescorer.losses`."""
        labels = batch.labels
        logits = scores / self.nce_temperature
        positive = logits.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
        return {
            "trace_nce": mean_over_queries(logits.logsumexp(dim=1) - positive, labels),
            "trace_triplet": triplet(scores, labels, margin, hard_negatives, pool),
        }

    def fused_weight(self, epoch: int) -> float:
        """Grow linearly from 0 to l; see `Rescorer.fused_weight`."""
        share = (epoch - self.fused_from) / self.fused_over
        return self.weight * min(max(share, 0.0), 1.0)


def _project(x: Tensor, layer: nn.Linear) -> Tensor:
    """Project vectors and bring them to unit length, never in half precision."""
    return unit(layer(at_least_float32(x)))


def part_means(frames: Tensor, mask: Tensor, parts: int) -> tuple[Tensor, Tensor]:
    """Average the frames of equal parts of each video.

    Args:
        frames: (B, M, D).
        mask: (B, M), 1 for a frame and 0 for padding; a video's frames come first.
        parts: P, number of parts.

    Returns:
        The means, (B, P, D), zero for a part without a frame, and a mask (B, P) that has 0 for it.
    """
    count = mask.sum(dim=1, keepdim=True)
    place = torch.arange(mask.shape[1], device=mask.device)
    part = (place * parts / count.clamp(min=1)).long()  # (B, M)
    member = (part[:, None] == torch.arange(parts, device=mask.device)[:, None]) * mask[:, None]
    size = member.sum(dim=-1)  # (B, P)
    means = torch.einsum("bpm,bmd->bpd", member, frames) / size.clamp(min=1)[..., None]
    return means, (size > 0).to(mask.dtype)


def _tiles(queries: int, videos: int, frames: int) -> Iterator[slice]:
    """Split videos so that a tensor of queries, videos and frames stays small."""
    size = max(1, int(NUMBERS / max(1, queries * frames)))
    return (slice(start, start + size) for start in range(0, videos, size))
