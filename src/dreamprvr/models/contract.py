"""The contract of every retrieval model: its inputs, its outputs, its score and its loss.

A model is plain `torch.nn`. It encodes videos into named *scales* of tokens, and queries into
*rows* for each scale. The score of a query and a video is one formula for all models:

    s(q, v) = sum over scales of w_scale * (sum over rows r of w_r * max over tokens i of cos(r, i))

`dreamprvr.models.scoring` computes it. A model whose score needs more than that adds `rescore`.
Training, evaluation, prediction, import and search work with every such model.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from dreamprvr.core.batch import TrainBatch
from dreamprvr.models.encoded import EncodedBatch, EncodedQueries, EncodedVideos, Padding
from dreamprvr.models.layers.basic import parameter_groups
from dreamprvr.models.published import PublishedFormat
from dreamprvr.models.scoring import combine, scale_scores, unit_rows, unit_tokens


class CompiledParts(NamedTuple):
    """The parts of a model that torch.compile takes, as pairs of a module and a method's name."""

    queries: Sequence[tuple[nn.Module, str]] = ()
    """Called with (words, mask), whose sizes vary; both are padded to a few sizes before."""
    losses: Sequence[tuple[nn.Module, str]] = ()
    """Called with (`EncodedBatch`, bool), whose queries are padded to a few numbers before."""
    others: Sequence[tuple[nn.Module, str]] = ()
    """Called with tensors of fixed shapes."""


class TokenSpans(NamedTuple):
    """The place of a scale's tokens in time.

    Attributes:
        items: name of what the tokens cover, `clips` or `frames`: the inputs of `encode_videos`.
        spans: for each token, in order, the first item that it covers and the one after its last.
            At least one token covers each item.
    """

    items: str
    spans: list[tuple[int, int]]


class RetrievalModel(nn.Module):
    """Base class of every model.

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network, an instance of `network_settings`.
        objective: settings of the loss, an instance of `objective_settings`.

    Attributes:
        network_settings: class of the settings of the network: a frozen dataclass of built-in
            types, with the integers `num_clips`, `max_frames` and `max_words`, which the data
            module obeys.
        objective_settings: class of the settings of the loss: a frozen dataclass of built-in
            types.
        config: the settings of the network.
        objective_config: the settings of the loss.
        published: how the checkpoints of the model's authors name its parameters and settings;
            None if there are no such checkpoints.
        scales: names of the scales, in the order in which they are kept.
        kept: names of the videos' extras that `rescore` or a library needs.
        padding: with `zero`, padding takes part in the maximum over tokens with cosine 0, as in
            most published code; with `ignore`, it takes no part.
    """

    network_settings: ClassVar[type]
    objective_settings: ClassVar[type]
    published: ClassVar[PublishedFormat | None] = None
    scales: ClassVar[tuple[str, ...]] = ("clips", "frames")
    kept: ClassVar[tuple[str, ...]] = ()
    padding: Padding = "zero"

    def __init__(self, video_dim: int, text_dim: int, network: Any, objective: Any) -> None:
        super().__init__()
        self.video_dim, self.text_dim = video_dim, text_dim
        self.config, self.objective_config = network, objective

    # Every model defines these

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Encode B videos.

        Args:
            clips: features of the clips, pooled and normalised, (B, M_c, F).
            frames: features of the frames, pooled, normalised and padded with zeros, (B, M_f, F).
            frame_mask: (B, M_f), 1 for a frame and 0 for padding.
        """
        raise NotImplementedError

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        """Encode Q captions.

        Args:
            words: features of the words, normalised and padded with zeros, (Q, L, E).
            word_mask: (Q, L), 1 for a word and 0 for padding.
        """
        raise NotImplementedError

    @property
    def scale_weights(self) -> dict[str, float]:
        """The weight of each scale in the score, by the name of the scale."""
        raise NotImplementedError

    def losses(self, batch: EncodedBatch, epoch: int) -> dict[str, Tensor]:
        """Compute the unweighted loss terms by name, and `total`, their weighted sum.

        Args:
            batch: the encoded batch of all processes together.
            epoch: number of the epoch, counted from 0.

        Returns:
            Scalars in float32.
        """
        raise NotImplementedError

    # A model may override these

    def encode_batch(self, batch: TrainBatch) -> EncodedBatch:
        """Encode a training batch; a model that needs queries and videos together overrides it."""
        queries = self.encode_queries(batch.queries.words, batch.queries.word_mask)
        videos = self.encode_videos(*batch.videos[1:])
        return EncodedBatch(queries, videos, batch.labels)

    def rescore(self, queries: EncodedQueries, videos: EncodedVideos, scores: Tensor) -> Tensor:
        """Turn the sums of maxima into the model's own score; by default they are its score.

        Args:
            queries: Q queries, their rows of unit length.
            videos: B videos, their tokens of unit length.
            scores: the sums of maxima, (Q, B).

        Returns:
            (Q, B).
        """
        return scores

    @property
    def rescores(self) -> bool:
        """True if the model has a `rescore` of its own."""
        return type(self).rescore is not RetrievalModel.rescore

    def token_spans(self, scale: str) -> TokenSpans:
        """List the clips or frames of a video that the tokens of a scale cover.

        The default fits scales named `clips` and `frames` that have a token for each clip and for
        each frame. A model with other scales or tokens overrides it.

        Args:
            scale: name of the scale.
        """
        if scale not in ("clips", "frames"):
            raise NotImplementedError(f"{type(self).__name__}.token_spans must describe {scale!r}")
        count = self.config.num_clips if scale == "clips" else self.config.max_frames
        return TokenSpans(scale, [(item, item + 1) for item in range(count)])

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Group the parameters for the optimiser: those with weight decay, and those without."""
        return parameter_groups(self)

    def compiled_parts(self) -> CompiledParts:
        """Name the parts that torch.compile takes; none by default."""
        return CompiledParts()

    def constrain(self) -> None:
        """Bring parameters back into their allowed ranges; by default there are none.

        Training calls it after each step of the optimiser, and whoever loads weights after that.
        """

    # Every model has these

    def forward(
        self, words: Tensor, word_mask: Tensor, clips: Tensor, frames: Tensor, frame_mask: Tensor
    ) -> Tensor:
        """Score every query with every video, (Q, B); the arguments are those of the encoders."""
        queries = unit_rows(self.encode_queries(words, word_mask))
        videos = unit_tokens(self.encode_videos(clips, frames, frame_mask))
        scores = combine(scale_scores(queries, videos, self.padding), self.scale_weights)
        return self.rescore(queries, videos, scores)

    def settings(self) -> dict[str, Any]:
        """List the arguments that make the same model again, as built-in types."""
        return {
            "video_dim": self.video_dim,
            "text_dim": self.text_dim,
            "network": asdict(self.config),
            "objective": asdict(self.objective_config),
        }
