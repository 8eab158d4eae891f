"""The contract of every retrieval model: its inputs, its outputs, its score and its loss.

A model is plain `torch.nn`. It encodes videos into named *scales* of tokens, and queries into
*rows* for each scale. The score of a query and a video is one formula for all models:

    s(q, v) = sum over scales of w_scale * (sum over rows r of w_r * max over tokens i of cos(r, i))

`dreamprvr.models.scoring` computes it. A model whose score needs more than that adds `rescore`.
Everything else (training, evaluation, prediction, import, search) works with any such model.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple, Protocol

from torch import Tensor, nn

from dreamprvr.core.batch import TrainBatch
from dreamprvr.models.encoded import EncodedBatch, EncodedQueries, EncodedVideos, Padding
from dreamprvr.models.layers.basic import parameter_groups
from dreamprvr.models.published import PublishedFormat
from dreamprvr.models.scoring import combine, scale_scores, unit_rows, unit_tokens


class InputSizes(Protocol):
    """Sizes of the inputs, which the model's settings fix and the data module obeys."""

    @property
    def num_clips(self) -> int:
        """Clips that every video is pooled to."""

    @property
    def max_frames(self) -> int:
        """Frames that a video has at most; shorter ones are padded to it."""

    @property
    def max_words(self) -> int:
        """Words of a caption that are read."""


class CompiledParts(NamedTuple):
    """What of a model torch.compile takes, as pairs of a module and the name of a method.

    `queries` are called as (words, mask) with ragged numbers of both, so they are padded to few
    sizes before; `losses` as (`EncodedBatch`, bool), whose queries are padded likewise; `others`
    have batches of fixed shapes.
    """

    queries: Sequence[tuple[nn.Module, str]] = ()
    losses: Sequence[tuple[nn.Module, str]] = ()
    others: Sequence[tuple[nn.Module, str]] = ()


class TokenSpans(NamedTuple):
    """How the tokens of a scale lie in time.

    Attributes:
        items: what they cover, `clips` or `frames`: the two inputs of `encode_videos`.
        spans: of each token, in order: the first item that it covers, and the one after the last.
            Every item is covered by at least one token.
    """

    items: str
    spans: list[tuple[int, int]]


class RetrievalModel(nn.Module):
    """Base class of every model.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network, a frozen dataclass of builtins; it also says the
            `InputSizes`.
        objective: settings of the loss, a frozen dataclass of builtins.

    Attributes:
        network_settings: class of the settings of the network.
        objective_settings: class of the settings of the loss.
        config: the settings of the network.
        published: how the authors' checkpoints name what the model has; None if there are none.
        scales: names of the scales, in the order in which they are kept.
        padding: `zero` lets padding take part in the maximum with cosine 0, as most published
            code does; `ignore` leaves it out.
    """

    network_settings: ClassVar[type]
    objective_settings: ClassVar[type]
    published: ClassVar[PublishedFormat | None] = None
    scales: ClassVar[tuple[str, ...]] = ("clips", "frames")
    padding: Padding = "zero"

    def __init__(self, video_dim: int, text_dim: int, network: Any, objective: Any) -> None:
        super().__init__()
        self.video_dim, self.text_dim = video_dim, text_dim
        self.config, self.objective_config = network, objective

    # What every model defines

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Encode B videos.

        Args:
            clips: (B, M_c, F), pooled and normalised.
            frames: (B, M_f, F), pooled, normalised and padded with zeros.
            frame_mask: (B, M_f), 1 for a frame and 0 for padding.
        """
        raise NotImplementedError

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Encode Q captions.

        Args:
            words: (Q, L, E), normalised and padded with zeros.
            word_mask: (Q, L), 1 for a word and 0 for padding.
        """
        raise NotImplementedError

    @property
    def scale_weights(self) -> dict[str, float]:
        """The weight of each scale in the score."""
        raise NotImplementedError

    def losses(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute the unweighted loss terms by name, and `total`, their weighted sum.

        Args:
            batch: the encoded batch, of all processes together.
            epoch: number of the epoch, from 0.

        Returns:
            Scalars in float32.
        """
        raise NotImplementedError

    # What a model may change

    def encode_batch(self, batch: TrainBatch) -> EncodedBatch:
        """Encode a training batch; a model that needs queries and videos at once overrides it."""
        queries = self.encode_queries(batch.queries.words, batch.queries.word_mask)
        videos = self.encode_videos(*batch.videos[1:])
        return EncodedBatch(queries, videos, batch.labels)

    def rescore(self, queries: EncodedQueries, videos: EncodedVideos, scores: Tensor) -> Tensor:
        """Score B candidates exactly, where the score is more than the sum of maxima.

        Args:
            queries: Q queries.
            videos: B videos, their tokens of unit length.
            scores: (Q, B), the sums of maxima.

        Returns:
            (Q, B).
        """
        return scores

    def forward(
        self, words: Tensor, word_mask: Tensor, clips: Tensor, frames: Tensor, frame_mask: Tensor
    ) -> Tensor:
        """Score every query and video, (Q, B); arguments as in the two encoders."""
        queries = unit_rows(self.encode_queries(words, word_mask))
        videos = unit_tokens(self.encode_videos(clips, frames, frame_mask))
        scores = combine(scale_scores(queries, videos, self.padding), self.scale_weights)
        return self.rescore(queries, videos, scores)

    def token_spans(self, scale: str) -> TokenSpans:
        """Say which clips or frames of a video the tokens of a scale cover.

        Args:
            scale: name of the scale. Those called `clips` and `frames` need nothing more if they
                have a token for each clip and for each frame; others must be described here.
        """
        if scale not in ("clips", "frames"):
            raise NotImplementedError(f"{type(self).__name__}.token_spans must describe {scale!r}")
        count = self.config.num_clips if scale == "clips" else self.config.max_frames
        return TokenSpans(scale, [(item, item + 1) for item in range(count)])

    @property
    def rescores(self) -> bool:
        """Whether the model overrides `rescore`."""
        return type(self).rescore is not RetrievalModel.rescore

    kept: ClassVar[tuple[str, ...]] = ()  # extras that `rescore` or a library needs

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameters for the optimiser, those without weight decay apart."""
        return parameter_groups(self)

    def compiled_parts(self) -> CompiledParts:
        """Say what of the model torch.compile takes; nothing by default."""
        return CompiledParts()

    def settings(self) -> dict[str, Any]:
        """The arguments that make the same model again, as builtins."""
        return {
            "video_dim": self.video_dim,
            "text_dim": self.text_dim,
            "network": asdict(self.config),
            "objective": asdict(self.objective_config),
        }
