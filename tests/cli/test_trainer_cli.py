import shutil
from pathlib import Path

import h5py
import pytest
import torch
from cli.outcomes import CONFIG, PUBLISHED, best
from cli.running import Golden, refused, run, write_config
from shared import needs_reference

from dreamprvr.training.module import PRVRModule


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_evaluation_needs_a_checkpoint(tmp_path: Path, verb: str) -> None:
    assert refused(verb, "--config", write_config(tmp_path)) == (
        f"{verb} needs trained weights: give --ckpt_path FILE"
    )


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("name", ["nothing.ckpt", "last", "best"])
def test_a_checkpoint_that_is_not_there(tmp_path: Path, verb: str, name: str) -> None:
    line = refused(verb, "--config", write_config(tmp_path), "--ckpt_path", name)
    assert line == f"checkpoint {name} is missing"


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_damaged_checkpoint(trained: Path, share: float) -> None:
    content = best(trained).read_bytes()
    Path("half.ckpt").write_bytes(content[: int(share * len(content))])
    line = refused("test", *CONFIG, "--ckpt_path", "half.ckpt")
    assert line.startswith("checkpoint half.ckpt is damaged or not a checkpoint: ")


def test_a_text_file_is_no_checkpoint(trained: Path) -> None:
    line = refused("test", *CONFIG, "--ckpt_path", "tiny.yaml")
    assert line.startswith("checkpoint tiny.yaml ")


@needs_reference
@pytest.mark.parametrize("option", ["--ckpt_path", "--init_from"])
def test_a_published_file_must_be_imported_first(tmp_path: Path, option: str) -> None:
    shutil.copy(PUBLISHED, "published.ckpt")
    line = refused("fit", "--config", write_config(tmp_path), option, "published.ckpt")
    assert "published.ckpt" in line
    assert "`lightning import-checkpoint`" in line


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_data_of_other_feature_sizes(trained: Path, tmp_path: Path, verb: str) -> None:
    shutil.rmtree(tmp_path / "data")
    config = write_config(tmp_path, Golden)
    line = refused(verb, "--config", config, "--ckpt_path", best(trained))
    assert "the checkpoint belongs to another configuration" in line
    assert "data of the same feature sizes" in line


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("accelerator", "cpuu", "invalid accelerator name: `accelerator='cpuu'`"),
        ("strategy", "dpp", "invalid strategy name: `strategy='dpp'`"),
        ("max_epochs", "-2", "`max_epochs` must be a non-negative integer or -1"),
        ("val_check_interval", "1.5", "invalid value 1.5 for val_check_interval"),
    ],
)
def test_settings_that_the_trainer_refuses(
    tmp_path: Path, option: str, value: str, said: str
) -> None:
    line = refused("fit", "--config", write_config(tmp_path), f"--trainer.{option}", value)
    assert line.startswith("trainer: ")
    assert said in line


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_without_a_gpu(tmp_path: Path) -> None:
    line = refused("fit", "--config", write_config(tmp_path), "--config", "multi_gpu.yaml")
    assert line == "trainer: No supported gpu backend found!"


# Help


def test_help_lists_what_can_be_given_and_ours_first() -> None:
    text = run("fit", "--help").out
    places = [
        text.index(f"--{name}") for name in ("data ", "model ", "training.warmup", "trainer.")
    ]
    assert places == sorted(places)
    assert "-->" not in text


@pytest.mark.parametrize("name", ["ms_sl", "MSSL"])
def test_help_lists_the_settings_of_a_model(name: str) -> None:
    result = run("fit", "--model.help", name)
    assert result.code == 0, result
    assert "mask_same_video" in result.out


# Options against a checkpoint's settings


@pytest.mark.parametrize(
    ("option", "value", "saved"),
    [
        ("frame_weight", "0.0", "0.4"), ("dropout", "0.0", "0.31"),
        ("text_perturbation", "0.0", "0.1"), ("softmax_temperature", "0.5", "0.6"),
    ],
)  # fmt: skip
def test_an_option_wins_over_the_checkpoint(
    trained: Path, monkeypatch: pytest.MonkeyPatch, option: str, value: str, saved: str
) -> None:
    used: list[object] = []
    monkeypatch.setattr(
        PRVRModule, "on_test_start", lambda self: used.append(getattr(self.network.config, option))
    )
    words = ("test", *CONFIG, "--ckpt_path", best(trained))
    result = run(*words, f"--model.network.{option}", value)
    assert result.code == 0, result
    assert f"network.{option} is {value}, as you say ({saved} in the checkpoint)" in result.out
    assert [str(found) for found in used] == [value]


def test_a_file_loses_to_the_checkpoint(trained: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path, dropout=0.5, hidden_size=16)
    result = run("validate", "--config", config, "--ckpt_path", best(trained))
    assert result.code == 0, result
    assert "network.dropout is 0.31, as in the checkpoint (0.5 is configured)" in result.out
    assert "network.hidden_size is 8, as in the checkpoint (16 is configured)" in result.out


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize(("option", "saved"), [("hidden_size", 8), ("diffusion_steps", 2)])
def test_an_option_that_reshapes_weights_is_refused(
    trained: Path, verb: str, option: str, saved: int
) -> None:
    words = (verb, *CONFIG, "--ckpt_path", best(trained), f"--model.network.{option}=16")
    assert refused(*words) == (
        f"--model.network.{option} 16: the checkpoint's weights were made for {saved}; leave the "
        "option out, or train anew"
    )


def test_options_of_the_optimiser_win_when_a_run_is_resumed(trained: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    before = torch.load(last, weights_only=True)
    words = ("--training.optimizer.lr", "0", "--training.optimizer.weight_decay", "0.5")
    more = ("--trainer.max_epochs", "3", "--training.optimizer", "BertAdam")
    assert run("fit", *CONFIG, "--ckpt_path", last, *more, *words).code == 0
    after = torch.load(last, weights_only=True)
    assert after["epoch"] == before["epoch"] + 1
    same = (torch.equal(v, after["state_dict"][k]) for k, v in before["state_dict"].items())
    assert all(same)
    groups = after["optimizer_states"][0]["param_groups"]
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]


def test_beside_a_damaged_checkpoint_the_newest_whole_one_is_named(trained: Path) -> None:
    last = trained / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    for name, cut in (("newer.ckpt", 0.5), ("last.ckpt", 0.9)):
        last.with_name(name).write_bytes(content[: int(cut * len(content))])
    line = refused("fit", *CONFIG, "--ckpt_path", last)
    assert line.startswith(f"checkpoint {last} is damaged")
    assert line.endswith(f"; {best(trained)} is whole")
    assert run("fit", *CONFIG, "--ckpt_path", best(trained)).code == 0


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("packed", [(), ("--data.packed", "float32")])
def test_an_id_without_features_is_named_before_anything_starts(
    trained: Path, verb: str, packed: tuple[str, ...]
) -> None:
    with h5py.File("data/tiny/TextData/text.hdf5", "r+") as file:
        del file["val-2#enc#0"]
    before = sorted(Path().rglob("*"))
    checkpoint = () if verb == "fit" else ("--ckpt_path", best(trained))
    line = refused(verb, *CONFIG, *checkpoint, *packed)
    assert "text.hdf5 has no features of 1 caption (val-2#enc#0). Run `lightning data" in line
    assert sorted(Path().rglob("*")) == before
