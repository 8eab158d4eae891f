import argparse
import json
import math
import sys
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.growth import draw, fit, main, shape

# of matplotlib's own dependencies
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_an_exact_law_is_recovered(exponent: float) -> None:
    law = fit({size: 0.3 * size**exponent for size in (3, 10, 40, 200)})
    assert law == pytest.approx((exponent, 0.3, 1.0))


def test_a_law_with_a_constant_is_not_exact() -> None:
    law = fit({size: 1 + 0.1 * size for size in (1, 10, 100)})
    assert 0 < law.exponent < 1
    assert law.r_squared < 0.99


def test_one_size_has_no_exponent() -> None:
    with pytest.raises(ValueError, match="two sizes at least, not \\[3\\]"):
        fit({3: 1.0})


def test_shapes_of_evaluations() -> None:
    assert shape("20x30") == (20, 30)
    for text in ("20", "x3", "2x", "axb"):
        with pytest.raises(argparse.ArgumentTypeError):
            shape(text)


def test_table_json_and_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "growth.json"
    main([
        "--config", "synthetic", "--videos", "3", "2", "--pairs", "4x6", "3x5",
        "--rounds", "1", "--output", str(path),
    ])  # fmt: skip
    found = json.loads(path.read_text())
    assert [(row["smallest"], row["largest"]) for row in found["results"]] == [(2, 3), (15, 24)]
    assert all(math.isfinite(row["exponent"]) for row in found["results"])
    assert found["rounds"]["queries x videos of an evaluation"].keys() == {"24", "15"}
    assert path.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    draw(tmp_path / "x.png", {"a": ({1: 1.0, 2: 2.0}, growth.PowerLaw(1, 1, 1))})
    assert "needs matplotlib" in capsys.readouterr().out
    assert not (tmp_path / "x.png").exists()
