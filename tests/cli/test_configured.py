from pathlib import Path

import pytest
from cli.running import DATA, run, write_config

from dreamprvr.cli.configured import configured, configured_data
from dreamprvr.core.errors import UserError


def test_model_and_data_as_fit_would_make_them(tmp_path: Path) -> None:
    config = str(write_config(tmp_path))
    cli = configured(["--config", config, "--data.batch_size", "2"])
    assert cli.model.network.config.hidden_size == 8
    assert (cli.model.hparams["video_dim"], cli.model.hparams["text_dim"]) == (6, 5)
    assert cli.datamodule.batch_size == 2
    assert cli.datamodule.sizes.max_frames == 8  # the network's
    assert not Path("runs").exists()


def test_a_runs_own_configuration_serves(trained: Path) -> None:
    data = configured_data(["--config", str(trained / "config.yaml")])
    assert data.collection == "tiny"
    assert run("data", "check", "--config", trained / "config.yaml").code == 0


def test_without_a_configuration() -> None:
    with pytest.raises(UserError, match=r"give --config FILE, say --config tvr\.yaml"):
        configured([])
    assert configured_data(["--data", DATA]).sizes.max_frames == 128
