"""Real videos: the pictures that are looked at, against all of them decoded at once."""

from pathlib import Path

import av
import numpy as np
import pytest
from extraction.clock_encoder import ClockEncoder
from shared import DATA, needs_data

from dreamprvr.extraction.extractor import extract, settings_of
from dreamprvr.extraction.feature_file import FeatureFile
from dreamprvr.extraction.find_videos import find_videos
from dreamprvr.extraction.windows import cut
from dreamprvr.video.reader import VideoReader

# seconds of the pictures, as ffprobe's list of packets has them
LENGTHS = {
    "arm_wrestling.mp4": 10.0, "charades.mp4": 30.697, "flipping_a_pancake.mkv": 10.333,
    "v_GGSY1Qvo990.mp4": 18.044, "v_ZNVhz7ctTq0.mp4": 14.0, "women_long_jump.mp4": 35.08,
}  # fmt: skip
pytestmark = needs_data


@pytest.mark.parametrize("name", LENGTHS)
def test_samples_are_the_pictures_on_the_screen(name: str) -> None:
    path = DATA / "videos" / name
    reader = VideoReader(path)
    windows = list(cut(reader, 2.0, 1.0, 1.0, 0))
    assert reader.warnings == []
    assert windows[-1].end == pytest.approx(LENGTHS[name], abs=0.05)
    with av.open(str(path)) as container:
        decoded = sorted(
            ((float(f.pts * f.time_base), f) for f in container.decode(video=0)),
            key=lambda item: item[0],
        )
    times = np.array([seconds for seconds, _ in decoded])
    for place in (0, len(windows) // 2, len(windows) - 2):
        for look, picture in zip((0.25, 0.75), windows[place].frames, strict=True):
            shown = int(np.flatnonzero(times <= times[0] + place + look + 1e-4)[-1])
            frame = decoded[shown][1]
            if picture.shape[:2] == (frame.height, frame.width):
                wanted = frame.to_ndarray(format="rgb24", interpolation="BICUBIC")
                np.testing.assert_array_equal(picture, wanted)
            else:  # its pixels are not square
                assert name == "arm_wrestling.mp4"
                assert picture.shape == (256, round(340 * 64 / 51), 3)


@pytest.mark.slow
def test_all_real_videos_are_extracted(tmp_path: Path) -> None:
    encoder = ClockEncoder()
    output = tmp_path / "f.hdf5"
    summary = extract(
        find_videos([DATA / "videos"]),
        encoder,
        settings_of(encoder),
        output,
        32,
        show_progress=False,
    )
    assert (summary.extracted, summary.failures, summary.warnings) == (6, [], [])
    with FeatureFile(output) as file:
        found = {name: file.read(name) for name in file.video_ids()}
    assert sorted(found) == sorted(Path(name).stem for name in LENGTHS)
    for name, seconds in LENGTHS.items():
        assert len(found[Path(name).stem].rows) == int(np.ceil(seconds - 1e-3))
