"""Video features made from sentences, for `data_modules/generation/simulate.py`."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from data_modules.generation.folders import LARGEST_SEED, generator
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.vectors import unit


@dataclass(frozen=True)
class Mixture:
    """Parts of a simulated feature row, as the norm that each adds.

    Attributes:
        signal: the meaning of the sentences whose moment covers the row.
        confusion: a direction drawn for each moment: how the sentence and its footage differ.
        distractor: another sentence's meaning, in rows that no moment covers; its confusion is
            weaker in proportion.
        scene: a direction drawn for each video.
        nuisance: a slowly turning direction in a subspace that all videos share. A learned model
            can project it out; the cosine of raw rows cannot.
        nuisance_rank: size of that subspace.
        noise: each row's own noise.
    """

    signal: float = 1.0
    confusion: float = 1.0
    distractor: float = 0.6
    scene: float = 1.0
    nuisance: float = 2.0
    nuisance_rank: int = 24
    noise: float = 3.0


@dataclass(frozen=True)
class Simulation:
    """Settings of a simulated data set.

    Attributes:
        video_dim: size of a row of a video.
        text_dim: size of a token's row. If it equals `video_dim`, both lie in one joint space, as
            those of CLIP do.
        rows_per_second: density of the video rows.
        max_rows: largest number of rows of a video.
        max_tokens: tokens kept of a sentence.
        dtype: how features are stored, float16 or float32.
        mixture: what a video row is made of.
        seed: same seed, same features.
    """

    video_dim: int = 1024
    text_dim: int = 1024
    rows_per_second: float = 1.0
    max_rows: int = 128
    max_tokens: int = 30
    dtype: str = "float16"
    mixture: Mixture = field(default_factory=Mixture)
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("video_dim", "text_dim", "max_rows", "max_tokens"):
            check_range(f"Simulation.{name}", getattr(self, name), 1, 2**20, whole=True)
        check_range("Simulation.rows_per_second", self.rows_per_second, 1e-6, 1000)
        check_range("Simulation.seed", self.seed, 0, LARGEST_SEED, whole=True)
        for name, value in asdict(self.mixture).items():
            check_range(f"Simulation.mixture.{name}", value, 0, 2**20)
        if self.dtype not in ("float16", "float32"):
            raise UserError(f"Simulation.dtype is {self.dtype!r}; it must be float16 or float32")


@dataclass(frozen=True)
class Event:
    """A sentence's moment in one video.

    Attributes:
        start: start in seconds.
        end: end in seconds, no later than the video's.
        meaning: unit vector (E,) of the sentence.
    """

    start: float
    end: float
    meaning: np.ndarray


def orthonormal(rows: int, columns: int, seed: int, name: str) -> np.ndarray:
    """Draw a matrix (rows, columns) whose rows, or columns if these are fewer, are orthonormal.

    A vector keeps its length and its angles to others: exactly where the matrix makes it longer,
    on average where it makes it shorter.
    """
    tall, thin = max(rows, columns), min(rows, columns)
    matrix = generator(seed, "orthonormal", name).standard_normal((tall, thin))
    q = np.linalg.qr(matrix)[0].astype(np.float32)  # (tall, thin)
    return q if rows >= columns else np.ascontiguousarray(q.T)


def text_matrix(size: int, settings: Simulation) -> np.ndarray:
    """Return the matrix (size, text_dim) from the space of sentences to that of tokens."""
    return orthonormal(size, settings.text_dim, settings.seed, "text")


def video_matrix(size: int, settings: Simulation) -> np.ndarray:
    """Return the matrix (size, video_dim) from the space of sentences to that of video rows."""
    if settings.video_dim == settings.text_dim:
        joint = settings.text_dim == size
        return np.eye(size, dtype=np.float32) if joint else text_matrix(size, settings)
    return orthonormal(size, settings.video_dim, settings.seed, "video")


class SimulatedVideos:
    """Makes the rows of one video at a time, which depend on its id and not on other videos.

    Args:
        projection: matrix (E, F) from the space of sentences to that of video features.
        settings: density, difficulty and seed of the features.
    """

    def __init__(self, projection: np.ndarray, settings: Simulation) -> None:
        self.projection, self.settings = projection, settings
        rank = min(settings.mixture.nuisance_rank, self.size)
        self.basis = orthonormal(rank, self.size, settings.seed, "nuisance")

    @property
    def size(self) -> int:
        """Size of a row."""
        return int(self.projection.shape[1])

    def rows(
        self, video_id: str, duration: float, events: Sequence[Event], pool: np.ndarray
    ) -> np.ndarray:
        """Make the features (N, F) float32 of a video, with N = duration * rows_per_second rows.

        N is at least 1 and at most `max_rows`.

        Args:
            video_id: id of the video, which together with the seed decides all that is random.
            duration: length of the video in seconds.
            events: sentences of the video; where moments overlap, their meanings are averaged.
            pool: (S, E) unit meanings of the split, from which distractors are drawn.
        """
        rng, mix = generator(self.settings.seed, "video", video_id), self.settings.mixture
        count = int(
            np.clip(round(duration * self.settings.rows_per_second), 1, self.settings.max_rows)
        )
        times = (np.arange(count) + 0.5) / count * duration
        meaning, covered = self._moments(times, events, rng)
        meaning[~covered] = mix.distractor * self._distractors((~covered).sum(), pool, rng)
        rows = meaning @ self.projection
        rows += mix.scene * unit(rng.standard_normal(self.size, dtype=np.float32))
        rows += mix.nuisance * self._nuisance(count, rng)
        noise = rng.standard_normal((count, self.size), dtype=np.float32)
        return rows + mix.noise / self.size**0.5 * noise

    def _moments(
        self, times: np.ndarray, events: Sequence[Event], rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the meanings (N, E) that moments show, and which rows (N,) a moment covers."""
        width, mix = len(self.projection), self.settings.mixture
        total, hits = np.zeros((len(times), width), np.float32), np.zeros(len(times), np.float32)
        for event in events:
            inside = (times >= event.start) & (times < event.end)
            if not inside.any():  # shorter than a row, or written the wrong way round
                inside[np.abs(times - (event.start + event.end) / 2).argmin()] = True
            confusion = unit(rng.standard_normal(width, dtype=np.float32))
            total[inside] += mix.signal * event.meaning + mix.confusion * confusion
            hits[inside] += 1
        return total / np.maximum(hits, 1)[:, None], hits > 0

    def _distractors(self, count: int, pool: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the meanings (count, E) of random sentences, each for a stretch of rows."""
        stretch = np.cumsum(rng.random(count) < 0.15)
        shown = pool[rng.integers(len(pool), size=count + 1)]
        confusion = unit(rng.standard_normal(shown.shape, dtype=np.float32))
        return (shown + self.settings.mixture.confusion * confusion)[stretch]

    def _nuisance(self, count: int, rng: np.random.Generator) -> np.ndarray:
        start, end = rng.standard_normal((2, len(self.basis)), dtype=np.float32)
        phase = np.linspace(0, 1.5, count, dtype=np.float32)[:, None]
        return unit(np.cos(phase) * start + np.sin(phase) * end) @ self.basis
