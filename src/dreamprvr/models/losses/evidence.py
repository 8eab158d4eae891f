"""Evidential losses between videos and inside a video (docs/models/holmes.md, sections 2 to 4).

Evidence grows exponentially with a cosine, so that everything here is computed in float32 or
float64, never in half precision. No function makes the CPU wait for an accelerator.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from dreamprvr.core.errors import UserError, check_range
from dreamprvr.models.encoded import EncodedBatch
from dreamprvr.models.layers.basic import unit
from dreamprvr.models.losses.retrieval import TERM_NAMES, is_query, mean_over_queries
from dreamprvr.models.parts import LossTerm
from dreamprvr.models.scoring import scale_scores, unit_rows, unit_tokens
from dreamprvr.models.settings import LARGEST

CONSISTENT, CONFLICTING, UNCERTAIN = 0, 1, 2  # kinds of queries
LEAST_TEMPERATURE = 0.02  # below, the product of two evidences is beyond float32
PLAN_TEMPERATURE = 0.1  # temperature of the transport plan of queries and clips
PLAN_ITERATIONS = 50


# Between videos


def evidence(cosines: Tensor, temperature: float) -> Tensor:
    """Turn cosines of any shape into evidence, exp(tanh(cosine) / temperature)."""
    return torch.exp(torch.tanh(cosines) / temperature)


def evidential_loss(found: Tensor, target: Tensor) -> Tensor:
    """Compare the Dirichlet distribution of each row of evidence with a target distribution.

    Args:
        found: evidence of Q queries for K classes, (Q, K).
        target: y, probability of each class, (Q, K).

    Returns:
        For each row the squared errors of the expected probabilities plus their variances, summed
        over the classes, (Q,).
    """
    alpha = found + 1
    total = alpha.sum(dim=1, keepdim=True)  # S
    expected = alpha / total
    variance = expected * (1 - expected) / (total + 1)
    return ((target - expected) ** 2 + variance).sum(dim=1)


def combined_evidence(first: Tensor, second: Tensor) -> Tensor:
    """Combine the evidence of two sources by the reduced rule of Dempster and Shafer.

    The mass of the conflict scales all beliefs and the uncertainty alike, so it cancels where they
    become evidence again: e1 e2 / K + e1 + e2.

    Args:
        first: e1, (Q, K).
        second: e2, (Q, K).

    Returns:
        (Q, K).
    """
    return first * second / first.shape[1] + first + second


def query_kinds(cosines: Tensor, found: Tensor, labels: Tensor, beta: float) -> Tensor:
    """Tell which queries are consistent, conflicting or uncertain at one scale.

    Args:
        cosines: s, scores of Q queries and K videos, (Q, K).
        found: their evidence, (Q, K).
        labels: (Q,), the video of each query, or `PADDED`.
        beta: bound of the two thresholds.

    Returns:
        (Q,), one of `CONSISTENT`, `CONFLICTING` and `UNCERTAIN`; without a meaning for padding.
    """
    alpha = found + 1
    total = alpha.sum(dim=1)
    uncertainty = alpha.shape[1] / total
    own = cosines.gather(1, labels.clamp(min=0)[:, None]).squeeze(1)
    # if no query is right, the bounds of the thresholds are what is left
    right = cosines.argmax(dim=1) == labels
    largest = uncertainty.masked_fill(~right, -torch.inf).max()
    smallest = own.masked_fill(~right, torch.inf).min()
    any_right = right.any()
    most_uncertain = largest.clamp(max=1 - beta).where(any_right, 1 - beta)
    least_own = smallest.clamp(min=beta).where(any_right, beta)
    spread = torch.digamma(total + 1)[:, None] - torch.digamma(alpha + 1)
    entropy = (alpha / total[:, None] * spread).sum(dim=1)
    conflicting = (own < least_own) | (entropy > lower_median(entropy, is_query(labels)))
    kinds = torch.where(conflicting, CONFLICTING, CONSISTENT)
    return kinds.masked_fill(uncertainty > most_uncertain, UNCERTAIN)


def lower_median(values: Tensor, counted: Tensor) -> Tensor:
    """Find the median of the counted values, the lower one of two; (Q,) and (Q,) bool -> ()."""
    ordered = values.masked_fill(~counted, torch.inf).sort().values
    return ordered.gather(0, (counted.sum() - 1)[None] // 2).squeeze(0)


def soft_labels(
    clip_cosines: Tensor,
    frame_cosines: Tensor,
    kinds: tuple[Tensor, Tensor],
    labels: Tensor,
    smoothing: float,
) -> Tensor:
    """Soften the labels of the ambiguous queries, by what both scales find.

    A query is ambiguous if it is uncertain at neither scale and conflicting at one or both.

    Args:
        clip_cosines: scores of Q queries and K videos by the clips, (Q, K).
        frame_cosines: the same by the frames.
        kinds: `query_kinds` at the clips and at the frames, (Q,) each.
        labels: (Q,), the video of each query, or `PADDED`.
        smoothing: share of the scores in an ambiguous query's label.

    Returns:
        (Q, K); rows of queries that are not ambiguous are one-hot, rows of padding 0 or soft.
    """
    hard = one_hot(labels, clip_cosines)
    scores = (torch.softmax(clip_cosines, dim=1) + torch.softmax(frame_cosines, dim=1)) / 2
    clip, frame = kinds
    certain = (clip != UNCERTAIN) & (frame != UNCERTAIN)
    ambiguous = certain & ((clip == CONFLICTING) | (frame == CONFLICTING))
    return torch.where(ambiguous[:, None], (1 - smoothing) * hard + smoothing * scores, hard)


def one_hot(labels: Tensor, like: Tensor) -> Tensor:
    """Make a row for each label, of the shape and type of `like`; (Q,) -> (Q, K)."""
    videos = torch.arange(like.shape[1], device=labels.device)
    return (labels[:, None] == videos).to(like.dtype)


class InterVideoEvidence(LossTerm):
    """Evidential losses between videos: by the clips, by the frames, and by both together.

    It belongs to models with the scales `clips` and `frames` (docs/models/holmes.md, sections 2
    and 3). The scores are computed once more for it, as the other loss terms may be compiled.

    Args:
        weight: weight of each of the three terms.
        temperature: tau, at least 0.02; the published values suit batches of 128 videos.
        from_epoch: first epoch, counted from 0, that softens the labels of ambiguous queries.
        beta: bound of the thresholds that tell the kinds of queries.
        smoothing: share of the scores in the label of an ambiguous query.
    """

    def __init__(
        self,
        weight: float = 0.06,
        temperature: float = 0.04,
        from_epoch: int = 20,
        beta: float = 0.3,
        smoothing: float = 0.2,
    ) -> None:
        super().__init__()
        check_range("temperature", temperature, LEAST_TEMPERATURE, LARGEST)
        check_range("beta", beta, 0, 1)
        check_range("smoothing", smoothing, 0, 1)
        self.weight = dict.fromkeys((*TERM_NAMES.values(), "combined"), weight)
        self.temperature, self.from_epoch = temperature, from_epoch
        self.beta, self.smoothing = beta, smoothing

    def forward(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute the terms `clip`, `frame` and `combined`."""
        queries, videos = unit_rows(batch.queries), unit_tokens(batch.videos)
        scores = scale_scores(queries, videos, self.padding)
        clips, frames = scores["clips"], scores["frames"]
        target = self.target(clips.detach(), frames.detach(), batch.labels, epoch)
        found = {"clip": evidence(clips, self.temperature)}
        found["frame"] = evidence(frames, self.temperature)
        found["combined"] = combined_evidence(found["frame"], found["clip"])
        return {
            name: mean_over_queries(evidential_loss(each, target), batch.labels)
            for name, each in found.items()
        }

    def target(self, clips: Tensor, frames: Tensor, labels: Tensor, epoch: int) -> Tensor:
        """Make the labels of an epoch.

        Args:
            clips: scores of Q queries and K videos by the clips, (Q, K).
            frames: the same by the frames.
            labels: (Q,), the video of each query, or `PADDED`.
            epoch: number of the epoch, counted from 0.

        Returns:
            y, (Q, K).
        """
        if epoch < self.from_epoch:
            return one_hot(labels, clips)
        kinds = [
            query_kinds(cosines, evidence(cosines, self.temperature), labels, self.beta)
            for cosines in (clips, frames)
        ]
        return soft_labels(clips, frames, (kinds[0], kinds[1]), labels, self.smoothing)


