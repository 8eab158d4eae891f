"""What a library keeps of a video, and asks with, is what the model gives."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from models.tiny import stir
from search.checkpoints import checkpoint, network
from search.libraries import DIM, TEXT_DIM, WordEncoder, features, video
from torch import Tensor

from data_modules.loading.pooling import clips, normalise
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.moments import clips_of_frames, sections
from dreamprvr.extraction.encoders import QueryFeatures
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedQueries, QueryRows
from dreamprvr.models.gmmformer_v2.network import GMMFormerV2, GMMFormerV2Config
from dreamprvr.models.ms_sl.network import MSSL, MSSLConfig
from dreamprvr.search import encoding
from dreamprvr.search.encoding import SearchModel, Untrained
from dreamprvr.search.engine.interface import Record
from dreamprvr.search.library import Library

TEXT = "a red dog in the yard"


class WordRows(GMMFormerV2):
    """Asks with a row for each word, as RAL does."""

    def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
        found = super().encode_queries(words, word_mask)
        turned = torch.stack([found.embedding.roll(i, 1) for i in range(words.shape[1])], dim=1)
        rows = QueryRows(turned, word_mask / word_mask.sum(dim=1, keepdim=True))
        return found._replace(rows=dict.fromkeys(self.scales, rows))


def made(kind: str) -> RetrievalModel:
    """A small model: sections of 8 frames, 4 clips."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16, "num_heads": 2, "num_clips": 4, "max_frames": 8, "max_words": 5,
        "dropout": 0.0, "input_dropout": 0.0,
    }  # fmt: skip
    if kind == "dreamprvr":
        return network(padded_frames="ignore")
    if kind == "ms_sl":
        model: RetrievalModel = MSSL(DIM, TEXT_DIM, MSSLConfig(**sizes))
    else:
        config = GMMFormerV2Config(**sizes, gaussian_widths=(1.0,), padded_frames="ignore")
        model = (WordRows if kind == "words" else GMMFormerV2)(DIM, TEXT_DIM, config)
    stir(model)
    return model.eval().requires_grad_(False)


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, DIM)).astype(np.float32)


def plain_score(net: RetrievalModel, part: np.ndarray, text: str) -> float:
    """The model's own score of a video that is no longer than a section."""
    frame = torch.zeros(1, net.config.max_frames, DIM)
    frame[0, : len(part)] = torch.from_numpy(normalise(part))
    mask = torch.zeros(1, net.config.max_frames)
    mask[0, : len(part)] = 1
    clip = torch.from_numpy(normalise(clips(part, net.config.num_clips)))[None]
    words = WordEncoder().encode_query(text).words.numpy()[: net.config.max_words]
    words = torch.from_numpy(normalise(words))[None]
    with torch.inference_mode():
        return float(net(words, torch.ones(words.shape[:2]), clip, frame, mask))


def record_of(model: SearchModel, part: np.ndarray) -> Record:
    return Record("a", *model.encode_videos([part])[0], {})


def engine_score(model: SearchModel, part: np.ndarray) -> float:
    """The score that an engine computes."""
    asked = model.engine_rows(model.encode_query(WordEncoder(), TEXT))
    (found,) = model.encode_videos([part])
    return sum(float((found.tokens[s] @ asked[s].T).max(axis=0).sum()) for s in asked)


@pytest.mark.parametrize("kind", ["dreamprvr", "gmmformer_v2", "words", "ms_sl"])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_short_video_scores_as_the_model_says(kind: str, count: int) -> None:
    model = SearchModel(made(kind))
    part = 1e-3 * rows(count)  # so small that the network's own norm would see it
    query = model.encode_query(WordEncoder(), TEXT)
    expected = plain_score(model.network, part, TEXT)
    rescored = model.rescore(query, record_of(model, part), count)
    assert rescored == pytest.approx(expected, abs=1e-5)
    if not model.network.rescores:
        assert engine_score(model, part) == pytest.approx(expected, abs=1e-5)


def test_shapes_of_what_is_kept() -> None:
    model = SearchModel(made("dreamprvr"))
    assert model.layout == encoding.Layout(16, ("clips", "frames"), {"registers": 16})
    assert model.shapes_of(3) == {"clips": (4, 16), "frames": (3, 16), "registers": (2, 16)}
    assert model.shapes_of(21) == {"clips": (12, 16), "frames": (21, 16), "registers": (6, 16)}
    other = SearchModel(made("ms_sl"))
    assert other.layout.extras == {"lengths": 1, "keys": 16, "values": 16, "frame_mask": 1}
    assert other.shapes_of(9) == {
        "clips": (20, 16), "lengths": (20, 1), "keys": (16, 16), "values": (16, 16),
        "frame_mask": (16, 1),
    }  # fmt: skip
    for each in (model, other):
        for count in (1, 3, 8, 9, 21):
            (found,) = each.encode_videos([rows(count)])
            kept = {**found.tokens, **found.extras}
            assert {name: part.shape for name, part in kept.items()} == each.shapes_of(count)


