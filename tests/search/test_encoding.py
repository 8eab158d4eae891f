"""A library keeps the vectors of the model, and searches with the query rows of the model."""

from dataclasses import fields, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from models.published_models import OTHER_MODELS
from models.tiny import stir
from search.checkpoints import checkpoint, network
from search.libraries import DIM, SETTINGS, TEXT_DIM, WordEncoder, features, video
from shared import REFERENCE, needs_reference
from starlette.testclient import TestClient
from torch import Tensor

from data_modules.loading.dataset import collate_videos
from data_modules.loading.pooling import clips, normalise
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from dreamprvr.core.batch import Queries
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.frame_scores import clips_of_frames
from dreamprvr.evaluation.gallery import Gallery, top_hits
from dreamprvr.evaluation.moment_tokens import moment_tokens
from dreamprvr.evaluation.moments import sections
from dreamprvr.extraction.encoder import QueryFeatures
from dreamprvr.extraction.encoders import register
from dreamprvr.extraction.feature_file import VideoFeatures
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import EncodedQueries
from dreamprvr.models.gmmformer_v2.network import GMMFormerV2
from dreamprvr.models.registry import find_model
from dreamprvr.search import encoding
from dreamprvr.search.encoding import SearchModel, Untrained
from dreamprvr.search.engine.edge import EdgeEngine
from dreamprvr.search.engine.interface import EngineHit, EngineQuery, Record
from dreamprvr.search.library import Library
from dreamprvr.search.model import read_model
from dreamprvr.search.queries import Candidates
from dreamprvr.serve.app import create_app
from dreamprvr.serve.keeper import Keeper
from dreamprvr.training.callbacks.predictions import VideoTimes, records
from dreamprvr.training.published_checkpoint import import_checkpoint

TEXT = "a red dog in the yard"


def made(kind: str) -> RetrievalModel:
    """A small model: sections of 8 frames, 4 clips."""
    torch.manual_seed(0)
    sizes = {
        "hidden_size": 16, "num_heads": 2, "num_clips": 4, "max_frames": 8, "max_words": 5,
        "dropout": 0.0, "input_dropout": 0.0,
    }  # fmt: skip
    if kind == "dreamprvr":
        return network(padded_frames="ignore")
    model_class: type[Any] = find_model(kind)
    known = {field.name for field in fields(model_class.network_settings)}
    further = {"gaussian_widths": (1.0,), "padded_frames": "ignore"}
    sizes |= {name: value for name, value in further.items() if name in known}
    model: RetrievalModel = model_class(DIM, TEXT_DIM, model_class.network_settings(**sizes))
    stir(model)
    return model.eval().requires_grad_(False)


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(count).standard_normal((count, DIM)).astype(np.float32)


def plain_score(
    net: RetrievalModel, part: np.ndarray, text: str, encoder: WordEncoder | None = None
) -> float:
    """The model's own score of a video that is no longer than a section."""
    frame = torch.zeros(1, net.config.max_frames, part.shape[1])
    frame[0, : len(part)] = torch.from_numpy(normalise(part))
    mask = torch.zeros(1, net.config.max_frames)
    mask[0, : len(part)] = 1
    clip = torch.from_numpy(normalise(clips(part, net.config.num_clips)))[None]
    words = (encoder or WordEncoder()).encode_query(text).words.numpy()[: net.config.max_words]
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


@pytest.mark.parametrize("kind", ["dreamprvr", *OTHER_MODELS])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_short_video_has_the_score_of_the_model(kind: str, count: int) -> None:
    model = SearchModel(made(kind))
    part = 1e-3 * rows(count)  # so small that the network's own norm would see it
    query = model.encode_query(WordEncoder(), TEXT)
    expected = plain_score(model.network, part, TEXT)
    rescored = model.rescore(query, record_of(model, part), count)
    assert rescored == pytest.approx(expected, abs=1e-5)
    if not model.network.rescores:
        assert engine_score(model, part) == pytest.approx(expected, abs=1e-5)


