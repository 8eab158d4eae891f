from pathlib import Path

import pytest

from dreamprvr.extraction.summary import Summary, length


def test_lines() -> None:
    summary = Summary(
        Path("f.hdf5"), extracted=2, unchanged=1_234, unnamed=1, video_seconds=3725.4,
        elapsed=12.34, failures=[(Path("/v/a\x1b[2J.mp4"), "only sound")],
        warnings=[(Path("/v/ä.mp4"), "truncated: ends at 1.0 s")],
    )  # fmt: skip
    assert summary.lines() == [
        "/v/ä.mp4: truncated: ends at 1.0 s",
        "/v/a\\x1b[2J.mp4: failed: only sound",
        "1 other video of f.hdf5 kept; --prune drops them",
        "2 videos extracted (1:02:05 of video in 12.3 s), 1,234 unchanged, 1 file failed; features"
        " are in f.hdf5",
    ]
    assert summary.exit_code == 1


def test_nothing_new() -> None:
    summary = Summary(Path("f.hdf5"), unchanged=3)
    assert summary.lines() == ["0 videos extracted, 3 unchanged; features are in f.hdf5"]
    assert summary.exit_code == 0


def test_nothing_at_all() -> None:
    summary = Summary(Path("f.hdf5"), failures=[(Path("a"), "x"), (Path("b"), "y")])
    assert summary.lines()[-1] == "0 videos extracted, 2 files failed"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (60, "0:01:00"), (7384.6, "2:03:05")]
)
def test_length(seconds: float, text: str) -> None:
    assert length(seconds) == text


def test_what_prune_did_is_said() -> None:
    summary = Summary(Path("f.hdf5"), unchanged=1, unseen=2)
    summary.pruned(3, rest=True)
    assert summary.lines() == [
        "0 videos extracted, 1 unchanged, 3 dropped, 2 kept unseen; features are in f.hdf5"
    ]
    summary = Summary(Path("f.hdf5"), failures=[(Path("a"), "x")])
    summary.pruned(3, rest=False)
    assert summary.lines()[1:] == [
        "nothing that was named could be extracted, so --prune dropped nothing: 3 videos of f.hdf5 "
        "kept",
        "0 videos extracted, 1 file failed; features are in f.hdf5",
    ]
