import argparse
import json
import sys
from pathlib import Path

import pytest
import torch

from benchmarks import measuring
from benchmarks.measuring import (
    begin,
    comparison,
    in_fresh_process,
    interleave,
    machine,
    parser,
    peak_growth,
    positive,
    publish,
    ratio,
    table,
    use_threads,
)

MB = 1_000_000
linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux's figures")


def test_ways_take_turns_and_the_warm_up_does_not_count() -> None:
    calls: list[str] = []
    taken = interleave({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 3)
    assert calls == ["a", "b"] * 4
    assert {name: len(rounds) for name, rounds in taken.items()} == {"a": 3, "b": 3}


def test_ratio_is_the_median_of_the_ratios_of_all_rounds() -> None:
    ratios = ratio(baseline=[2.0, 30.0, 4.0], product=[1.0, 10.0, 4.0])
    assert ratios == (2.0, 1.0, 3.0)
    assert str(ratios) == "2.00 (1.00 to 3.00)"


def test_ways_are_compared_with_the_first() -> None:
    assert comparison({"slow": [2.0, 30.0, 4.0], "fast": [1.0, 10.0, 4.0]}) == {
        "slow": {"seconds": 4.0, "x slow": "1.00 (1.00 to 1.00)"},
        "fast": {"seconds": 4.0, "x slow": "2.00 (1.00 to 3.00)"},
    }


@linux
def test_peak_includes_memory_that_is_freed_before_the_end() -> None:
    def work() -> int:
        for _ in range(8):
            torch.ones(25 * MB).sum()  # 100 MB each, one at a time
        return 3

    measured = peak_growth(work)
    assert measured.result == 3
    # the allocator may let go of one only after it has made the next
    assert 95 * MB < measured.peak_bytes < 350 * MB


@linux
def test_peak_leaves_out_memory_from_before_the_call() -> None:
    kept = torch.ones(25 * MB)
    torch.ones(50 * MB).sum()
    assert peak_growth(lambda: kept.sum()).peak_bytes < 20 * MB


@linux
def test_freed_memory_that_is_used_again_counts() -> None:
    torch.ones(7 * MB).sum()  # freed: from now on the C library keeps smaller blocks for itself
    first = [torch.ones(MB) for _ in range(20)]  # 4 MB each
    pinned = torch.ones(MB)  # behind them, so that they cannot be given back one by one
    del first
    peak = peak_growth(lambda: [torch.ones(MB) for _ in range(20)]).peak_bytes
    assert peak > 70 * MB
    assert pinned.sum() == MB


def test_peak_without_the_systems_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "STATUS", Path("missing"))
    assert peak_growth(lambda: None).peak_bytes >= 0
    assert measuring._peak() > 10 * MB


@pytest.mark.slow
def test_a_fresh_process_shares_nothing() -> None:
    assert in_fresh_process(abs, -2) == 2
    assert "torch" in sys.modules
    assert not in_fresh_process(eval, "'torch' in __import__('sys').modules")


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
    args = argparse.Namespace(machine={"cpu": "fast"}, output=path, rounds=2)
    for value in (2.0, 1.5):  # the second replaces the first
        publish(args, [{"x": value}], bytes=3)
    assert json.loads(path.read_text()) == {
        "machine": {"cpu": "fast"}, "options": {"rounds": 2}, "results": [{"x": 1.5}], "bytes": 3,
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "1.5" in printed
    assert "cpu fast" in printed
    assert "x.json" in printed


def test_options_of_every_benchmark() -> None:
    options = parser("First line.\n\nMore.", "name", rounds=4, videos=9)
    args = begin(options, ["--threads", "2", "--videos", "3"])
    assert (args.threads, args.rounds, args.videos) == (2, 4, 3)
    assert args.output.parts[-3:] == ("benchmarks", "results", "name.json")
    assert args.machine["threads"] == torch.get_num_threads() == 2


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many", ""])
def test_texts_that_are_no_numbers(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="at least 1"):
        positive(text)


def test_threads() -> None:
    use_threads(2)
    use_threads(None)
    assert torch.get_num_threads() == 2