def test_shapes_of_stored_vectors() -> None:
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
    one_vector = SearchModel(made("gmmformer"))
    assert one_vector.shapes_of(3) == {"clips": (4, 16), "frames": (1, 16)}
    assert one_vector.segmented == "clips"  # a token of all frames finds no moment
    for each in (model, other, one_vector):
        for count in (1, 3, 8, 9, 21):
            (found,) = each.encode_videos([rows(count)])
            kept = {**found.tokens, **found.extras}
            assert {name: part.shape for name, part in kept.items()} == each.shapes_of(count)


@pytest.mark.parametrize("kind", ["dreamprvr", "gmmformer", "ms_sl"])
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
        for first, last in zip(*clips_of_frames(piece.stop - piece.start, 4), strict=True):
            expected.append(0.6 * clip[4 * number + first : 4 * number + last + 1].max())
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

    config = Against.network_settings(16, 2, 4, 8, 5)
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


def test_untrained_moment_tokens_are_made_of_the_whole_video() -> None:
    part = rows(300)  # three sections
    plain, moments = (SearchModel(Untrained(6, moments)) for moments in (False, True))
    (found,) = moments.encode_videos([part])
    (expected,) = plain.encode_videos([moment_tokens(part)])
    np.testing.assert_allclose(found.tokens["frames"], expected.tokens["frames"], atol=1e-6)
    np.testing.assert_allclose(found.segments, expected.segments, atol=1e-6)


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


class Sized(WordEncoder):
    """An encoder of the sizes of a published checkpoint, whose rows depend on the letters."""

    name, video_dim, text_dim, searches_untrained = "sized", 0, 0, False

    def encode_query(self, text: str) -> QueryFeatures:
        random = np.random.default_rng(list(text.encode()))
        words = random.standard_normal((len(text.split()), self.text_dim)).astype(np.float32)
        return QueryFeatures(torch.from_numpy(words), None)


