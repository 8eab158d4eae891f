from pathlib import Path

import av
import pytest

from benchmarks.films import PART, write_film


@pytest.mark.parametrize("codec", ["libx265", "mpeg4"])
def test_a_film_repeats_a_part(tmp_path: Path, codec: str) -> None:
    write_film(tmp_path / "film.mp4", codec, (160, 90), 5, parts=3)
    with av.open(tmp_path / "film.mp4") as container:
        times = [float(frame.time) for frame in container.decode(video=0)]
        assert [stream.type for stream in container.streams] == ["video", "audio"]
        assert times == pytest.approx([number / 5 for number in range(3 * PART * 5)], abs=0.01)
        assert float((container.duration or 0) / av.time_base) == pytest.approx(30, abs=0.1)
