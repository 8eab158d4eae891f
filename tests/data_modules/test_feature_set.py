import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from cli.running import DATA, Tiny, refused, run, write_config

from data_modules.activitynet import ActivityNet
from data_modules.base import FeatureSet, PRVRDataModule
from data_modules.charades import Charades
from data_modules.checking.check import check
from data_modules.readers.npz import ArrayFolder
from data_modules.testing import DataModuleContract, write_tiny
from data_modules.tvr import TVR
from dreamprvr.core.errors import UserError

OWN = FeatureSet("FeatureData/clip_l14", "TextData/clip_l14")
SIZED = FeatureSet("FeatureData/clip_l14", "TextData/clip_l14", 7, 4)


class OwnFeatures(DataModuleContract):
    features = SIZED

    def make(self, root: Path) -> PRVRDataModule:
        write_tiny(self.dataset, root, self.features)
        return self.dataset(root, OWN, batch_size=3, eval_batch_size=3, num_workers=0)


class TestOwnFeaturesOfTVR(OwnFeatures):
    dataset = TVR


class TestOwnFeaturesOfCharades(OwnFeatures):
    dataset = Charades


class TestOwnFeaturesOfActivityNet(OwnFeatures):
    dataset = ActivityNet


def as_arrays(hdf5: Path, folder: Path, name: str = "features") -> None:
    """Write each dataset of a file as a .npz file of two arrays, and remove the file."""
    folder.mkdir(parents=True)
    with h5py.File(hdf5) as file:
        for key, rows in file.items():
            np.savez(folder / f"{key}.npz", **{name: rows[()], "info": np.zeros(2)})
    hdf5.unlink()


def test_a_name_for_records() -> None:
    assert str(OWN) == "FeatureData/clip_l14, TextData/clip_l14"
    joined = FeatureSet(("a", "b"), "t", group="features", text_group="last", normalise=True)
    assert str(joined) == "a+b:features, t:last, normalised"
    assert TVR(features=joined).features == str(joined)
    assert TVR(features="clip").features == "clip"


@pytest.mark.parametrize("ending", ["", ".hdf5", ".h5"])
def test_the_ending_may_be_left_out(tmp_path: Path, ending: str) -> None:
    for name in (f"v{ending}", f"t{ending}"):
        with h5py.File(tmp_path / name, "w") as file:
            file["x"] = np.ones((2, 3), np.float32)
    features = FeatureSet("v", "t")
    assert features.paths("video", tmp_path) == [tmp_path / f"v{ending}"]
    assert features.open("text", tmp_path)["x"].shape == (2, 3)
    (tmp_path / f"v{ending}").unlink()
    assert features.paths("video", tmp_path) == [tmp_path / "v"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("", "t"), "data.features.video is empty"),
        (("v", ()), "data.features.text is empty"),
        ((("v", ""), "t"), "data.features.video is empty"),
        (("v", "t", 0), "data.features.video_dim"),
        (("v", "t", 3, -1), "data.features.text_dim"),
    ],
)
def test_settings_that_mean_nothing_are_refused(arguments: tuple[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        FeatureSet(*arguments)


def test_sizes_are_read_from_the_files(tmp_path: Path) -> None:
    write_tiny(TVR, tmp_path, SIZED)
    data = TVR(tmp_path, OWN)
    assert (data.video_dim, data.text_dim) == (7, 4)
    wrong = TVR(tmp_path, FeatureSet(OWN.video, OWN.text, 512))
    with pytest.raises(UserError, match="holds features of size 7, but TVR expects 512"):
        wrong.stores()
    assert "have size 7, but TVR expects 512" in check(wrong).problems[0]


def test_unread_sizes_name_the_missing_file(tmp_path: Path) -> None:
    data = TVR(tmp_path, OWN)
    message = "tvr: missing video features: .*clip_l14.*or give it by --data.features.video_dim"
    with pytest.raises(UserError, match=message):
        _ = data.video_dim
    problems = check(data).problems
    assert any("missing text features: expected at" in line for line in problems)
    assert any("missing video features: expected at" in line for line in problems)


def test_a_folder_of_arrays_and_an_unknown_array(tmp_path: Path) -> None:
    folder = write_tiny(TVR, tmp_path, SIZED)
    videos = folder / "FeatureData" / "clip_l14"
    as_arrays(videos / "feature.hdf5", videos / "arrays")
    for file in (videos / "arrays").iterdir():
        file.rename(videos / file.name)
    chosen = FeatureSet(OWN.video, OWN.text, group="features")
    data = TVR(tmp_path, chosen, num_workers=0)
    assert isinstance(data.video_features(), ArrayFolder)
    assert data.video_dim == 7
    data.prepare_data()
    for group, part in (("i3d", "has no array 'i3d'; it has 2 arrays"), (None, "name one of them")):
        bad = TVR(tmp_path, FeatureSet(OWN.video, OWN.text, 7, 4, group))
        with pytest.raises(UserError, match=part):
            bad.video_features()
        assert any(part in line for line in check(bad).problems)


# From the command line

OVERLAY = ("--config", "features/clip_l14.yaml")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The tiny data set with features where the shipped fragment looks for them."""
    monkeypatch.chdir(tmp_path)
    write_tiny(Tiny, tmp_path / "data", SIZED, train=7, val=4)
    return write_config(tmp_path)


def test_a_fragment_and_options_give_other_features(config: Path) -> None:
    def features(*words: str | Path) -> object:
        result = run("fit", "--config", config, *words, "--print_config")
        assert result.code == 0, result
        return yaml.safe_load(result.out)["data"]["init_args"]["features"]

    assert features() == "standard"
    own = {"video": OWN.video, "text": OWN.text}
    assert own.items() <= features(*OVERLAY).items()  # type: ignore[attr-defined]
    changed = features(*OVERLAY, "--data.features.text", "x", "--data.features.normalise=true")
    assert {**own, "text": "x", "normalise": True}.items() <= changed.items()  # type: ignore[attr-defined]
    assert features(*OVERLAY, "--data.features", "clip") == "clip"
    several = features("--data.features", '{"video": ["a", "b"], "text": "c"}')
    assert several["video"] == ["a", "b"]  # type: ignore[index]


def test_training_on_own_features(config: Path) -> None:
    checked = run("data", "check", "--config", config, *OVERLAY)
    assert checked.code == 0, checked
    assert "video features   7-d" in checked.out
    fitted = run("fit", "--config", config, *OVERLAY, "--trainer.max_epochs", "1")
    assert fitted.code == 0, fitted.err
    best = "runs/version_0/checkpoints/best.ckpt"
    tested = run("test", "--config", "runs/version_0/config.yaml", "--ckpt_path", best)
    assert tested.code == 0, tested.err
    assert str(OWN) in Path("runs/version_0/metrics.json").read_text()
    predicted = run("predict", "--config", config, *OVERLAY, "--ckpt_path", best)
    assert predicted.code == 0, predicted.err


def test_what_is_missing_is_named(config: Path) -> None:
    shutil.rmtree("data/tiny/FeatureData")
    checked = run("data", "check", "--config", config, *OVERLAY)
    assert checked.code == 1
    assert "- missing video features: expected at" in checked.out
    line = refused("fit", "--config", config, *OVERLAY)
    assert "tiny: missing video features: " in line
    line = refused("data", "check", "--data", DATA, "--data.features.video", "x")
    assert line.endswith("data.features.text is empty: give a path for each of video and text")
    line = refused("fit", "--config", config, *OVERLAY, "--data.features.txt", "x")
    assert "FeatureSet has no setting txt (did you mean text?)" in line