@needs_reference
@pytest.mark.parametrize("name", OTHER_MODELS)
def test_a_published_model_is_imported_indexed_searched_and_served(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If all videos are scored again, the scores are those of the model over all videos."""
    monkeypatch.setattr("dreamprvr.search.rows.LONG", 3000)  # some have files of rows
    weights = tmp_path / "imported.ckpt"
    import_checkpoint(REFERENCE / name / "published_format.ckpt", weights, find_model(name))
    net = read_model(weights).network
    net.padding = "ignore"  # a library keeps no padding
    monkeypatch.setattr(Sized, "video_dim", net.video_dim)
    monkeypatch.setattr(Sized, "text_dim", net.text_dim)
    register("sized", Sized)
    films = [sized_video(number, net) for number in range(20)]
    settings = replace(SETTINGS, encoder="sized", video_dim=net.video_dim)
    path = features(tmp_path / "features.hdf5", films, settings)
    with pytest.warns(UserWarning, match="the rest is taken on trust"):
        opened = Library.create(tmp_path / "library", path, weights, trust_features=True)
    with opened:
        opened.update(path)
        result = opened.search(TEXT, k=20, rescored=20)
        expected = {film.video_id: plain_score(net, film.rows, TEXT, Sized()) for film in films}
        found = {hit.video.video_id: hit.score for hit in result.hits}
        assert found == pytest.approx(expected, abs=2e-3)
        for hit, wanted in zip(result.hits, sorted(expected.values(), reverse=True), strict=True):
            assert expected[hit.video.video_id] == pytest.approx(wanted, abs=2e-3)
        few = opened.search(TEXT, k=3, rescored=10, candidates=15)
        assert few.scored == 15
        assert [hit.rank for hit in few.hits] == [1, 2, 3]
        assert all(hit.score == found[hit.video.video_id] for hit in few.hits)
        limit = result.hits[4].score
        assert len(opened.search(TEXT, k=20, threshold=limit).hits) == 5
    keeper = Keeper(tmp_path / "library", lambda path: Library.open(path, "cpu"))
    assert keeper.try_open()
    with TestClient(create_app(keeper, tmp_path / "cache"), base_url="http://localhost") as client:
        hits = client.get("/api/search", params={"q": TEXT}).json()["hits"]
    for hit, ours in zip(hits, result.hits, strict=False):
        assert (hit["video"]["id"], hit["score"]) == (ours.video.video_id, ours.score)
        assert hit["moments"][0]["start"] == ours.moments[0].start


@pytest.mark.parametrize("candidates", ["all", 3])
def test_all_words_of_a_sentence_are_one_query_of_the_engine(
    tmp_path: Path, candidates: Candidates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RAL asks with a row for the clips and five for the frames, and segments with these five."""
    asked: list[EngineQuery] = []
    search = EdgeEngine.search

    def watch(engine: EdgeEngine, query: EngineQuery) -> list[EngineHit]:
        asked.append(query)
        return search(engine, query)

    net = made("ral")
    path = features(tmp_path / "features.hdf5", [video(f"v{n}", n, rows=1 + n) for n in range(6)])
    weights = checkpoint(tmp_path / "best.ckpt", made=net)
    with Library.create(tmp_path / "library", path, weights) as opened:
        opened.update(path)
        opened.prepare()  # searches for the sentences of the background
        monkeypatch.setattr(EdgeEngine, "search", watch)
        opened.search(TEXT, k=2, candidates=candidates)
    (query,) = asked
    assert {scale: rows.shape for scale, rows in query.rows.items()} == {
        "clips": (1, 16), "frames": (5, 16),
    }  # fmt: skip
    lengths = {scale: np.linalg.norm(rows, axis=1).sum() for scale, rows in query.rows.items()}
    assert lengths == pytest.approx({"clips": 0.6, "frames": 0.4})
    np.testing.assert_allclose(0.4 * query.segments, query.rows["frames"], rtol=1e-6)


def sized_video(number: int, net: RetrievalModel) -> VideoFeatures:
    """A video of random rows that fits a model, of at most one section."""
    random = np.random.default_rng(number)
    count = 1 + number % net.config.max_frames
    content = random.standard_normal((count, net.video_dim)).astype(np.float32)
    return replace(video(f"v{number:02d}", rows=count), rows=content)


@pytest.mark.parametrize("kind", ["dreamprvr", *OTHER_MODELS])
def test_predict_and_search_give_the_same_seconds(tmp_path: Path, kind: str) -> None:
    """For the same model, videos and sentence; windows overlap, and the last one is cut."""
    net = made(kind)
    settings = replace(SETTINGS, window=1.5)
    films = [
        replace(film, start=0.5, duration=0.25 + len(film.rows))
        for film in (video(f"v{number}", number, rows=1 + number % 8) for number in range(12))
    ]
    path = features(tmp_path / "features.hdf5", films, settings)
    weights = checkpoint(tmp_path / "best.ckpt", made=net)
    with Library.create(tmp_path / "library", path, weights) as opened:
        opened.update(path)
        hits = opened.search(TEXT, k=12, moments=1, rescored=12).hits

    gallery = Gallery(net, "float16")  # as a library keeps tokens
    items = [SearchModel(net)._item(film.rows)._replace(row=i) for i, film in enumerate(films)]
    gallery.add(collate_videos(items, net.config.max_frames))
    words = normalise(WordEncoder().encode_query(TEXT).words.numpy()[: net.config.max_words])
    asked = torch.from_numpy(words)[None]
    row = torch.zeros(1, dtype=torch.long)
    queries = Queries(row, asked, torch.ones(asked.shape[:2]), row[None])
    table = Annotations(
        pd.DataFrame([(film.video_id, 99.0, "test", "") for film in films], columns=VIDEO_COLUMNS),
        pd.DataFrame([("q", ("v0",), TEXT, (), "test")], columns=QUERY_COLUMNS),
    )
    (line,) = records(top_hits(gallery, queries, 12), table, VideoTimes(table, path))
    predicted = {hit["video_id"]: (hit["start"], hit["end"]) for hit in line["hits"]}
    found = {hit.video.video_id: (hit.moments[0].start, hit.moments[0].end) for hit in hits}
    assert predicted == found
    assert len(set(found.values())) > 3
