"""Windows of several videos -> batches for the encoder -> rows of each video."""

import numpy as np
import torch

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.encoder import Encoder

BATCH_BYTES = 256 * 2**20  # of pictures in one batch, if they are large


class Batcher:
    """Collects windows until a batch is full, and rows until a video is complete.

    Args:
        encoder: of the windows.
        batch_size: windows a call of the encoder, at most.
    """

    def __init__(self, encoder: Encoder, batch_size: int) -> None:
        self._encoder, self._batch_size = encoder, batch_size
        self._waiting: list[tuple[str, np.ndarray]] = []
        self._bytes = 0
        self._rows: dict[str, list[np.ndarray]] = {}
        self._counts: dict[str, int] = {}

    def add(self, video_id: str, frames: np.ndarray) -> None:
        """Take the next window of a video, frames (n, H, W, 3)."""
        if self._waiting and self._bytes + frames.nbytes > BATCH_BYTES:
            self.flush()
        self._waiting.append((video_id, frames))
        self._bytes += frames.nbytes
        self._counts[video_id] = self._counts.get(video_id, 0) + 1
        if len(self._waiting) >= self._batch_size:
            self.flush()

    def flush(self) -> None:
        """Encode what waits.

        Raises:
            UserError: a batch does not fit on the device, or the encoder broke its promise.
        """
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        if not waiting:
            return
        try:
            encoded = self._encoder.encode_windows([frames for _, frames in waiting])
        except torch.OutOfMemoryError:
            raise UserError(
                f"a batch of {len(waiting)} windows does not fit on the device: give a smaller "
                "--batch_size"
            ) from None
        wanted = (len(waiting), self._encoder.video_dim)
        if tuple(encoded.shape) != wanted:
            raise UserError(
                f"encoder {self._encoder.name} gave rows of shape {tuple(encoded.shape)}, not "
                f"{wanted}: it is broken"
            )
        # a copy a row, as a view would keep the batch
        for (video_id, _), row in zip(waiting, encoded.float().numpy(), strict=True):
            self._rows.setdefault(video_id, []).append(row.copy())

    def is_complete(self, video_id: str) -> bool:
        """Whether all windows of a video that were added are encoded."""
        return len(self._rows.get(video_id, [])) == self._counts.get(video_id, 0)

    def take(self, video_id: str) -> np.ndarray:
        """The rows (N, F) of a complete video, which is then forgotten."""
        del self._counts[video_id]
        return np.stack(self._rows.pop(video_id))

    def forget(self, video_id: str) -> None:
        """Drop a video that failed."""
        kept = [item for item in self._waiting if item[0] != video_id]
        self._bytes = sum(frames.nbytes for _, frames in kept)
        self._waiting = kept
        self._rows.pop(video_id, None)
        self._counts.pop(video_id, None)
