"""Checkpoints of ours with wrong content: each is refused in one line that names the file."""

import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import h5py
import numpy as np
import pytest
import torch
from cli.running import Tiny
from recorder import QUIET, module, trainer
from search.checkpoints import checkpoint
from search.libraries import SETTINGS, features, video

from data_modules.readers.hdf5 import Hdf5Features
from data_modules.testing import write_tiny
from dreamprvr.core.errors import UserError
from dreamprvr.models.common import NetworkConfig, RetrievalLossConfig
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.training.checkpoint import (
    Provenance,
    Trained,
    differences,
    disagreements,
    newest_whole,
    read_checkpoint,
    read_provenance,
    refuse_other_shapes,
    trained_on,
)

NAME = "network.clip_projection.linear.weight"  # (16, 6) in the tiny network
Content = dict[str, Any]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "a.ckpt")


def rewritten(path: Path, change: Callable[[Content], Any]) -> Path:
    """Change what a checkpoint holds, and save it again as torch does."""
    content = torch.load(path, weights_only=True)
    made = change(content)
    torch.save(content if made is None else made, path)
    return path


def refusal(path: Path) -> str:
    """The one line in which a file is refused."""
    with pytest.raises(UserError) as caught:
        read_checkpoint(path)
    line = str(caught.value)
    assert line.startswith(f"checkpoint {path}"), line
    assert "\n" not in line
    assert len(line) < 1000
    return line


def test_ours_is_read(path: Path) -> None:
    expected = torch.load(path, weights_only=True)
    for given in (path, str(path)):
        found = read_checkpoint(given)
        assert found["hyper_parameters"] == expected["hyper_parameters"]
        assert found["state_dict"].keys() == expected["state_dict"].keys()
        for name, value in expected["state_dict"].items():
            assert torch.equal(found["state_dict"][name], value)


def test_tensors_that_share_memory_and_other_precisions_are_read(path: Path) -> None:
    def change(content: Content) -> None:
        state = content["state_dict"]
        names = [name for name in state if ".gru." in name]
        flat = torch.cat([state[name].flatten() for name in names])  # as cuDNN keeps them
        sizes = [state[name].numel() for name in names]
        for name, part in zip(names, flat.split(sizes), strict=True):
            state[name] = part.view(state[name].shape)
        state[NAME] = state[NAME].half()
        content["empty"] = [torch.zeros(0), torch.zeros(0)]

    expected = torch.load(path, weights_only=True)["state_dict"]
    found = read_checkpoint(rewritten(path, change))["state_dict"]
    expected[NAME] = expected[NAME].half()
    assert all(torch.equal(found[name], value) for name, value in expected.items())


def set_weight(make: Callable[[torch.Tensor], Any]) -> Callable[[Content], None]:
    def change(content: Content) -> None:
        content["state_dict"][NAME] = make(content["state_dict"][NAME])

    return change


def set_network(**settings: Any) -> Callable[[Content], None]:
    return lambda content: content["hyper_parameters"]["network"].update(settings)


def set_hparams(**settings: Any) -> Callable[[Content], None]:
    return lambda content: content["hyper_parameters"].update(settings)


