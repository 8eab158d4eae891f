import json
from pathlib import Path

import pytest
from recorder import QUIET

from benchmarks.epoch import main, module
from benchmarks.inputs import settings
from dreamprvr.models.layers.basic import parameter_groups
from dreamprvr.training.optimizer import BertAdam

pytestmark = QUIET


@pytest.mark.slow
def test_table_and_json(tmp_path: Path) -> None:
    path = tmp_path / "epoch.json"
    main(["--videos", "6", "--rounds", "2", "--root", str(tmp_path), "--output", str(path)])
    found = json.loads(path.read_text())
    assert [row["part"] for row in found["results"]] == ["train", "validation", "epoch"]
    seconds = found["seconds"]
    assert len(seconds["epoch"]) == 2  # the first does not count
    for train, validation, epoch in zip(*seconds.values(), strict=True):
        assert 0 < train < epoch == pytest.approx(train + validation)
    assert 0 <= found["sum_r"] <= 400
    assert found["sizes"]["videos"] == {"train": 6, "val": 3}
    assert not (tmp_path / "synthetic").exists()  # the real benchmark's place


def test_the_module_is_the_configurations() -> None:
    made = module(settings("synthetic"))
    optimizer = made.make_optimizer(parameter_groups(made.network))
    assert isinstance(optimizer, BertAdam)
    assert [group["lr"] for group in optimizer.param_groups] == [8e-4, 8e-4]
    assert (made.warmup, made.network.objective_config.hard_negatives_from) == (0.05, 10)
