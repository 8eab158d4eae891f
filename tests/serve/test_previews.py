import threading
from collections.abc import Iterator
from pathlib import Path

import av
import pytest

from dreamprvr.core.errors import UserError
from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve import previews as previews_module
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import SourceFile, source_file
from dreamprvr.serve.jobs import Jobs
from dreamprvr.serve.previews import Previews
from dreamprvr.serve.replies import Refusal


@pytest.fixture
def previews(tmp_path: Path) -> Iterator[Previews]:
    jobs = Jobs(waiting=2)
    yield Previews(CacheFolder(tmp_path / "cache", 10**8), jobs)
    jobs.close()


def source(path: Path) -> SourceFile:
    return source_file(LibraryVideo("v", path, 0.0, {}))


def wait(previews: Previews) -> None:
    done = threading.Event()
    previews.jobs._pool.submit(done.set)
    assert done.wait(60)


def test_what_plays_needs_none(previews: Previews, films: Path) -> None:
    assert previews.start(source(films / "red.mp4"))["state"] == "needless"
    assert not previews.cache.folder.exists()


@pytest.mark.parametrize("name", ["old.avi", "copy.mkv"])
def test_it_is_made_in_the_background(previews: Previews, films: Path, name: str) -> None:
    file = source(films / name)
    assert previews.state(file)["state"] == "absent"
    assert previews.start(file)["state"] in ("working", "ready")
    wait(previews)
    assert previews.start(file) == {"state": "ready", "done": 1.0, "message": ""}
    path = previews.find(file)
    assert path is not None
    with av.open(path) as container:
        assert container.streams.video[0].codec_context.name == "h264"
        assert float((container.duration or 0) / av.time_base) == pytest.approx(6.0, abs=0.1)


def test_streams_that_fit_are_copied(
    previews: Previews, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(previews_module, "transcode")
    previews.start(source(films / "copy.mkv"))
    wait(previews)
    assert previews.state(source(films / "copy.mkv"))["state"] == "ready"


def test_streams_that_cannot_be_copied_are_encoded(
    previews: Previews, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise UserError("no such packets")

    monkeypatch.setattr(previews_module, "copy_streams", fail)
    file = source(films / "copy.mkv")
    previews.start(file)
    wait(previews)
    path = previews.find(file)
    assert path is not None
    with av.open(path) as container:
        assert float((container.duration or 0) / av.time_base) == pytest.approx(6.0, abs=0.1)


def test_it_says_why_it_failed(
    previews: Previews, films: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise Refusal(415, "it is broken")

    monkeypatch.setattr(previews_module, "transcode", fail)
    file = source(films / "old.avi")
    previews.start(file)
    wait(previews)
    assert previews.state(file) == {"state": "failed", "done": 0.0, "message": "it is broken"}
    assert list(previews.cache.folder.iterdir()) == []
