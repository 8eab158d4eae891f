"""`data simulate` after Ctrl-C: the next run goes on, to the same result."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from simulating import SMALL, WordEncoder, annotations, run

from data_modules.simulate import simulate
from data_modules.simulated_video import SimulatedVideos


class Interrupted(WordEncoder):
    """Ctrl-C at the sentence after `count`."""

    def __init__(self, count: int) -> None:
        self.count, self.seen = count, 0

    def encode(self, sentences: Sequence[str], progress: bool = True) -> list[np.ndarray]:
        if self.seen == self.count:
            raise KeyboardInterrupt
        self.seen += len(sentences)
        return super().encode(sentences)


def contents(folder: Path) -> dict[str, object]:
    """Every file by its path: text as it is, HDF5 by its datasets."""
    found: dict[str, object] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        found[name] = path.read_bytes() if path.suffix != ".hdf5" else values(path)
    return found


def values(path: Path) -> dict[str, tuple[str, bytes]]:
    with h5py.File(path) as file:
        return {name: (str(data.dtype), data[()].tobytes()) for name, data in file.items()}


@pytest.mark.parametrize("sentences", range(4))
@pytest.mark.parametrize("videos", range(3))
def test_an_interrupted_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sentences: int, videos: int
) -> None:
    """Ctrl-C in the sentences, then in the videos: the result is that of one run."""
    monkeypatch.setattr("data_modules.simulate.CHUNK", 1)
    monkeypatch.setattr("data_modules.simulate.VIDEO_CHUNK", 1)
    monkeypatch.chdir(tmp_path)
    _, whole = run(tmp_path / "whole")
    names = ("charades", "i3d", "text.hdf5")

    def go_on(encoder: WordEncoder) -> bool:
        return simulate(annotations(), tmp_path / "cut", *names, encoder, SMALL)

    with pytest.raises(KeyboardInterrupt):
        go_on(Interrupted(sentences))
    rows, made = SimulatedVideos.rows, []

    def cut(self: SimulatedVideos, name: str, *arguments: Any) -> np.ndarray:
        if len(made) == videos:
            raise KeyboardInterrupt
        made.append(name)
        return rows(self, name, *arguments)

    rest = Interrupted(count=-1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(SimulatedVideos, "rows", cut)
        go_on(rest)
    assert rest.seen == 4 - sentences  # none is encoded twice
    assert not (tmp_path / "cut" / "charades").exists()
    again: list[str] = []
    monkeypatch.setattr(SimulatedVideos, "rows", lambda *a: (again.append(a[1]), rows(*a))[1])
    assert go_on(Interrupted(count=0))
    assert sorted(made + again) == ["a", "b", "c"]
    assert contents(tmp_path / "cut") == contents(whole.parent)  # and nothing else is left


def test_an_interrupted_run_with_other_settings_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_modules.simulate.CHUNK", 1)
    with pytest.raises(KeyboardInterrupt):
        simulate(annotations(), tmp_path, "charades", "i3d", "text.hdf5", Interrupted(2), SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [".charades.partial"]
    other = replace(SMALL, seed=5)
    assert run(tmp_path, settings=other)[0]
    run(tmp_path / "whole", settings=other)
    assert contents(tmp_path / "charades") == contents(tmp_path / "whole" / "charades")
    assert not (tmp_path / ".charades.partial").exists()