@pytest.mark.parametrize("kind", ["dreamprvr", "ms_sl"])
def test_a_long_video_is_its_sections(kind: str) -> None:
    model, whole = SearchModel(made(kind)), rows(21)  # three sections of seven
    (found,) = model.encode_videos([whole])
    cut = [whole[:7], whole[7:14], whole[14:]]
    parts = model.encode_videos(cut)
    for name in found.tokens:
        joined = np.concatenate([part.tokens[name] for part in parts])
        np.testing.assert_allclose(found.tokens[name], joined, atol=1e-6)
    for name in found.extras:
        joined = np.concatenate([part.extras[name] for part in parts])
        np.testing.assert_allclose(found.extras[name], joined, atol=1e-5)
    joined = np.concatenate([part.segments for part in parts])
    np.testing.assert_allclose(found.segments, joined, atol=1e-6)
    query = model.encode_query(WordEncoder(), TEXT)
    best = max(model.rescore(query, record_of(model, part), 7) for part in cut)
    assert model.rescore(query, record_of(model, whole), 21) == pytest.approx(best, abs=1e-5)


def test_neighbours_and_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SearchModel(made("dreamprvr"))
    videos = [rows(count) for count in (5, 20, 8, 1)]
    together = model.encode_videos(videos)
    monkeypatch.setitem(encoding.BATCH, "cpu", 1)
    for part, expected in zip(videos, together, strict=True):
        (alone,) = model.encode_videos([part])
        for name in alone.tokens:
            np.testing.assert_allclose(alone.tokens[name], expected.tokens[name], atol=1e-5)


def test_tokens_and_rows_are_of_unit_length() -> None:
    model = SearchModel(made("dreamprvr"))
    (found,) = model.encode_videos([rows(20)])
    asked = model.segment_rows(model.encode_query(WordEncoder(), TEXT))
    for part in (*found.tokens.values(), found.segments, *found.extras.values(), asked):
        np.testing.assert_allclose(np.linalg.norm(part, axis=1), 1, atol=1e-5)
        assert part.dtype == np.float32


def test_sampled_registers_are_the_same_each_time() -> None:
    model = SearchModel(network(initial_register="sample"))
    torch.manual_seed(1)
    first = model.encode_videos([rows(9)])[0].extras["registers"]
    torch.manual_seed(2)
    np.testing.assert_array_equal(model.encode_videos([rows(9)])[0].extras["registers"], first)


def test_a_network_without_registers() -> None:
    model = SearchModel(network(num_registers=0))
    (found,) = model.encode_videos([rows(9)])
    assert found.extras == model.layout.extras == {}
    query = model.encode_query(WordEncoder(), TEXT)
    assert model.register_cosines(query, record_of(model, rows(9))) == ()


def test_registers_show_the_best_of_all_sections() -> None:
    model = SearchModel(made("dreamprvr"))
    query = model.encode_query(WordEncoder(), TEXT)
    record = record_of(model, rows(20))
    products = record.extras["registers"] @ query.embedding[0].numpy()
    expected = [max(products[0], products[2], products[4]), max(products[1::2])]
    np.testing.assert_allclose(model.register_cosines(query, record), expected, atol=1e-6)


@pytest.mark.parametrize("count", [1, 3, 8, 9, 21])
def test_the_score_over_time_is_of_each_row_and_its_best_clip(count: int) -> None:
    model, part = SearchModel(made("dreamprvr")), rows(count)
    query, record = model.encode_query(WordEncoder(), TEXT), record_of(model, part)
    found = model.over_time(query, record, count)
    clip, frame = (record.tokens[name] @ query.embedding[0].numpy() for name in record.tokens)
    expected = []
    for number, piece in enumerate(sections(count, 8)):
        for own in clips_of_frames(piece.stop - piece.start, 4).tolist():
            expected.append(0.6 * max(clip[4 * number + i] for i in own))
    np.testing.assert_allclose(found, np.array(expected) + 0.4 * frame, atol=1e-5)
    assert found.max() <= engine_score(model, part) + 1e-6


def test_a_query_without_words() -> None:
    class Mute(WordEncoder):
        def encode_query(self, text: str):  # type: ignore[no-untyped-def]
            return super().encode_query("")

    with pytest.raises(UserError, match=r"finds no word in '\.\.\.'"):
        SearchModel(made("dreamprvr")).encode_query(Mute(), "...")