def with_value(place: tuple[int, ...], value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(weight: torch.Tensor) -> torch.Tensor:
        weight[place] = value
        return weight

    return change


def claim_terabytes(content: Content) -> None:
    """Settings and weights that agree on sizes of which the file holds one number."""
    content["hyper_parameters"]["video_dim"] = 1 << 30
    for name, weight in content["state_dict"].items():
        if "_projection" in name and weight.shape[-1:] == (6,):
            shape = (*weight.shape[:-1], 1 << 30)
            content["state_dict"][name] = torch.zeros(1).expand(shape)


def share_memory(content: Content) -> None:
    content["state_dict"].update({f"network.{i}": torch.ones(1).expand(9999) for i in range(99)})


def drop_weight(content: Content) -> None:
    del content["state_dict"][NAME]


def drop_video_dim(content: Content) -> None:
    del content["hyper_parameters"]["video_dim"]


CHANGES: dict[str, tuple[Callable[[Content], Any], str]] = {
    "a list": (lambda c: [1], "not written by this framework.*import-checkpoint"),
    "a tensor": (lambda c: torch.ones(2), "not written by this framework"),
    "empty": (lambda c: {}, "not written by this framework"),
    "another program's": (lambda c: c.pop("hyper_parameters") and None, "not written by this"),
    "settings are a list": (lambda c: c.update(hyper_parameters=[]), "holds no weights"),
    "settings are empty": (lambda c: c.update(hyper_parameters={}), "make no network"),
    "no network": (set_hparams(network=None), "make no network .there are none"),
    "unknown setting": (set_network(hidden=3), "make no network .unknown: 'hidden'"),
    "unknown setting, no word": (
        lambda c: c["hyper_parameters"]["network"].update({3: 4}), "unknown: 3",
    ),
    "a size as a string": (set_network(hidden_size="16"), "hidden_size is '16'; it must be a"),
    "a size as a float": (set_network(num_clips=4.0), "num_clips is 4.0; it must be a whole"),
    "a size as a tensor": (set_network(num_clips=torch.ones(3)), "it must be a whole number"),
    "a size as a truth": (set_network(num_heads=True), "num_heads is True"),
    "a size is none": (set_network(max_frames=None), "max_frames is None"),
    "a negative size": (set_network(num_registers=-2), "num_registers is -2; at least 0"),
    "a huge size": (set_network(hidden_size=1 << 62), "hidden_size is 4611686018427387904; at"),
    "a size of 400 digits": (set_network(hidden_size=10**400), "hidden_size is 10+.*; at most"),
    "a larger width": (set_network(hidden_size=999_998), "hidden_size 999998 is more than any"),
    "many blocks": (set_network(denoiser_blocks=1_000_000), "denoiser_blocks 1000000 is more"),
    "many branches": (set_network(gaussian_widths=(1.0,) * 100_000), "up to 1000 numbers"),
    "some branches": (set_network(gaussian_widths=(1.0,) * 900), "gaussian_widths 900 is more"),
    "another width": (set_network(hidden_size=8), "not those of its settings .*of another size"),
    "another depth": (set_network(denoiser_blocks=1), "not those of its settings .*extra"),
    "other registers": (set_network(num_registers=0), "not those of its settings .*extra"),
    "a share is NaN": (set_network(dropout=float("nan")), "dropout is nan"),
    "a weight is infinite": (set_network(clip_weight=float("inf")), "clip_weight is inf; at most"),
    "a share is a string": (set_network(dropout="0.1"), "dropout is '0.1'; it must be a number"),
    "another choice": (set_network(time_table="x" * 999), "time_table is 'x+\\.\\.\\.x+'; one of"),
    "no feature size": (drop_video_dim, "video_dim is missing"),
    "feature size a string": (set_hparams(video_dim="many"), "video_dim is missing or not a whole"),
    "feature size huge": (set_hparams(text_dim=10**30), "text_dim cannot be the size of a feature"),
    "feature size large": (set_hparams(text_dim=2**30), "text_dim 1073741824 is more than any"),
    "feature size zero": (set_hparams(text_dim=0), "text_dim cannot be the size of a feature"),
    "another feature size": (set_hparams(video_dim=7), "6 of another size: .*, not .7"),
    "no weights": (lambda c: c.pop("state_dict") and None, "holds no weights"),
    "weights are a list": (lambda c: c.update(state_dict=[1]), "holds no weights"),
    "no weight at all": (lambda c: c["state_dict"].clear(), "is more than any weight has"),
    "a weight is missing": (drop_weight, "1 missing: clip_projection"),
    "a weight too many": (
        lambda c: c["state_dict"].update({"network.x": torch.ones(1)}), "1 extra: x",
    ),
    "names of DataParallel": (
        lambda c: c.update(state_dict={f"module.{n}": w for n, w in c["state_dict"].items()}),
        "weights of another model: module.network",
    ),
    "a name that is no word": (
        lambda c: c["state_dict"].update({3: torch.ones(1)}), "of another model: a int",
    ),
    "another shape": (set_weight(lambda w: w.T), "1 of another size: .* is .6, 16., not .16, 6"),
    "a number": (set_weight(lambda w: 3), "1 weights are no plain tensors: clip_projection"),
    "a string": (set_weight(lambda w: "w"), "are no plain tensors"),
    "none": (set_weight(lambda w: None), "are no plain tensors"),
    "a dictionary": (set_weight(lambda w: {"w": w}), "are no plain tensors"),
    "a complex weight": (set_weight(lambda w: w.to(torch.complex64)), "not of floating point"),
    "a whole-number weight": (set_weight(lambda w: w.int()), "not of floating point"),
    "a truth weight": (set_weight(lambda w: w > 0), "not of floating point"),
    "a meta tensor": (set_weight(lambda w: w.to("meta")), "are no plain tensors"),
    "a sparse tensor": (set_weight(lambda w: w.to_sparse()), "are no plain tensors"),
    "not a number": (set_weight(with_value((3, 2), math.nan)), "1 weights are not finite: clip_"),
    "infinite": (set_weight(with_value((0, 0), -math.inf)), "1 weights are not finite"),
    "terabytes": (claim_terabytes, "claim to be larger than the file"),
    "one memory for all": (share_memory, "claim to be larger than the file"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_wrong_content(path: Path, kind: str) -> None:
    change, message = CHANGES[kind]
    line = refusal(rewritten(path, change))

    assert re.search(message, line), line


OURS = {"a": torch.zeros(2, 3), "b": torch.zeros(4), "c": torch.zeros(())}


def test_equal_shapes_pass_whatever_the_values() -> None:
    theirs = {name: value + 1 for name, value in OURS.items()}
    assert differences(OURS, theirs) == []
    refuse_other_shapes(OURS, theirs)


def test_each_kind_of_difference_is_named() -> None:
    theirs = {"a": torch.zeros(3, 2), "c": torch.zeros(()), "d": torch.zeros(1)}
    assert differences(OURS, theirs) == [
        "1 missing: b",
        "1 extra: d",
        "1 of another size: a is (3, 2), not (2, 3)",
    ]


def test_long_lists_are_cut() -> None:
    theirs = OURS | {f"x{i}": torch.zeros(1) for i in range(7)}
    assert differences(OURS, theirs) == ["7 extra: x0, x1, x2, x3, x4, ..."]
    five = OURS | {f"x{i}": torch.zeros(1) for i in range(5)}
    assert differences(OURS, five) == ["5 extra: x0, x1, x2, x3, x4"]


def test_message_is_one_line_and_says_what_to_do() -> None:
    with pytest.raises(UserError, match=r"1 missing: c.*give the --config") as error:
        refuse_other_shapes(OURS, {"a": OURS["a"], "b": OURS["b"]})
    assert "\n" not in str(error.value)


class NoPositions(RetrievalModel):
    """A model without weights of the length of its inputs."""

    network_settings, objective_settings = NetworkConfig, RetrievalLossConfig

    def __init__(self, video_dim: int, text_dim: int, network: Any, objective: Any) -> None:
        super().__init__(video_dim, text_dim, network, objective)
        self.clip = torch.nn.Linear(video_dim, network.hidden_size)


@pytest.mark.parametrize(("frames", "refused"), [(128, False), (100_000, True)])
def test_a_model_may_have_no_weight_of_the_length_of_its_inputs(frames: int, refused: bool) -> None:
    network = NetworkConfig(hidden_size=8, num_heads=2, max_frames=frames)
    loss = RetrievalLossConfig()
    weights = dict(NoPositions(6, 5, network, loss).state_dict())
    found = disagreements(Trained(NoPositions, 6, 5, network, loss, weights))
    assert bool(found) == refused


def test_the_newest_whole_checkpoint_is_of_the_same_run(tmp_path: Path) -> None:
    folder = tmp_path / "version_0" / "checkpoints"
    folder.mkdir(parents=True)
    damaged = folder / "last.ckpt"
    damaged.write_bytes(b"cut short")
    assert newest_whole(damaged) is None
    best = checkpoint(folder / "best.ckpt")
    assert newest_whole(damaged) is None  # the folder of no run: there are no settings of it
    (folder.parent / "config.yaml").touch()
    assert newest_whole(damaged) == best
    downloads = tmp_path / "downloads"
    folder.rename(downloads)
    assert newest_whole(downloads / "last.ckpt") is None


# The features that a model was trained on


def data(videos: Path, words: Path) -> Any:
    stores = [lambda path=path: Hdf5Features(path) for path in (videos, words)]
    return cast(Any, SimpleNamespace(video_features=stores[0], text_features=stores[1]))


def plain(path: Path, **attributes: str) -> Path:
    with h5py.File(path, "w") as file:
        file["a"] = np.ones((3, 6), np.float32)
        file.attrs.update(attributes)
    return path


def test_provenance_is_read_from_the_feature_files(tmp_path: Path) -> None:
    videos = features(tmp_path / "v.hdf5", [video("a")], replace(SETTINGS, stride=0.5))
    said = trained_on(data(videos, plain(tmp_path / "t.hdf5", fingerprint="abc")))
    assert said == {
        "feature_fingerprint": SETTINGS.fingerprint, "text_fingerprint": "abc",
        "feature_settings": {"fps": 1.0, "window": 1.0, "stride": 0.5},
    }  # fmt: skip
    assert read_provenance(said) == Provenance(
        SETTINGS.fingerprint, "abc", {"fps": 1.0, "window": 1.0, "stride": 0.5}
    )
    assert read_provenance(said).differences(SETTINGS) == ("stride 0.5", "stride 1.0")


def test_files_that_say_nothing(tmp_path: Path) -> None:
    assert trained_on(data(plain(tmp_path / "v.hdf5"), plain(tmp_path / "t.hdf5"))) == {}
    assert read_provenance({}) == Provenance("", "", {})
    assert read_provenance({}).differences(SETTINGS) == ("", "")


@pytest.mark.filterwarnings(*(mark.args[0] for mark in QUIET))
def test_a_training_records_its_features_in_the_checkpoint(tmp_path: Path) -> None:
    write_tiny(Tiny, tmp_path, train=7, val=4)
    made = Tiny(tmp_path, batch_size=3, num_workers=0, max_frames=8, num_clips=4)
    path = Path(made.video_features().path)
    with h5py.File(path, "r+") as file:
        settings = replace(SETTINGS, video_dim=made.video_dim, stride=0.5)
        file.attrs.update({"format": "dreamprvr-features", "version": 1, **asdict(settings)})
    with h5py.File(made.text_features().path, "r+") as file:
        file.attrs["fingerprint"] = "abc"
    runner = trainer(max_epochs=1)
    runner.fit(module(), made)
    runner.save_checkpoint(tmp_path / "a.ckpt", weights_only=False)
    found = read_checkpoint(tmp_path / "a.ckpt")["hyper_parameters"]
    wanted = {"fps": 1.0, "window": 1.0, "stride": 0.5}
    assert read_provenance(found) == Provenance(SETTINGS.fingerprint, "abc", wanted)


def test_searching_imports_neither_lightning_nor_pandas() -> None:
    code = "import sys, dreamprvr.search.library, dreamprvr.search.model\n"
    code += "sys.exit(bool({'lightning', 'pandas'} & set(sys.modules)))"
    subprocess.run([sys.executable, "-c", code], check=True)
