import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import h5py
import numpy as np
import pytest
from cli.running import Tiny
from recorder import QUIET, module, trainer
from search.libraries import SETTINGS, features, video

from data_modules.readers.hdf5 import Hdf5Features
from data_modules.testing import write_tiny
from dreamprvr.training.checkpoint import read_checkpoint
from dreamprvr.training.provenance import Provenance, read_provenance, trained_on


def data(videos: Path, words: Path) -> Any:
    stores = [lambda path=path: Hdf5Features(path) for path in (videos, words)]
    return cast(Any, SimpleNamespace(video_features=stores[0], text_features=stores[1]))


def plain(path: Path, **attributes: str) -> Path:
    with h5py.File(path, "w") as file:
        file["a"] = np.ones((3, 6), np.float32)
        file.attrs.update(attributes)
    return path


def test_what_the_files_say(tmp_path: Path) -> None:
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
def test_a_training_says_it_in_its_checkpoint(tmp_path: Path) -> None:
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


def test_searching_imports_no_lightning() -> None:
    code = "import sys, dreamprvr.search.library; sys.exit('lightning' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