def test_rows_of_the_query_may_not_count_against_a_video() -> None:
    class Against(GMMFormerV2):
        def encode_queries(self, words: Tensor, word_mask: Tensor) -> EncodedQueries:
            found = super().encode_queries(words, word_mask)
            rows = {name: each._replace(weights=-each.weights) for name, each in found.rows.items()}
            return found._replace(rows=rows)

    config = GMMFormerV2Config(16, 2, 4, 8, 5)
    with pytest.raises(UserError, match="Against gives a row of the query a weight below 0"):
        SearchModel(Against(DIM, TEXT_DIM, config)).encode_query(WordEncoder(), TEXT)


# Search without training


def test_untrained_rows_are_tokens_of_unit_length() -> None:
    part = np.array([[3, 4, 0], [0, 0, 0], [0, 0, 2]], dtype=np.float32)
    (found,) = SearchModel(Untrained(3)).encode_videos([part])
    np.testing.assert_allclose(
        found.tokens["frames"], [[0.6, 0.8, 0], [0, 0, 0], [0, 0, 1]], rtol=1e-6
    )


def test_untrained_the_query_is_the_sentence() -> None:
    model = SearchModel(Untrained(6))
    query = model.encode_query(WordEncoder(), "red cat")
    found = model.engine_rows(query)["frames"]
    np.testing.assert_allclose(found, [[0.5**0.5, 0, 0, 0, 0.5**0.5, 0]], rtol=1e-6)
    part = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    record = record_of(model, part)
    expected = record.tokens["frames"] @ found[0]
    np.testing.assert_allclose(model.over_time(query, record, 5), expected, atol=1e-6)


def test_untrained_with_an_encoder_of_two_spaces() -> None:
    encoder: Any = SimpleNamespace(
        name="two", encode_query=lambda text: QueryFeatures(torch.ones(1, 2), None)
    )
    with pytest.raises(UserError, match=r"encoder two does not put .* --ckpt_path"):
        SearchModel(Untrained(6)).encode_query(encoder, "red cat")


@pytest.mark.parametrize(("count", "segments"), [(3, 3), (20, 16), (256, 32), (300, 48)])
def test_segments_of_each_section(count: int, segments: int) -> None:
    (found,) = SearchModel(Untrained(6)).encode_videos([rows(count)])
    assert found.segments.shape == (segments, 6)
    np.testing.assert_allclose(np.linalg.norm(found.segments, axis=1), 1, rtol=1e-5)


def test_a_segment_is_the_mean_direction_of_its_rows() -> None:
    part = np.repeat(np.eye(8, dtype=np.float32), 4, axis=0)
    (found,) = SearchModel(Untrained(8)).encode_videos([part])
    expected = np.repeat(np.eye(8), 2, axis=0)
    np.testing.assert_allclose(found.segments[:15], expected[:15], atol=1e-6)


# Libraries


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
        query = model.encode_query(WordEncoder(), TEXT)
        for film in films:
            hit = hits[film.video_id]
            assert hit.score == pytest.approx(engine_score(model, film.rows), abs=1e-3)
            assert len(hit.curve.scores) == len(film.rows)
            assert max(hit.curve.scores) <= hit.score + 1e-3
            cosines = model.register_cosines(query, record_of(model, film.rows))
            np.testing.assert_allclose(hit.registers, cosines, atol=1e-3)


@pytest.mark.parametrize("kind", ["gmmformer_v2", "ms_sl"])
def test_a_library_of_any_model(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a checkpoint to results whose scores are those of the model over all videos."""
    monkeypatch.setattr("dreamprvr.search.rows.LONG", 150)  # some have files of rows
    net = made(kind)
    films = [video(f"v{number:02d}", number, rows=1 + number % 8) for number in range(30)]
    path = features(tmp_path / "features.hdf5", films)
    weights = checkpoint(tmp_path / "best.ckpt", made=net)
    with Library.create(tmp_path / "library", path, weights) as opened:
        opened.update(path)
    with Library.open(tmp_path / "library") as opened:
        expected = {film.video_id: plain_score(net, film.rows, TEXT) for film in films}
        result = opened.search(TEXT, k=30, rescored=30)
        assert {hit.video.video_id: hit.score for hit in result.hits} == pytest.approx(
            expected, abs=2e-3
        )
        ranking = sorted(expected, key=expected.__getitem__, reverse=True)
        ours = [hit.video.video_id for hit in result.hits]
        assert all(
            expected[one] == pytest.approx(expected[other], abs=2e-3)
            for one, other in zip(ours, ranking, strict=True)
        )
        first = opened.search(TEXT, k=3, rescored=10, candidates=20)
        assert first.scored == 20
        assert [hit.rank for hit in first.hits] == [1, 2, 3]
        for hit in first.hits:
            assert hit.score == pytest.approx(expected[hit.video.video_id], abs=2e-3)
            assert hit.registers == ()
            assert max(hit.curve.scores) <= hit.score + 0.31  # MS-SL's frames add up to .3
        limit = result.hits[4].score
        assert len(opened.search(TEXT, k=30, threshold=limit).hits) == 5
