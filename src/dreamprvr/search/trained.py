"""Search with a trained model: its tokens, its query embedding, its weights of the scales."""

from collections.abc import Sequence

import numpy as np
import torch
from einops import rearrange

from data_modules.loading.dataset import VideoItem, collate_videos
from data_modules.loading.pooling import clips, frames, normalise
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.evaluation.moments import sections
from dreamprvr.extraction.encoders import Encoder
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.layers.basic import unit
from dreamprvr.models.scoring import unit_tokens
from dreamprvr.search.vectors import VideoVectors, segment_means

BATCH = {"cpu": 16}  # sections encoded at once; on the CPU, what fits its cache
ACCELERATOR_BATCH = 128


class SectionTokens:
    """Tokens of one section, of unit length, as arrays."""

    def __init__(self, clip: np.ndarray, frame: np.ndarray, register: np.ndarray) -> None:
        self.clips = clip  # (M_c, D)
        self.frames = frame  # (n, D)
        self.registers = register  # (R, D)


class TrainedModel:
    """A model; each section of a video is encoded on its own, and their tokens are joined.

    Padding never takes part in the maximum, whatever the configuration's `padded_frames` says: a
    moment is always a piece of the video.

    Args:
        network: the model, in any mode, on any device.
        device: where it is to run.

    Raises:
        UserError: the library cannot compute the model's score.
    """

    def __init__(self, network: RetrievalModel, device: str) -> None:
        refuse_other_scores(network)
        config, weights = network.config, network.scale_weights
        self.network = network.to(device).eval().requires_grad_(False)
        self.device = torch.device(device)
        self.dim = config.hidden_size
        self.clip_weight, self.frame_weight = weights["clips"], weights["frames"]
        self.section, self.clips = config.max_frames, config.num_clips
        self.registers = config.num_registers if "registers" in network.kept else 0

    def encode_videos(self, videos: Sequence[np.ndarray]) -> list[VideoVectors]:
        """Tokens of each video, of all its sections."""
        cut = [[rows[part] for part in sections(len(rows), self.section)] for rows in videos]
        encoded = iter(self._encode_sections([rows for parts in cut for rows in parts]))
        return [self._joined([next(encoded) for _ in parts]) for parts in cut]

    def _joined(self, parts: list[SectionTokens]) -> VideoVectors:
        frame = np.concatenate([part.frames for part in parts])
        return VideoVectors(
            np.concatenate([part.clips for part in parts]), frame,
            segment_means(frame, self.section),
            np.concatenate([part.registers for part in parts]),
        )  # fmt: skip

    def _encode_sections(self, parts: list[np.ndarray]) -> list[SectionTokens]:
        items = [self._item(rows) for rows in parts]
        size = BATCH.get(self.device.type, ACCELERATOR_BATCH)
        return [
            tokens
            for start in range(0, len(items), size)
            for tokens in self._encode_batch(items[start : start + size])
        ]

    def _item(self, rows: np.ndarray) -> VideoItem:
        views = clips(rows, self.clips), frames(rows, self.section)
        return VideoItem(0, *(torch.from_numpy(normalise(view)) for view in views))

    @torch.inference_mode()
    def _encode_batch(self, items: list[VideoItem]) -> list[SectionTokens]:
        batch = collate_videos(items, self.section)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # a network may start its registers from a sample
            encoding = self.network.encode_videos(*(part.to(self.device) for part in batch[1:]))
        scales = unit_tokens(encoding).scales
        clip, frame = (scales[name].tokens.cpu().numpy() for name in ("clips", "frames"))
        register = np.empty((len(items), 0, self.dim), dtype=np.float32)
        if self.registers:
            register = unit(encoding.extras["registers"]).cpu().numpy()
        return [
            SectionTokens(clip[i], frame[i, : len(item.frames)], register[i])
            for i, item in enumerate(items)
        ]

    @torch.inference_mode()
    def encode_query(self, encoder: Encoder, text: str) -> np.ndarray:
        """The network's embedding of the encoder's words."""
        found = encoder.encode_query(text).words.detach().cpu().numpy()
        if not len(found):
            raise UserError(f"encoder {encoder.name} finds no word in {quote(text)}: say more")
        words = torch.from_numpy(normalise(found[: self.network.config.max_words]))
        words = rearrange(words, "l e -> 1 l e").to(self.device)
        mask = torch.ones(words.shape[:2], device=self.device)
        return unit(self.network.encode_queries(words, mask).embedding)[0].cpu().numpy()


def refuse_other_scores(network: RetrievalModel) -> None:
    """Raise unless a library can compute a model's score: one vector against clips and frames.

    Raises:
        UserError: names the model and the reason.
    """
    name = type(network).__name__
    if network.rescores or network.scales != ("clips", "frames"):
        raise UserError(
            f"a library cannot search with {name} yet: its score is more than the best clip and "
            "the best frame; index with another model, or without --ckpt_path"
        )
