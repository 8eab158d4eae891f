from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import shared
from simulating import SMALL, WordEncoder, annotations, run

from data_modules.annotations import read_charades_sta
from data_modules.captions import read_captions
from data_modules.features import open_features
from data_modules.schema import Annotations
from data_modules.simulated_video import Mixture, Simulation
from data_modules.splits import join
from data_modules.tables import read_tables
from dreamprvr.core.errors import UserError


def test_the_layout(tmp_path: Path) -> None:
    made, folder = run(tmp_path)
    assert made
    assert [p.name for p in tmp_path.iterdir()] == ["charades"]
    counts = {"train": 2, "val": 2, "test": 2}
    tables = read_tables(folder / "TextData", "charades")
    for split, count in counts.items():
        captions = read_captions(folder / "TextData" / f"charades{split}.caption.txt")
        assert len(captions) == count
        assert captions["query_id"].tolist() == tables.split(split).queries["query_id"].tolist()
    assert read_captions(folder / "TextData" / "charadestest.caption.txt")["text"].tolist() == [
        "a dog runs",
        "zwölf  Männer",
    ]
    videos = open_features(folder / "FeatureData" / "i3d")
    words = open_features(folder / "TextData" / "text.hdf5")
    assert {name: videos[name].shape for name in videos.keys()} == {  # noqa: SIM118
        "a": (12, 24),
        "b": (30, 24),
        "c": (128, 24),
    }
    assert words["a#enc#0"].shape == (3, 20)  # of 5 words, the first 3
    assert words["b#enc#0"].shape == (1, 20)


def test_features_are_stored_as_asked(tmp_path: Path) -> None:
    for dtype in ("float16", "float32"):
        _, folder = run(tmp_path / dtype, settings=replace(SMALL, dtype=dtype))
        for path in folder.rglob("*.hdf5"):
            with h5py.File(path) as file:
                assert {dataset.dtype.name for dataset in file.values()} == {dtype}


def test_a_joint_space_where_sizes_agree_and_two_spaces_where_not(tmp_path: Path) -> None:
    clear = Mixture(1, 0, 0, 0, 0, 4, 0)
    words = WordEncoder().encode(["a man opens the door"])[0]
    for text_dim, video_dim in ((24, 24), (8, 8), (20, 24), (8, 6)):
        settings = Simulation(video_dim, text_dim, mixture=clear, dtype="float32")
        _, folder = run(tmp_path / f"{text_dim}-{video_dim}", settings=settings)
        text = open_features(folder / "TextData" / "text.hdf5")["a#enc#0"]
        row = open_features(folder / "FeatureData" / "i3d")["a"][2]
        if text_dim == 8:
            np.testing.assert_allclose(text, words, rtol=1e-5)
        # orthonormal rows keep angles
        np.testing.assert_allclose(text @ text.T, words @ words.T, rtol=1e-3, atol=1e-4)
        if video_dim >= 8:
            assert np.linalg.norm(row) == pytest.approx(1, abs=1e-5)
        if text_dim == video_dim:
            expected = text.mean(axis=0) / np.linalg.norm(text.mean(axis=0))
            np.testing.assert_allclose(row, expected, atol=1e-5)


def test_order_does_not_matter(tmp_path: Path) -> None:
    table = annotations()
    turned = Annotations(table.videos[::-1].reset_index(drop=True), table.queries)
    _, one = run(tmp_path / "one", table)
    _, other = run(tmp_path / "other", turned)
    for name in ("FeatureData/i3d", "TextData/text.hdf5"):
        first, second = open_features(one / name), open_features(other / name)
        for key in first.keys():  # noqa: SIM118
            assert first[key].tobytes() == second[key].tobytes()


def test_it_is_made_again_only_when_something_differs(tmp_path: Path) -> None:
    assert run(tmp_path)[0]
    assert not run(tmp_path)[0]
    assert run(tmp_path, settings=replace(SMALL, seed=1))[0]
    table = annotations()
    table.queries.loc[0, "text"] = "a woman opens the door"
    assert run(tmp_path, table, replace(SMALL, seed=1))[0]
    assert not run(tmp_path, table, replace(SMALL, seed=1))[0]


def test_real_data_in_the_way_are_kept(tmp_path: Path) -> None:
    precious = tmp_path / "charades" / "FeatureData" / "feature.bin"
    precious.parent.mkdir(parents=True)
    precious.touch()
    with pytest.raises(UserError, match="not generated"):
        run(tmp_path)
    assert precious.exists()


def test_annotations_that_cannot_be_simulated_are_refused(tmp_path: Path) -> None:
    table = annotations()
    with pytest.raises(UserError, match="no val captions"):
        run(tmp_path, table.split("train"))
    videos = table.videos.assign(duration=[1.0, float("nan"), 2.0])
    with pytest.raises(UserError, match="'b' has duration nan"):
        run(tmp_path, Annotations(videos, table.queries))
    with pytest.raises(UserError, match="unknown video 'c'"):
        run(tmp_path, Annotations(table.videos[:2], table.queries))
    assert not (tmp_path / "charades").exists()


@shared.needs_data
def test_real_annotations(tmp_path: Path) -> None:
    folder = shared.DATA / "charades"
    parts = []
    for name, split in (("train", "train"), ("test", "val")):
        part, _ = read_charades_sta(
            folder / f"charades_sta_{name}.txt", folder / f"Charades_v1_{name}.csv", split
        )
        few = part.videos[:40]
        queries = part.queries[part.queries["video_ids"].str[0].isin(few["video_id"])]
        parts.append(Annotations(few, queries))
    table = join(parts)
    _, written = run(tmp_path, table)
    videos = open_features(written / "FeatureData" / "i3d")
    for video in table.videos.itertuples():
        assert len(videos[video.video_id]) == max(1, min(128, round(video.duration)))
