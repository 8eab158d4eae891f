from importlib.metadata import EntryPoint

import pytest
from cli.running import refused, run

from data_modules import plugins
from data_modules.plugins import GROUP

OURS = {"activitynet": "ActivityNet", "charades": "Charades", "synthetic": "Synthetic",
        "tvr": "TVR"}  # fmt: skip


def test_the_installed_benchmarks() -> None:
    result = run("datasets")
    assert result.code == 0
    lines = {line.split()[0]: line for line in result.out.splitlines()}
    assert lines.keys() >= OURS.keys()
    for name, class_name in OURS.items():
        assert lines[name].startswith(f"{name:<14}data_modules.{name}.{class_name}: ")
    assert lines["tvr"].endswith("21.8 K clips of six TV shows, five captions a clip.")


def test_those_of_other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [
        EntryPoint("mine", "cli.running:Tiny", GROUP), EntryPoint("gone", "no_module:Cls", GROUP),
    ]  # fmt: skip
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)
    with pytest.warns(UserWarning, match="data set gone .* is broken"):
        result = run("datasets")
    assert result.out.splitlines() == [
        "gone          no_module:Cls: broken",
        "mine          cli.running.Tiny: A few videos; the duration of the first is not known, "
        "the others are 10, 20, ... s long.",
    ]


def test_it_takes_no_options() -> None:
    assert refused("datasets", "--all") == "lightning datasets: unknown option --all"