# Inside a video


class Owners(NamedTuple):
    """The queries of each of B videos."""

    own: Tensor  # (B, Q), true where a query belongs to a video
    queries: Tensor  # (B,), number of queries of a video
    video: Tensor  # (Q,), the video of each query; 0 for padding


def owners(labels: Tensor, num_videos: int) -> Owners:
    """Find the queries of each video.

    Args:
        labels: (Q,), the video of each query, or `PADDED`.
        num_videos: B.
    """
    own = torch.arange(num_videos, device=labels.device)[:, None] == labels
    return Owners(own, own.sum(dim=1), labels.clamp(min=0))


def normalised_similarity(
    query: Tensor, clips: Tensor, by: Owners, padded_queries: Literal["zero", "ignore"]
) -> Tensor:
    """Bring the cosines of a video's queries and clips to the range from 0 to 1.

    Args:
        query: embeddings of unit length, (Q, D).
        clips: clip tokens of unit length, (B, n, D).
        by: the queries of each video.
        padded_queries: with `zero`, a video with fewer queries than another one of the batch has
            a cosine of 0 among those that give the smallest and the largest, as in the published
            code, which pads all videos to one number of queries; with `ignore`, it has not.

    Returns:
        r, (Q, n): each query with the clips of its own video.
    """
    cosines = torch.einsum("qd,qnd->qn", query, clips[by.video])
    smallest = cosines.amin(dim=1).where(by.own, torch.inf).amin(dim=1)  # (B,)
    largest = cosines.amax(dim=1).where(by.own, -torch.inf).amax(dim=1)
    if padded_queries == "zero":
        padded = by.queries < by.queries.max()
        smallest = smallest.clamp(max=0).where(padded, smallest)
        largest = largest.clamp(min=0).where(padded, largest)
    low, high = smallest[by.video, None], largest[by.video, None]
    return (cosines - low) / (high - low + 1e-8)


