from pathlib import Path

import pytest
from serve.films import film, read

from dreamprvr.serve.remux import copy_streams


def test_copies_are_the_same_pictures(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", 3.0)
    copy_streams(source, tmp_path / "b.mp4", lambda done: None)
    before, after = read(source), read(tmp_path / "b.mp4")
    assert after.times == pytest.approx(before.times, abs=0.002)
    assert after.colours == before.colours
    assert after.codecs == ("h264", "aac")
    assert len(after.sound) == pytest.approx(len(before.sound), abs=2048)


def test_it_can_be_stopped(tmp_path: Path) -> None:
    source = film(tmp_path / "a.mkv", 3.0)

    def stop(done: float) -> None:
        if done > 0.3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_streams(source, tmp_path / "b.mp4", stop)
