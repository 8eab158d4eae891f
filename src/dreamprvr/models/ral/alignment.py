"""RAL's probabilistic embeddings of videos and captions (docs/models/ral.md, section 3)."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr.variational_sampler import AdditivePooling
from dreamprvr.models.encoded import EncodedBatch
from dreamprvr.models.layers.basic import LayerNorm, at_least_float32, unit
from dreamprvr.models.losses.retrieval import is_query
from dreamprvr.models.parts import LossTerm


class Sets(NamedTuple):
    """A set of rows for each of B videos: its frames, or the words of its captions.

    The rows of a set may stand in several groups, as words do in captions. Rows of zeros that a
    set has beside these are only counted.
    """

    rows: Tensor  # (G, L, D)
    counted: Tensor  # (G, L), 1 for a row that takes part in the attention, 0 for another
    owner: Tensor  # (G,), the video of each group
    zeros: Tensor  # (B,), number of further rows of zeros of each set
    pooled: Tensor  # (B, D), one vector for each set


class Distribution(NamedTuple):
    """A normal distribution for each of B videos."""

    mean: Tensor  # mu, (B, D), of unit length
    log_spread: Tensor  # ls, (B, D)


class DistributionHead(nn.Module):
    """Gives the distribution of a set of rows: mu and ls of docs/models/ral.md, section 3.

    Args:
        hidden_size: D.
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.mean_pooling = AdditivePooling(hidden_size)
        self.mean_linear = nn.Linear(hidden_size, hidden_size)
        self.mean_norm = LayerNorm(hidden_size)
        self.spread_pooling = AdditivePooling(hidden_size)
        self.spread_linear = nn.Linear(hidden_size, hidden_size)
        self.spread_global = nn.Linear(hidden_size, hidden_size)

    def forward(self, sets: Sets) -> Distribution:
        """Compute the distributions of B sets."""
        residual = torch.sigmoid(self.mean_linear(attend_rows(self.mean_pooling, sets)))
        spread = self.spread_linear(attend_rows(self.spread_pooling, sets))
        return Distribution(
            unit(self.mean_norm(sets.pooled + residual)), spread + self.spread_global(sets.pooled)
        )


def attend_rows(pooling: AdditivePooling, sets: Sets) -> Tensor:
    """Sum the rows of each set, weighted by `row_weights`; (B, D)."""
    weighted = torch.einsum("gl,gld->gd", row_weights(pooling, sets), sets.rows)
    return torch.zeros_like(sets.pooled).index_add(0, sets.owner, weighted)


def row_weights(pooling: AdditivePooling, sets: Sets) -> Tensor:
    """Weigh rows by a softmax over all rows of their set, rows of zeros included.

    A row of zeros has the logit 0, so that the number of them is enough.

    Args:
        pooling: gives the logit of a row.
        sets: the sets of B videos.

    Returns:
        (G, L); 0 for a row that does not take part.
    """
    logits = pooling.logits(sets.rows).masked_fill(sets.counted == 0, -torch.inf)  # (G, L)
    videos = len(sets.zeros)
    with torch.no_grad():  # only keeps the powers in range
        largest = logits.new_full((videos,), -torch.inf)
        largest = largest.scatter_reduce(0, sets.owner, logits.amax(dim=1), "amax")
        largest = torch.where(sets.zeros > 0, largest.clamp(min=0), largest)
    powers = torch.exp(logits - largest[sets.owner, None])
    total = torch.where(sets.zeros > 0, sets.zeros * torch.exp(-largest), 0.0)
    total = total.index_add(0, sets.owner, powers.sum(dim=1))
    return powers / total[sets.owner, None]


def proxy_matching(video: Tensor, text: Tensor) -> Tensor:
    """Compute L_PM: contrast the samples of each video with those of all videos' captions.

    Args:
        video: samples of the videos' distributions, (B, K, D).
        text: samples of the distributions of their captions, (B, K, D).

    Returns:
        The mean over samples of the mean of -log softmax over the K samples of the same video,
        averaged over both directions; a scalar.
    """
    count, samples, _ = video.shape
    products = video.flatten(0, 1) @ text.flatten(0, 1).T  # (B K, B K)
    total = products.new_zeros(())
    for table in (products, products.T):
        log_share = torch.log_softmax(table, dim=1).view(count, samples, count, samples)
        total = total - log_share.diagonal(dim1=0, dim2=2).mean()
    return total / 2


