import json
from pathlib import Path

import pytest
import torch

from benchmarks.inputs import Settings, pair, settings, train_batch
from benchmarks.training_step import Step, baseline_step, main, matrix_share, product_step

CHOSEN = settings("synthetic")


def steps(chosen: Settings) -> dict[str, tuple[torch.nn.Module, Step]]:
    product, baseline = pair(chosen)
    return {
        "product": (product, product_step(product, chosen)),
        "baseline": (baseline, baseline_step(baseline, chosen)),
    }


@pytest.mark.parametrize("way", ["product", "baseline"])
def test_a_step_is_whole(way: str) -> None:
    network, step = steps(CHOSEN)[way]
    batch = train_batch(CHOSEN, 2, captions=2)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    first = step(batch)
    assert not first.requires_grad
    assert network.training
    # the rate rises from 0
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    step(batch)
    moved = [n for n, value in network.state_dict().items() if not torch.equal(before[n], value)]
    assert {name.split(".")[0] for name in moved} >= {"query_encoder", "register_sampler"}


def test_negatives_and_precision_reach_the_step() -> None:
    batch = train_batch(CHOSEN, 5, captions=2)

    def loss(**options: bool) -> float:
        product, _ = pair(CHOSEN)
        torch.manual_seed(3)
        return product_step(product, CHOSEN, **options)(batch).item()

    plain = loss()
    assert plain == loss()
    assert loss(hard_negatives=False) < plain
    assert loss(half=True) != plain
    assert loss(half=True) == pytest.approx(plain, rel=0.05)


def test_share_of_matrix_products() -> None:
    a, b = torch.ones(300, 300), torch.ones(2000)
    assert matrix_share(lambda: a @ a @ a) > 0.8
    assert matrix_share(lambda: b.sin().exp()) == 0


@pytest.mark.slow
def test_table_and_json(tmp_path: Path) -> None:
    path = tmp_path / "step.json"
    main([
        "--configs", "synthetic", "--videos", "2", "--captions", "2", "--rounds", "1",
        "--threads", "1", "--output", str(path),
    ])  # fmt: skip
    result = json.loads(path.read_text())
    baseline, product = result["results"]
    assert (baseline["step"], product["step"]) == ("baseline", "product")
    assert baseline["x baseline"] == "1.00 (1.00 to 1.00)"
    for row in (baseline, product):
        assert row["sizes of"] == "synthetic"
        assert row["seconds"] > 0
        assert 0 < row["matrix products %"] < 100
        assert len(result["details"]["synthetic"]["seconds"][row["step"]]) == 1
    assert result["machine"]["threads"] == 1
    sizes = {"videos": 2, "captions": 2, "rounds": 1}
    assert {name: result["options"][name] for name in sizes} == sizes
