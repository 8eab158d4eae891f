from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from cli.outcomes import best, losses, state
from cli.running import refused, run, write_config


def trained_in(folder: Path, precision: str | None) -> Path:
    """The folder of a run of one epoch; None leaves the precision to its default."""
    options = ["--trainer.precision", precision] if precision else []
    result = run("fit", "--config", write_config(folder, epochs=1), *options)
    assert result.code == 0, result
    return max((folder / "runs").iterdir())


def test_bfloat16(tmp_path: Path) -> None:
    folder = trained_in(tmp_path, "bf16-mixed")
    found = losses(folder)["loss"].dropna()
    assert np.isfinite(found).all()
    assert all(value.dtype != torch.bfloat16 for value in state(best(folder)).values())
    full = losses(trained_in(tmp_path, None))["loss"].dropna()
    assert not np.array_equal(found, full)
    np.testing.assert_allclose(found.iloc[0], full.iloc[0], rtol=0.2)
    config = ("--config", "tiny.yaml", "--ckpt_path", best(folder))
    assert run("test", *config, "--trainer.precision", "bf16-mixed").code == 0


def test_float16_on_a_cpu_is_bfloat16(tmp_path: Path) -> None:
    """PyTorch's CPU autocast once had no float16: Lightning prints this and uses bfloat16."""
    with pytest.warns(UserWarning, match=r"Using `precision='bf16-mixed'` instead"):
        folder = trained_in(tmp_path, "16-mixed")
    other = trained_in(tmp_path, "bf16-mixed")
    pd.testing.assert_frame_equal(losses(folder), losses(other), check_exact=True)


@pytest.mark.parametrize("precision", ["16-true", "bf16-true"])
def test_weights_of_half_precision_are_refused(tmp_path: Path, precision: str) -> None:
    line = refused("fit", "--config", write_config(tmp_path), "--trainer.precision", precision)
    assert line.startswith(f"trainer.precision {precision} keeps the weights themselves in half")
    assert not Path("runs").exists()