def distribution_alignment(
    video: Tensor, text: Tensor, video_spread: Tensor, text_spread: Tensor
) -> Tensor:
    """Compute L_DA, which brings both distributions to N(0, I) and to each other.

    The first two parts read ls as the logarithm of a variance, and the third as that of a standard
    deviation, as in the published code.

    Args:
        video: m_v, means of the samples of each video, (B, D).
        text: m_t, means of the samples of its captions, (B, D).
        video_spread: ls_v, (B, D).
        text_spread: ls_t, (B, D).

    Returns:
        The sum of the three parts, each summed over D and averaged over videos; a scalar.
    """
    alone = [
        -(1 + spread - mean.square() - spread.exp()) / 2
        for mean, spread in ((video, video_spread), (text, text_spread))
    ]
    distance = (2 * text_spread).exp() + (text - video).square()
    cross = video_spread - text_spread + distance / (2 * (2 * video_spread).exp()) - 0.5
    return (alone[0] + alone[1] + cross).sum(dim=-1).mean()


class ProbabilisticAlignment(LossTerm):
    """L_PM and L_DA: aligns samples of the distributions of videos and of their captions.

    It needs the rows of a `frame_query_encoder`, so any Gaussian model with one can have it as a
    further loss term.

    Args:
        hidden_size: D.
        samples: K, number of samples of a distribution.
        captions: number of captions that the set of a video is filled up to with rows of zeros. A
            video with more captions gets none.
        mask_padding: True leaves padded words, padded frames and the rows of zeros out of the
            attention; the published code has them take part.
        proxy_weight: weight of L_PM.
        distribution_weight: weight of L_DA.
    """

    weight: Mapping[str, float]

    def __init__(
        self,
        hidden_size: int = 384,
        samples: int = 6,
        captions: int = 26,
        mask_padding: bool = False,
        proxy_weight: float = 0.004,
        distribution_weight: float = 0.00025,
    ) -> None:
        super().__init__()
        self.samples, self.captions, self.mask_padding = samples, captions, mask_padding
        self.weight = {"proxy": proxy_weight, "distribution": distribution_weight}
        self.text = DistributionHead(hidden_size)
        self.video = DistributionHead(hidden_size)

    def forward(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute the terms `proxy` and `distribution`; see `LossTerm.forward`."""
        if "word_mask" not in batch.queries.extras:
            raise UserError("RAL's probabilistic losses need network.frame_query_encoder")
        with torch.autocast(batch.labels.device.type, enabled=False):
            text, video = self.text(self.text_sets(batch)), self.video(self.video_sets(batch))
            text_samples, video_samples = self.sample(text), self.sample(video)  # text first
            return {
                "proxy": proxy_matching(video_samples, text_samples),
                "distribution": distribution_alignment(
                    video_samples.mean(dim=1), text_samples.mean(dim=1),
                    video.log_spread, text.log_spread,
                ),
            }  # fmt: skip

    def text_sets(self, batch: EncodedBatch) -> Sets:
        """Collect the words of all captions of each video: the support set T."""
        words = at_least_float32(batch.queries.rows["frames"].vectors)  # (Q, L, D)
        asked, videos = is_query(batch.labels)[:, None], len(batch.videos.scales["frames"].tokens)
        owner = batch.labels.clamp(min=0)
        mask = batch.queries.extras["word_mask"].to(words.dtype) * asked  # (Q, L)
        counted = mask if self.mask_padding else asked.to(words.dtype).expand_as(mask)
        captions = words.new_zeros(videos).index_add(0, owner, asked[:, 0].to(words.dtype))
        zeros = (self.captions - captions).clamp(min=0) * words.shape[1]
        total = words.new_zeros(videos, words.shape[2])
        total = total.index_add(0, owner, (words * mask[..., None]).sum(dim=1))
        number = words.new_zeros(videos).index_add(0, owner, mask.sum(dim=1))
        return Sets(
            words, counted, owner, zeros * (not self.mask_padding),
            total / number.clamp(min=1)[:, None],
        )  # fmt: skip

    def video_sets(self, batch: EncodedBatch) -> Sets:
        """Collect the frames of each video."""
        scale = batch.videos.scales["frames"]
        frames = at_least_float32(scale.tokens)  # (B, M_f, D)
        everything = frames.new_ones(frames.shape[:2])
        mask = everything if scale.mask is None else scale.mask.to(frames.dtype)
        mean = (unit(frames) * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        owner = torch.arange(len(frames), device=frames.device)
        counted = mask if self.mask_padding else everything
        return Sets(frames, counted, owner, frames.new_zeros(len(frames)), unit(mean))

    def sample(self, distribution: Distribution) -> Tensor:
        """Draw K samples z_k = mu + exp(ls) eps_k of each distribution; (B, K, D)."""
        mean, spread = distribution.mean[:, None], distribution.log_spread[:, None].exp()
        return mean + spread * self.noise(distribution.mean)

    def noise(self, like: Tensor) -> Tensor:
        """Draw eps from N(0, I), (B, K, D), for distributions of shape (B, D)."""
        return torch.randn(
            len(like), self.samples, like.shape[1], dtype=like.dtype, device=like.device
        )
