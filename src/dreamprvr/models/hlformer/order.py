"""The partial order of queries and videos (docs/models/hlformer.md, section 3).

A caption describes a part of its video, so it is more specific than the video. In hyperbolic
space, each video spans a cone away from the origin, in which its queries belong.
"""

import math

import torch
from torch import Tensor, nn

from dreamprvr.models.encoded import EncodedBatch, EncodedVideos
from dreamprvr.models.layers.basic import at_least_float32
from dreamprvr.models.layers.query import AttentionPooling
from dreamprvr.models.losses.retrieval import mean_over_queries

LONGEST = math.asinh(2**15)  # a longer vector is mapped as one of this length
LEAST_RADIUS = 0.1  # points of videos that lie nearer to the origin have the widest cone
# The published code clamps at 1 - 1e-8, which is 1 in float32, where the slopes are infinite.
LARGEST_COSINE = 1 - 1e-7
LOG_CURVATURE = math.log(10)  # largest absolute value


class PartialOrder(nn.Module):
    """Penalises queries outside the cones of their videos.

    Args:
        hidden_size: D.
        mask_padding: leave padded frames out of the pooling. In the published code they take part
            as tokens of zeros.
    """

    def __init__(self, hidden_size: int, mask_padding: bool) -> None:
        super().__init__()
        self.mask_padding = mask_padding
        self.frame_pooling = AttentionPooling(hidden_size)
        self.clip_pooling = AttentionPooling(hidden_size)
        self.log_curvature = nn.Parameter(torch.tensor(0.0))
        self.log_query_scale = nn.Parameter(torch.tensor(-math.log(hidden_size) / 2))
        self.log_video_scale = nn.Parameter(torch.tensor(-math.log(hidden_size) / 2))

    def forward(self, batch: EncodedBatch) -> Tensor:
        """Compute the mean over the queries of how far each is outside its video's cone.

        Args:
            batch: the encoded batch.

        Returns:
            A scalar, in radians.
        """
        curvature = self.log_curvature.exp()
        query = self.query_points(batch.queries.embedding)
        video = self.video_points(batch.videos)[batch.labels.clamp(min=0)]
        outside = angle(video, query, curvature) - aperture(video, curvature)
        return mean_over_queries(outside.clamp(min=0), batch.labels)

    def query_points(self, query: Tensor) -> Tensor:
        """Map the embeddings of queries to points; (Q, D) -> (Q, D), without the time."""
        return self._point(self.log_query_scale.exp() * at_least_float32(query))

    def video_points(self, videos: EncodedVideos) -> Tensor:
        """Pool the tokens of videos, and map them to points; (B, D), without the time."""
        clips, frames = videos.scales["clips"], videos.scales["frames"]
        mask = frames.mask if self.mask_padding else None
        pooled = self.frame_pooling(at_least_float32(frames.tokens), mask)
        pooled = (pooled + self.clip_pooling(at_least_float32(clips.tokens))) / 2
        return self._point(self.log_video_scale.exp() * pooled)

    def _point(self, x: Tensor) -> Tensor:
        length = (self.log_curvature / 2).exp() * x.norm(dim=-1, keepdim=True)
        return torch.sinh(length.clamp(max=LONGEST)) / length.clamp(min=1e-8) * x

    def constrain(self) -> None:
        """Keep the curvature from 0.1 to 10, and the scales at 1 or below."""
        with torch.no_grad():
            self.log_curvature.clamp_(-LOG_CURVATURE, LOG_CURVATURE)
            self.log_query_scale.clamp_(max=0)
            self.log_video_scale.clamp_(max=0)


def angle(apex: Tensor, point: Tensor, curvature: Tensor) -> Tensor:
    """Compute the angle at the apex of a cone between its axis and a point, (Q,).

    Args:
        apex: points without the time, (Q, D).
        point: points without the time, (Q, D).
        curvature: c, a scalar.
    """
    apex_time, point_time = ((1 / curvature + x.square().sum(dim=-1)).sqrt() for x in (apex, point))
    product = curvature * ((apex * point).sum(dim=-1) - apex_time * point_time)
    root = (product.square() - 1).clamp(min=1e-8).sqrt()
    cosine = (point_time + product * apex_time) / (apex.norm(dim=-1) * root + 1e-8)
    return torch.acos(cosine.clamp(-LARGEST_COSINE, LARGEST_COSINE))


def aperture(apex: Tensor, curvature: Tensor) -> Tensor:
    """Compute half the angle of the cone of each apex, (Q,); the arguments are those of `angle`."""
    sine = 2 * LEAST_RADIUS / (apex.norm(dim=-1) * curvature.sqrt() + 1e-8)
    return torch.asin(sine.clamp(-LARGEST_COSINE, LARGEST_COSINE))
