"""Queries that are moments and pictures."""

from pathlib import Path

import numpy as np
import pytest
from models.published_models import OTHER_MODELS
from PIL import Image
from search.libraries import SETTINGS, WordEncoder, library, video
from search.test_encoding import made, rows

from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.moments import Timeline
from dreamprvr.search.encoding import SearchModel, Untrained
from dreamprvr.search.engine.interface import Record
from dreamprvr.search.examples import PICTURE_PIXELS, moment_query, picture_query, read_picture


def timeline(count: int) -> Timeline:
    return Timeline(count, 0.0, 1.0, 1.0, float(count))


def test_an_untrained_moment_is_its_row() -> None:
    model, part = SearchModel(Untrained(SETTINGS.video_dim)), rows(300)  # three sections
    record = Record("a", *model.encode_videos([part])[0], {})
    for second in (0.0, 100.2, 299.9):
        asked = moment_query(model, record, timeline(300), second)
        expected = part[int(second)] / np.linalg.norm(part[int(second)])
        row = asked.rows["frames"].vectors[0, 0].numpy()
        np.testing.assert_allclose(row, expected, atol=1e-4)
        curve = model.over_time(asked, record, 300)
        assert curve.argmax() == int(second)
        assert curve.max() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("kind", ["dreamprvr", *OTHER_MODELS])
def test_a_moment_of_every_model_is_most_like_itself(kind: str) -> None:
    model, part = SearchModel(made(kind)), rows(21)
    record = Record("a", *model.encode_videos([part])[0], {})
    asked = moment_query(model, record, timeline(21), 10.5)
    best = sum(model.network.scale_weights.values())
    curve = model.over_time(asked, record, 21)
    assert curve[10] == pytest.approx(best, abs=1e-4)
    assert curve.max() == pytest.approx(best, abs=1e-4)
    found = model.engine_rows(asked)
    score = sum(float((record.tokens[s] @ found[s].T).max(axis=0).sum()) for s in found)
    assert score == pytest.approx(best, abs=1e-4)


def test_a_second_behind_the_end_is_refused() -> None:
    model = SearchModel(Untrained(SETTINGS.video_dim))
    record = Record("a", *model.encode_videos([rows(5)])[0], {})
    with pytest.raises(UserError, match=r"video a ends at second 5\.0: name an earlier second"):
        moment_query(model, record, timeline(5), 5.5)


def test_a_picture_is_a_video_of_one_row() -> None:
    model = SearchModel(Untrained(SETTINGS.video_dim))
    asked = picture_query(model, WordEncoder(), np.full((4, 4, 3), 90, np.uint8))
    np.testing.assert_allclose(asked.rows["frames"].vectors[0, 0], 6 * [6**-0.5], atol=1e-5)
    trained = picture_query(SearchModel(made("dreamprvr")), WordEncoder(), np.ones((4, 4, 3)))
    assert set(trained.rows) == {"clips", "frames"}


def test_an_encoder_without_a_common_space_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WordEncoder, "searches_untrained", False)
    with pytest.raises(UserError, match="encoder words does not put pictures and sentences"):
        picture_query(SearchModel(made("dreamprvr")), WordEncoder(), np.ones((4, 4, 3)))


@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "gif", "bmp"])
def test_pictures_of_many_formats_are_read(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"picture.{ending}"
    Image.new("RGB", (3000, 20), (200, 0, 0)).save(path)
    found = read_picture(path)
    assert found.dtype == np.uint8
    assert found.shape == (7, 1024, 3)
    assert np.abs(found.reshape(-1, 3).mean(axis=0) - (200, 0, 0)).max() < 4


def test_a_turned_picture_is_read_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    assert read_picture(tmp_path / "a.jpg").shape == (8, 4, 3)


def test_files_that_are_no_pictures_are_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    Image.new("RGB", (400, 400)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:300])
    Image.new("1", (10_000, PICTURE_PIXELS // 10_000 + 1000)).save(tmp_path / "bomb.png")
    for name, message in (
        ("none.png", "is missing"),
        ("text.png", "cannot be read as a picture"),
        ("cut.png", "cannot be read as a picture"),
        ("bomb.png", "has more than 80,000,000 pixels"),
    ):
        with pytest.raises(UserError, match=message) as error:
            read_picture(tmp_path / name)
        assert "\n" not in str(error.value)


def test_moments_and_pictures_through_a_library(tmp_path: Path) -> None:
    videos = [video("a", dog=7), video("b", cat=3), video("c", dog=12)]
    with library(tmp_path, *videos) as opened:
        found = opened.search(like=("a", 8.0))
        assert [hit.video.video_id for hit in found.hits] == ["c", "b"]  # not the video itself
        assert found.searched == 2
        assert found.hits[0].moments[0].start <= 12 < found.hits[0].moments[0].end
        assert (found.strength, found.query) == (None, "like a at 00:08")
        Image.new("L", (5, 5), 128).save(tmp_path / "grey.png")
        by_path = opened.search(image=tmp_path / "grey.png")
        assert len(by_path.hits) == 3
        by_content = opened.search(image=(tmp_path / "grey.png").read_bytes())
        assert by_content.hits == by_path.hits
        with pytest.raises(UserError, match="the picture cannot be read as a picture: it is in no"):
            opened.search(image=b"hello")
        with pytest.raises(UserError, match="no video of the library: 'x'"):
            opened.search(like=("x", 8.0))
