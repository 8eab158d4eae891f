"""Real CLIP features of one video and one sentence, through index and search.

No image encoder's weights are at hand: a stand-in hands out the sentence's real rows for its text.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from search.libraries import features
from shared import DATA, needs_data
from torch import Tensor

from dreamprvr.extraction.encoder import QueryFeatures
from dreamprvr.extraction.encoders import register
from dreamprvr.extraction.feature_file import ExtractionSettings, VideoFeatures
from dreamprvr.models.layers.basic import unit
from dreamprvr.search.library import Library

NAME, DIM, WINDOW = "recorded-clip", 512, 2.0
VIDEOS = DATA / "videos"


class RecordedClip:
    """Knows one sentence by its recorded token features, and frames by their number."""

    name, fingerprint = NAME, "c" * 64
    video_dim = text_dim = DIM
    searches_untrained = True
    frames_per_window = 1
    fps, window, stride = 0.5, WINDOW, WINDOW

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def encode_windows(self, windows: Sequence[np.ndarray]) -> Tensor:
        raise NotImplementedError

    def encode_query(self, text: str) -> QueryFeatures:
        if text.startswith("frame "):
            row = torch.tensor(np.load(VIDEOS / "univtg_vid.npz")["features"][int(text[6:])])
            return QueryFeatures(row[None], row)
        words = torch.tensor(np.load(VIDEOS / "univtg_txt.npz")["features"].astype(np.float32))
        return QueryFeatures(words, words.mean(0))


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """The video as a whole, and a second one: the same frames, reversed and half of them noise."""
    register(NAME, RecordedClip)
    rows = np.load(VIDEOS / "univtg_vid.npz")["features"]
    noise = np.random.default_rng(0).standard_normal(rows.shape).astype(np.float32)
    noisy = rows[::-1] / 11 + noise / 20
    videos = [
        VideoFeatures(name, 0.0, WINDOW * len(part), Path(f"/{name}.mp4"), 1, 1, rows=part)
        for name, part in (("real", rows), ("noisy", noisy))
    ]
    settings = ExtractionSettings(NAME, RecordedClip.fingerprint, DIM, 0.5, WINDOW, WINDOW)
    path = features(tmp_path / "features.hdf5", videos, settings)
    made = Library.create(tmp_path / "library", path)
    made.update(path)
    return made


@needs_data
def test_the_real_sentence_scores_its_cosine_with_the_real_frames(library: Library) -> None:
    rows = unit(torch.from_numpy(np.load(VIDEOS / "univtg_vid.npz")["features"])).numpy()
    words = np.load(VIDEOS / "univtg_txt.npz")["features"].astype(np.float32)
    expected = rows @ unit(torch.from_numpy(words.mean(axis=0))).numpy()
    with library:
        hits = {hit.video.video_id: hit for hit in library.search("a sentence", moments=1).hits}
    assert hits["real"].score == pytest.approx(expected.max(), abs=1e-3)
    np.testing.assert_allclose(hits["real"].curve.scores, expected, atol=1e-3)
    second = WINDOW * int(expected.argmax())
    assert hits["real"].curve.starts[int(np.argmax(hits["real"].curve.scores))] == second


@needs_data
@pytest.mark.parametrize("frame", [0, 6, 14])
def test_a_real_frame_finds_its_video_and_second(library: Library, frame: int) -> None:
    with library:
        best = library.search(f"frame {frame}", moments=1).hits[0]
    assert best.video.video_id == "real"
    assert best.score == pytest.approx(1, abs=1e-3)
    (moment,) = best.moments
    assert moment.start <= WINDOW * (frame + 0.5) <= moment.end
