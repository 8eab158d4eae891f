import argparse
import json
from pathlib import Path

import pytest
import torch

from benchmarks.report import machine, parser, positive, publish, table, use_threads


def test_the_machine_is_described() -> None:
    described = machine()
    assert set(described) == {"cpu", "cores", "load", "threads", "gpu", "python", "torch"}
    assert described["threads"] == 1
    assert described["torch"] == torch.__version__
    json.dumps(described)


def test_table_aligns_names_left_and_numbers_right() -> None:
    rows = [
        {"way": "a", "seconds": 0.12345, "count": 7},
        {"way": "longer", "seconds": 12345.6, "count": None},
    ]
    assert table(rows).splitlines() == [
        "way     seconds  count",
        "a         0.123      7",
        "longer    12346      -",
    ]


def test_publish_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new" / "x.json"
    for value in (2.0, 1.5):  # the second replaces the first
        publish(path, {"cpu": "fast"}, [{"x": value}], rounds=3)
    found = json.loads(path.read_text())
    assert found == {"machine": {"cpu": "fast"}, "results": [{"x": 1.5}], "rounds": 3}
    printed = capsys.readouterr().out
    assert "1.5" in printed
    assert "cpu fast" in printed
    assert "x.json" in printed


def test_options_of_every_benchmark() -> None:
    options = parser("First line.\n\nMore.", "name", rounds=4).parse_args(["--threads", "2"])
    assert (options.threads, options.rounds) == (2, 4)
    assert options.output.parts[-3:] == ("benchmarks", "results", "name.json")


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        positive(text)


def test_threads() -> None:
    use_threads(2)
    use_threads(None)
    assert torch.get_num_threads() == 2
