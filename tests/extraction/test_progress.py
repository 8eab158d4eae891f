import io
from pathlib import Path

import pytest

from dreamprvr.extraction import progress
from dreamprvr.extraction.find_videos import FoundVideo
from dreamprvr.extraction.progress import Progress


def test_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, size in (("a", 300), ("b", 100)):
        Path(name).write_bytes(bytes(size))
    videos = [FoundVideo(name, Path(name).absolute()) for name in ("a", "b")]
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    out = io.StringIO()
    monkeypatch.setattr("sys.stderr", out)
    with Progress(videos, show=True) as bar:

        def line() -> str:
            bar._bar.refresh()
            return out.getvalue().split("\r")[-1]

        now[0] += 2
        bar.within(videos[0], 30.0, 60.0)
        assert bar._bar.n == 150
        assert line().startswith(" 38%|")
        assert "| 0/2 videos, 15.0 s of video a second [00:0" in line()
        bar.within(videos[0], 10.0, None)  # never goes back
        assert bar._bar.n == 150
        bar.finished(videos[0], 60.0)
        assert bar._bar.n == 300
        assert "| 1/2 videos, 30.0 s of video a second [00:0" in line()
        bar.finished(videos[1], 0.0)
        assert line().startswith("100%|")
        assert "2/2 videos" in line()


def test_no_bar_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    videos = [FoundVideo("gone", Path("gone").absolute())]
    with Progress(videos) as bar:
        bar.finished(videos[0], 1.0)
    assert capsys.readouterr().err == ""
