"""Relational distillation: queries keep the distances and angles of their sentence vectors.

It is the text correlation preservation of MSC-PRVR (arXiv 2510.27432; docs/models/addons.md,
section 3).
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from dreamprvr.core.errors import check_range
from dreamprvr.models.encoded import EncodedBatch
from dreamprvr.models.layers.basic import at_least_float32
from dreamprvr.models.losses.retrieval import is_query
from dreamprvr.models.parts import LossTerm
from dreamprvr.models.settings import LARGEST

SMALLEST = 1e-6  # two vectors that are nearer have no direction from one to the other


def distance_distillation(student: Tensor, teacher: Tensor, counted: Tensor) -> Tensor:
    """Compare the distances of all pairs, each divided by the mean distance of its own space.

    Args:
        student: embeddings of Q queries, (Q, D).
        teacher: their sentence vectors, (Q, E); they take no gradient.
        counted: (Q,) bool, false for padding.

    Returns:
        Mean of the smooth L1 loss over all pairs of two different queries; 0 if there is none.
    """
    pairs = _different(counted)
    with torch.no_grad():
        wanted = _relative_distances(teacher, pairs)
    losses = F.smooth_l1_loss(_relative_distances(student, pairs), wanted, reduction="none")
    return losses.where(pairs, 0).sum() / pairs.sum().clamp(min=1)


def _different(counted: Tensor) -> Tensor:
    """Mark the pairs of two different counted queries; (Q,) -> (Q, Q)."""
    itself = torch.eye(len(counted), dtype=torch.bool, device=counted.device)
    return counted[:, None] & counted & ~itself


def _relative_distances(vectors: Tensor, pairs: Tensor) -> Tensor:
    """Divide the distances of all pairs by the mean of those that are not 0; (Q, Q)."""
    # through matrix products, the distance of two near vectors would be lost in rounding
    distances = torch.cdist(vectors, vectors, compute_mode="donot_use_mm_for_euclid_dist")
    distances = distances.where(pairs, 0)
    mean = distances.sum() / (distances > 0).sum().clamp(min=1)
    return distances / mean.clamp(min=SMALLEST)


def angle_distillation(student: Tensor, teacher: Tensor, counted: Tensor) -> Tensor:
    """Compare the angles of all triplets, which takes Q x Q x (Q + D) numbers.

    Args:
        student: embeddings of Q queries, (Q, D).
        teacher: their sentence vectors, (Q, E); they take no gradient.
        counted: (Q,) bool, false for padding.

    Returns:
        Mean of the smooth L1 loss of the cosines at the second query of all triplets of three
        different queries; 0 if there is none.
    """
    pairs = _different(counted)
    triplets = pairs[:, :, None] & pairs[:, None, :] & pairs  # (Q, Q, Q), the vertex first
    with torch.no_grad():
        wanted = _cosines_of_triplets(teacher)
    losses = F.smooth_l1_loss(_cosines_of_triplets(student), wanted, reduction="none")
    return losses.where(triplets, 0).sum() / triplets.sum().clamp(min=1)


def _cosines_of_triplets(vectors: Tensor) -> Tensor:
    """Compute the cosines of the angles at a vertex between two other points; (Q, Q, Q)."""
    ways = F.normalize(vectors[None] - vectors[:, None], dim=-1, eps=SMALLEST)  # (Q, Q, D)
    return ways @ ways.transpose(1, 2)


class RelationalDistillation(LossTerm):
    """Keeps the relations of sentences among the embeddings of their queries.

    The sentence vector of a caption is the mean of its word features, which come from a frozen
    encoder. The number of triplets grows with the cube of the queries. So the angles are those of
    all queries up to `angle_queries`, otherwise of a random sample of that size, drawn anew in each
    step; each of several devices draws its own.

    Args:
        distance_weight: weight of the distances.
        angle_weight: weight of the angles.
        angle_queries: largest number of queries whose angles are compared in a step.
    """

    takes_sentences = True

    def __init__(
        self, distance_weight: float = 15.0, angle_weight: float = 30.0, angle_queries: int = 128
    ) -> None:
        super().__init__()
        check_range("angle_queries", angle_queries, 3, LARGEST, whole=True)  # 3 make a triplet
        self.weight = {"distance": distance_weight, "angle": angle_weight}
        self.angle_queries = angle_queries

    def forward(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute the terms `distance` and `angle`."""
        student = at_least_float32(batch.queries.embedding)
        teacher = at_least_float32(batch.queries.extras["sentences"])
        counted = is_query(batch.labels)
        chosen = self._chosen(counted)
        return {
            "distance": distance_distillation(student, teacher, counted),
            "angle": angle_distillation(student[chosen], teacher[chosen], counted[chosen]),
        }

    def _chosen(self, counted: Tensor) -> Tensor:
        """Choose the queries whose angles are compared; padding comes last."""
        if len(counted) <= self.angle_queries:
            return torch.arange(len(counted), device=counted.device)
        keys = torch.rand(len(counted), device=counted.device).masked_fill(~counted, -1.0)
        return keys.topk(self.angle_queries).indices
