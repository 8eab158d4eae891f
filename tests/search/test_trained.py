"""Tokens and scores are those of the network, also of videos that are cut into sections."""

from pathlib import Path

import numpy as np
import pytest
import torch
from search.checkpoints import checkpoint, network
from search.libraries import DIM, WordEncoder, features, video

from data_modules.loading.pooling import clips, normalise
from dreamprvr.core.errors import UserError
from dreamprvr.search import trained
from dreamprvr.search.library import Library
from dreamprvr.search.trained import TrainedModel

TEXT = "a red dog in the yard"


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, DIM)).astype(np.float32)


def plain_score(model: TrainedModel, part: np.ndarray, text: str) -> float:
    """The network's own score of a video that is no longer than a section."""
    net = model.network
    assert net.config.padded_frames == "ignore"
    frame = torch.zeros(1, net.config.max_frames, DIM)
    frame[0, : len(part)] = torch.from_numpy(normalise(part))
    mask = torch.zeros(1, net.config.max_frames)
    mask[0, : len(part)] = 1
    clip = torch.from_numpy(normalise(clips(part, net.config.num_clips)))[None]
    words = WordEncoder().encode_query(text).words.numpy()[: net.config.max_words]
    words = torch.from_numpy(normalise(words))[None]
    with torch.inference_mode():
        return float(net(words, torch.ones(words.shape[:2]), clip, frame, mask))


@pytest.fixture
def model() -> TrainedModel:
    return TrainedModel(network(padded_frames="ignore"), "cpu")


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_short_video_scores_as_the_network_says(model: TrainedModel, count: int) -> None:
    part = 1e-3 * rows(count)  # so small that the network's own norm would see it
    (found,) = model.encode_videos([part])
    query = model.encode_query(WordEncoder(), TEXT)
    score = model.clip_weight * (found.clips @ query).max()
    score += model.frame_weight * (found.frames @ query).max()
    assert score == pytest.approx(plain_score(model, part, TEXT), abs=1e-5)
    assert found.clips.shape == (4, 16)
    assert found.frames.shape == (count, 16)
    assert found.registers.shape == (2, 16)
    assert found.segments.shape == (min(count, 8), 16)


def test_a_long_video_is_its_sections(model: TrainedModel) -> None:
    whole = rows(21)  # three sections of seven
    (found,) = model.encode_videos([whole])
    parts = model.encode_videos([whole[:7], whole[7:14], whole[14:]])
    for name in ("clips", "frames", "segments", "registers"):
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(getattr(found, name), joined, atol=1e-6)
    assert len(found.frames) == 21


def test_neighbours_and_batches_change_nothing(
    model: TrainedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = [rows(count) for count in (5, 20, 8, 1)]
    together = model.encode_videos(videos)
    monkeypatch.setitem(trained.BATCH, "cpu", 1)
    for part, expected in zip(videos, together, strict=True):
        (alone,) = model.encode_videos([part])
        for one, other in zip(alone, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)


def test_all_vectors_are_of_unit_length(model: TrainedModel) -> None:
    (found,) = model.encode_videos([rows(20)])
    for part in (*found, model.encode_query(WordEncoder(), TEXT)[None]):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)
        assert part.dtype == np.float32


def test_sampled_registers_are_the_same_each_time() -> None:
    model = TrainedModel(network(initial_register="sample"), "cpu")
    torch.manual_seed(1)
    first = model.encode_videos([rows(9)])[0].registers
    torch.manual_seed(2)
    np.testing.assert_array_equal(model.encode_videos([rows(9)])[0].registers, first)


def test_a_network_without_registers() -> None:
    model = TrainedModel(network(num_registers=0), "cpu")
    (found,) = model.encode_videos([rows(9)])
    assert found.registers.shape == (0, 16)
    assert model.registers == 0


def test_a_query_without_words(model: TrainedModel) -> None:
    class Mute(WordEncoder):
        def encode_query(self, text: str):  # type: ignore[no-untyped-def]
            return super().encode_query("")

    with pytest.raises(UserError, match=r"finds no word in '\.\.\.'"):
        model.encode_query(Mute(), "...")


def test_a_library_of_a_trained_model(tmp_path: Path) -> None:
    films = [video(name, rows=count) for name, count in (("a", 5), ("b", 8), ("c", 20))]
    path = features(tmp_path / "features.hdf5", films)
    weights = checkpoint(tmp_path / "best.ckpt")
    Library.create(tmp_path / "library", path, weights).close()
    weights.unlink()  # the library keeps what it needs
    with Library.open(tmp_path / "library") as opened:
        opened.update(path)
        hits = {hit.video.video_id: hit for hit in opened.search(TEXT).hits}
        model = opened._model.model
        assert isinstance(model, TrainedModel)
        query = model.encode_query(WordEncoder(), TEXT)
        for film, vectors in zip(
            films, model.encode_videos([film.rows for film in films]), strict=True
        ):
            hit = hits[film.video_id]
            score = 0.6 * (vectors.clips @ query).max() + 0.4 * (vectors.frames @ query).max()
            assert hit.score == pytest.approx(score, abs=1e-3)
            assert len(hit.curve.scores) == len(film.rows)
            assert max(hit.curve.scores) <= hit.score + 1e-3
            cosines = (vectors.registers @ query).reshape(-1, 2).max(axis=0)
            np.testing.assert_allclose(hit.registers, cosines, atol=1e-3)