def transport_plan(similarity: Tensor, by: Owners) -> Tensor:
    """Assign the clips of each video softly to its queries, or to a dustbin.

    Sinkhorn's algorithm balances, for each video, the rows of its queries and of the dustbin with
    the columns of its clips. The similarity of the dustbin is the same for all clips, so the factor
    of its row takes it out again: no value is needed. The range of the similarities is 1, so that
    their exponentials and all factors stay within float32, without logarithms.

    Args:
        similarity: r, (Q, n).
        by: the queries of each video.

    Returns:
        Y, (Q, n): the share of each clip in each query; every row sums to 1.
    """
    num_clips = similarity.shape[1]
    # padded queries may lie outside the range
    kernel = torch.exp((similarity.clamp(0, 1) - 1) / PLAN_TEMPERATURE)  # (Q, n)
    own = by.own.to(kernel.dtype)
    row_mass = 1 / (num_clips + by.queries.to(kernel.dtype))[:, None]  # (B, 1)
    columns = kernel.new_ones(len(by.queries), num_clips)  # factor of each column
    for _ in range(PLAN_ITERATIONS):
        rows = row_mass[by.video] / (kernel * columns[by.video]).sum(dim=1, keepdim=True)  # (Q, 1)
        dustbin = num_clips * row_mass / columns.sum(dim=1, keepdim=True)  # (B, 1)
        columns = 1 / num_clips / (own @ (kernel * rows) + dustbin)  # (B, n)
    plan = num_clips * rows * kernel * columns[by.video]
    return plan / (plan.sum(dim=1, keepdim=True) + 1e-8)


class IntraVideoEvidence(LossTerm):
    """The evidential loss inside each video: which clips belong to which of its queries.

    It belongs to models with a scale `clips` that has no padding (docs/models/holmes.md,
    section 4).

    Args:
        weight: weight of the term.
        temperature: tau of the evidence, at least 0.02.
        from_epoch: first epoch, counted from 0, that has the term; it is 0 before.
        padded_queries: with `zero`, the similarities of a video depend on the largest number of
            queries of a video in the batch, as in the published code; with `ignore`, they do not.
    """

    weight: float

    def __init__(
        self,
        weight: float = 1e-4,
        temperature: float = 0.08,
        from_epoch: int = 20,
        padded_queries: Literal["zero", "ignore"] = "zero",
    ) -> None:
        super().__init__()
        check_range("temperature", temperature, LEAST_TEMPERATURE, LARGEST)
        if padded_queries not in ("zero", "ignore"):
            raise UserError(f"padded_queries is {padded_queries!r:.100}; one of zero, ignore")
        self.weight, self.temperature, self.from_epoch = weight, temperature, from_epoch
        self.padded_queries = padded_queries

    def forward(self, batch: EncodedBatch, epoch: int) -> Tensor:
        """Compute the term."""
        query, clips = unit(batch.queries.embedding), unit(batch.videos.scales["clips"].tokens)
        if epoch < self.from_epoch:
            return query.new_zeros(())
        by = owners(batch.labels, len(clips))
        similarity = normalised_similarity(query, clips, by, self.padded_queries)
        plan = transport_plan(similarity.detach(), by)
        values = evidential_loss(evidence(similarity, self.temperature), plan)
        share = (by.own / by.queries.clamp(min=1)[:, None]).sum(dim=0)  # (Q,), 0 for padding
        return (values * share).sum() / (by.queries > 0).sum()
