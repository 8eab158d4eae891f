from importlib.metadata import EntryPoint, entry_points

import pytest
from cli.running import refused, run

from data_modules import base as plugins
from dreamprvr.cli import datasets_verb
from dreamprvr.cli.datasets_verb import GROUP

OURS = {"activitynet": "ActivityNet", "charades": "Charades", "synthetic": "Synthetic",
        "tvr": "TVR"}  # fmt: skip


def install(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(datasets_verb, "entry_points", lambda group: points)


def test_the_installed_benchmarks() -> None:
    result = run("datasets")
    assert result.code == 0
    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert lines.keys() >= OURS.keys()
    for name, class_name in OURS.items():
        assert lines[name].startswith(f"{name:<14}data_modules.{name}.{class_name}: ")
    assert lines["tvr"].endswith("21.8 K clips of six TV shows, five captions a clip.")


def test_ours_are_described_as_if_they_were_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their source is read; the text must be that of the classes."""
    assert GROUP == plugins.GROUP
    ours = [point for point in entry_points(group=GROUP) if point.name in OURS]
    assert [point.name for point in ours if point.dist is None] == []
    install(monkeypatch, *ours)
    read = run("datasets").out
    install(monkeypatch, *(EntryPoint(point.name, point.value, GROUP) for point in ours))
    assert run("datasets").out == read


def test_those_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    install(
        monkeypatch, EntryPoint("mine", "cli.running:Tiny", GROUP),
        EntryPoint("gone", "no_module:Cls", GROUP), EntryPoint("not", "pathlib:Path", GROUP),
    )  # fmt: skip
    with (
        pytest.warns(UserWarning, match="data set gone .* is broken"),
        pytest.warns(UserWarning, match="data set not .* is not a PRVRDataModule"),
    ):
        result = run("datasets")
    assert result.out.splitlines() == [
        "gone          no_module:Cls: broken",
        "mine          cli.running.Tiny: A few videos; the duration of the first is not known, "
        "the others are 10, 20, ... s long.",
        "not           pathlib:Path: broken",
    ]


def test_it_takes_no_options() -> None:
    assert refused("datasets", "--all") == "lightning datasets: unknown option --all"
