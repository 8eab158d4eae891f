"""DreamPRVR: query branch, registers, and a Gaussian encoder for each scale (docs/model.md)."""

from typing import Any

import torch
from torch import Tensor

from dreamprvr.core.batch import TrainBatch
from dreamprvr.models import gaussian
from dreamprvr.models.contract import CompiledParts
from dreamprvr.models.dreamprvr.config import DreamPRVRConfig, ObjectiveConfig
from dreamprvr.models.dreamprvr.published import FORMAT
from dreamprvr.models.dreamprvr.registers import DiffusionRegisters
from dreamprvr.models.encoded import EncodedBatch, EncodedVideos
from dreamprvr.models.layers.basic import at_least_float32, initialize
from dreamprvr.models.losses.queries import query_similarity
from dreamprvr.models.parts import RegisterSampler, build_part


class Objective(gaussian.Objective):
    """All loss terms of a batch; the KL term and L_dre come with the batch (`encode_batch`)."""

    def own_terms(self, query: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Compute the query diversity and the query similarity preservation."""
        similarity = query_similarity(query, labels, self.config.similarity_temperature)
        return super().own_terms(query, labels) | {"similarity": similarity}


class DreamPRVR(gaussian.GaussianModel):
    """Diffusion-guided registers for partially relevant video retrieval (CVPR 2026).

    Args:
        video_dim: F, size of a video feature.
        text_dim: E, size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
    """

    network_settings = DreamPRVRConfig
    objective_settings = ObjectiveConfig
    published = FORMAT
    kept = ("registers",)
    config: DreamPRVRConfig

    def __init__(
        self,
        video_dim: int,
        text_dim: int,
        network: DreamPRVRConfig = DreamPRVRConfig(),  # noqa: B008 - frozen
        objective: ObjectiveConfig = ObjectiveConfig(),  # noqa: B008 - frozen
    ) -> None:
        super().__init__(video_dim, text_dim, network, objective)
        config = self.config
        self.register_sampler: RegisterSampler | None = None
        if config.num_registers:
            self.register_sampler = build_part(config.registers, config, base=RegisterSampler)
        self.add_encoders(config.num_registers)
        self.objective = Objective(objective, config.padded_frames)
        initialize(self)
        sampler = self.register_sampler
        if isinstance(sampler, DiffusionRegisters) and config.time_table == "sinusoidal":
            sampler.denoiser.time.set_sinusoidal()

    def encode_videos(self, clips: Tensor, frames: Tensor, frame_mask: Tensor) -> EncodedVideos:
        """Encode B videos; see `RetrievalModel.encode_videos`.

        Returns:
            The scales, and the extra `registers`, (B, R, D).
        """
        return self._encode(clips, frames, frame_mask)[0]

    def encode_pairs(self, batch: TrainBatch) -> EncodedBatch:
        """Encode a training batch; the sampler's loss terms are the extras `loss/<name>`, (B,)."""
        queries = self.encode_queries(batch.queries.words, batch.queries.word_mask)
        videos, registers = self._encode(*batch.videos[1:])
        if self.register_sampler is not None:
            text = mean_per_video(queries.embedding, batch.labels, len(batch.videos.clips))
            own = self.register_sampler.losses(registers, text)
            kept = videos.extras if self.rescorer is not None else {}
            extras = {**kept, **{f"loss/{name}": own[name] for name in own}}
            videos = videos._replace(extras=extras)
        return EncodedBatch(queries, videos, batch.labels)

    def compiled_parts(self) -> CompiledParts:
        """Name the parts that all Gaussian models compile, and the register sampler."""
        parts = super().compiled_parts()
        if not isinstance(self.register_sampler, DiffusionRegisters):
            return parts
        sampler = [(self.register_sampler, name) for name in ("sample", "diffusion_target")]
        return parts._replace(others=[*parts.others, *sampler])  # the sampler's GRU stays outside

    def _encode(
        self, clips: Tensor, frames: Tensor, frame_mask: Tensor
    ) -> tuple[EncodedVideos, Any]:
        """Encode videos; also return the result of the register sampler."""
        clip_tokens = self.embed_clips(clips)
        sample = self.register_sampler(clip_tokens) if self.register_sampler else None
        registers = sample.registers if sample else None
        scales = self.gaussian_scales(clip_tokens, frames, frame_mask, registers)
        extras = {} if registers is None else {"registers": registers}
        return EncodedVideos(scales, extras), sample


def mean_per_video(query: Tensor, labels: Tensor, num_videos: int) -> Tensor:
    """Average the embeddings of each video's queries (docs/model.md, section 4.6).

    Args:
        query: embeddings, (Q, D).
        labels: the video of each query, (Q,); every video has at least one query.
        num_videos: B.

    Returns:
        m, (B, D).
    """
    query = at_least_float32(query)
    total = query.new_zeros(num_videos, query.shape[1]).index_add(0, labels, query)
    # bincount would make the CPU wait for the size of its result
    count = query.new_zeros(num_videos).index_add(0, labels, torch.ones_like(query[:, 0]))
    return total / count[:, None]
