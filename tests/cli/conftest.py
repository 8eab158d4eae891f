"""One trained run, shared by the tests of a session; each works on its own copy."""

import shutil
from pathlib import Path

import pytest
import torch
from cli.running import Result, run, write_config


@pytest.fixture(scope="session")
def _original(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = run("fit", "--config", write_config(folder))
    assert result.code == 0, result
    return folder, result


@pytest.fixture
def fit_output(_original: tuple[Path, Result]) -> Result:
    """Exit code and output of `fit`."""
    return _original[1]


@pytest.fixture
def trained(_original: tuple[Path, Result], tmp_path: Path) -> Path:
    """The run's folder in the working directory, beside tiny.yaml and the data."""
    shutil.copytree(_original[0], tmp_path, dirs_exist_ok=True)
    write_config(tmp_path)
    return tmp_path / "runs" / "version_0"
