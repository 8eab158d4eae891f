"""Real features, from their published files to ranks, through the shipped data sets."""

from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from bigfiles import write_big_file
from recorder import QUIET, module, trainer
from shared import DATA, needs_data

from data_modules.activitynet import ActivityNet
from data_modules.base import PRVRDataModule
from data_modules.charades import Charades
from data_modules.checking.check import check
from data_modules.readers.captions import write_captions
from data_modules.readers.convert import convert_big_file
from dreamprvr.evaluation.baselines import evaluate_baselines
from dreamprvr.training.module import PRVRModule
from dreamprvr.training.optimizer import BertAdam

pytestmark = [*QUIET, needs_data]
VIDEOS = DATA / "videos"


def unit(rows: np.ndarray) -> np.ndarray:
    rows = rows.astype(np.float64)
    return rows / (np.linalg.norm(rows, axis=-1, keepdims=True) + 1e-5)


def write_texts(
    dataset: type[PRVRDataModule], root: Path, features: str, words: dict[str, np.ndarray]
) -> Path:
    """The captions of all splits and their word features; the data set's folder."""
    folder = root / dataset.collection
    path = folder / dataset.feature_sets[features].text
    path.parent.mkdir(parents=True)
    table = pd.DataFrame({"query_id": list(words), "text": "a sentence"})
    for split in ("train", "val", "test"):
        write_captions(path.parent / f"{dataset.collection}{split}.caption.txt", table)
    with h5py.File(path, "w") as file:
        for name, rows in words.items():
            file[name] = rows
    return folder


@pytest.mark.parametrize("form", ["big file", "hdf5"])
def test_i3d_features_become_clips_and_frames(tmp_path: Path, form: str) -> None:
    jump, flow = (np.load(VIDEOS / f"women_long_jump_{kind}.npy") for kind in ("rgb", "flow"))
    # no words of that size are at hand: rows of the flow features take their place
    words = {"jump#enc#0": flow[:5], "flow#enc#0": flow[5:]}
    folder = write_texts(ActivityNet, tmp_path, "standard", words)
    big = write_big_file(folder / "FeatureData" / "i3d", {"jump": jump, "flow": flow})
    if form == "hdf5":
        convert_big_file(big)
        (big / "feature.bin").unlink()
    data = ActivityNet(tmp_path, num_workers=0)
    assert check(data).ok
    gallery, _ = data.test_dataloader()
    (videos,) = gallery
    for place, rows in enumerate((jump, flow)):
        count = len(rows)
        assert videos.frame_mask[place].tolist() == [1] * count + [0] * (128 - count)
        np.testing.assert_allclose(videos.frames[place, :count], unit(rows), atol=1e-6)
        assert not videos.frames[place, count:].any()
        # fewer rows than clips: each clip is a row (docs/model.md, section 1)
        shown = [min(round(i / 32 * count), count - 1) for i in range(32)]
        np.testing.assert_allclose(videos.clips[place], unit(rows[shown]), atol=1e-6)


def windows() -> dict[str, np.ndarray]:
    """Five stretches of a real video, three frames each, in CLIP's features."""
    frames = np.load(VIDEOS / "univtg_vid.npz")["features"]
    assert frames.shape == (15, 512)
    return {f"w{i}": frames[3 * i : 3 * i + 3] for i in range(5)}


@pytest.fixture
def clip(tmp_path: Path) -> PRVRDataModule:
    """A gallery of these stretches; a caption is a frame, which lies in CLIP's joint space.

    The words of a real sentence are the last caption, of the first stretch.
    """
    words = {f"{name}#enc#{i}": rows[i] for name, rows in windows().items() for i in range(3)}
    words["w0#enc#3"] = np.load(VIDEOS / "univtg_txt.npz")["features"]
    folder = write_texts(Charades, tmp_path, "clip", words)
    path = folder / Charades.feature_sets["clip"].video
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        group = Charades.feature_sets["clip"].group
        for name, rows in windows().items():
            file[f"{name}/{group}" if group else name] = rows
    return Charades(tmp_path, "clip", num_workers=0, max_frames=8, num_clips=4, batch_size=5)


def test_clip_features_as_the_network_gets_them(clip: PRVRDataModule) -> None:
    assert check(clip).ok
    gallery, queries = clip.test_dataloader()
    (videos,), (asked,) = gallery, queries
    for place, rows in enumerate(windows().values()):
        np.testing.assert_allclose(videos.frames[place, :3], unit(rows), atol=1e-6)
    sentence = np.load(VIDEOS / "univtg_txt.npz")["features"]
    assert asked.word_mask.sum(dim=1).tolist() == [1] * 15 + [len(sentence)]
    np.testing.assert_allclose(asked.words[15], unit(sentence), atol=1e-6)
    assert asked.positives.squeeze(1).tolist() == [i // 3 for i in range(15)] + [0]


def test_a_frame_finds_its_stretch_without_a_network(clip: PRVRDataModule) -> None:
    found = evaluate_baselines(clip)
    sentence = unit(np.load(VIDEOS / "univtg_txt.npz")["features"].astype(np.float32).mean(axis=0))
    best = [(unit(rows) @ sentence).max() for rows in windows().values()]
    first = 15 + (max(best) == best[0])
    assert found["max over time, untrained"]["R@1"] == pytest.approx(100 * first / 16)
    assert found["mean pooling, untrained"]["R@1"] < found["max over time, untrained"]["R@1"]
    assert found["chance"]["R@1"] == pytest.approx(20)


@pytest.mark.slow
def test_a_network_learns_to_find_real_features(clip: PRVRDataModule) -> None:
    def recall(model: PRVRModule) -> float:
        return trainer().test(model, clip, verbose=False)[0]["test/R@1"]

    options = {"hidden_size": 64, "dropout": 0.0, "input_dropout": 0.0}
    model = module(sizes=(512, 512), network=options, optimizer=partial(BertAdam, lr=1e-3))
    before = recall(model)
    trainer(max_epochs=45).fit(model, clip)
    assert before < 40 < 60 < recall(model)  # chance is 20
