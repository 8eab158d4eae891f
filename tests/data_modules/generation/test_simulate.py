"""`data simulate` continues after Ctrl-C, with the same result."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
import shared
from simulating import SMALL, WordEncoder, annotations, run

from data_modules.generation.simulate import hold_out, join, simulate, with_test
from data_modules.generation.simulated_video import Mixture, SimulatedVideos, Simulation
from data_modules.readers.captions import read_captions
from data_modules.readers.features import open_features
from data_modules.readers.published import read_charades_sta
from data_modules.readers.tables import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations, read_tables
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


def test_real_data_are_not_replaced(tmp_path: Path) -> None:
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


def captioned(count: int, split: str = "all", first: int = 0) -> Annotations:
    ids = [f"v{i}" for i in range(first, first + count)]
    videos = pd.DataFrame([(v, 9.0, split, "") for v in ids], columns=VIDEO_COLUMNS)
    queries = [(f"{v}#enc#{i}", (v,), "a dog", ((0.0, 1.0),), split) for v in ids for i in (0, 1)]
    return Annotations(videos, pd.DataFrame(queries, columns=QUERY_COLUMNS))


def test_join_keeps_all_rows_in_order() -> None:
    joined = join([captioned(2, "train"), captioned(3, "val", 2)])
    assert joined.videos["video_id"].tolist() == ["v0", "v1", "v2", "v3", "v4"]
    assert joined.queries.index.tolist() == list(range(10))
    assert joined.queries["split"].tolist() == ["train"] * 4 + ["val"] * 6


def test_hold_out_splits_videos_with_their_captions() -> None:
    whole = captioned(50)
    split = hold_out(whole, 0.2)
    assert split.videos["split"].value_counts().to_dict() == {"train": 40, "val": 10}
    by_video = split.videos.set_index("video_id")["split"]
    for query in split.queries.itertuples():
        assert query.split == by_video[query.video_ids[0]]
    assert whole.videos["split"].unique().tolist() == ["all"]  # the argument is left alone


def test_hold_out_depends_on_ids_and_seed_and_not_on_order() -> None:
    whole = captioned(50)
    turned = Annotations(whole.videos[::-1], whole.queries[::-1])

    def held(table: Annotations, seed: int) -> set[str]:
        videos = hold_out(table, seed=seed).videos
        return set(videos["video_id"][videos["split"] == "val"])

    assert held(whole, 0) == held(turned, 0) != held(whole, 1)


@pytest.mark.parametrize("fraction", [0.0, 0.001, 1.0])
def test_an_empty_side_is_refused(fraction: float) -> None:
    with pytest.raises(UserError, match="hold-out"):
        hold_out(captioned(10), fraction)


def test_a_caption_on_both_sides_is_refused() -> None:
    whole = captioned(10)
    everywhere = tuple(whole.videos["video_id"])
    queries = whole.queries.assign(video_ids=[everywhere] * len(whole.queries))
    with pytest.raises(UserError, match="both train and val"):
        hold_out(Annotations(whole.videos, queries))


def test_test_is_val_unless_it_has_rows() -> None:
    parts = [captioned(2, "train"), captioned(3, "val", 2)]
    doubled = with_test(join(parts))
    val, test = doubled.split("val"), doubled.split("test")
    assert test.queries.drop(columns="split").equals(val.queries.drop(columns="split"))
    assert test.videos.drop(columns="split").equals(val.videos.drop(columns="split"))
    whole = join([*parts, captioned(1, "test", 5)])
    assert with_test(whole) is whole


@pytest.mark.parametrize("options", [{"fraction": math.nan}, {"fraction": -1}, {"seed": -1}])
def test_impossible_shares_are_refused(options: dict) -> None:
    with pytest.raises(UserError, match="it must be a"):
        hold_out(captioned(5), **options)


class Interrupted(WordEncoder):
    """Ctrl-C at the sentence after `count`."""

    def __init__(self, count: int) -> None:
        self.count, self.seen = count, 0

    def encode(self, sentences: Sequence[str], progress: bool = True) -> list[np.ndarray]:
        if self.seen == self.count:
            raise KeyboardInterrupt
        self.seen += len(sentences)
        return super().encode(sentences)


def contents(folder: Path) -> dict[str, object]:
    """Every file by its path: text as it is, HDF5 by its datasets."""
    found: dict[str, object] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = str(path.relative_to(folder))
        found[name] = path.read_bytes() if path.suffix != ".hdf5" else values(path)
    return found


def values(path: Path) -> dict[str, tuple[str, bytes]]:
    with h5py.File(path) as file:
        return {name: (str(data.dtype), data[()].tobytes()) for name, data in file.items()}


@pytest.mark.parametrize("sentences", range(4))
@pytest.mark.parametrize("videos", range(3))
def test_an_interrupted_run_can_be_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sentences: int, videos: int
) -> None:
    """Ctrl-C in the sentences, then in the videos: the result is that of one run."""
    monkeypatch.setattr("data_modules.generation.simulate.CHUNK", 1)
    monkeypatch.setattr("data_modules.generation.simulate.VIDEO_CHUNK", 1)
    monkeypatch.chdir(tmp_path)
    _, whole = run(tmp_path / "whole")
    names = ("charades", "i3d", "text.hdf5")

    def go_on(encoder: WordEncoder) -> bool:
        return simulate(annotations(), tmp_path / "cut", *names, encoder, SMALL)

    with pytest.raises(KeyboardInterrupt):
        go_on(Interrupted(sentences))
    rows, made = SimulatedVideos.rows, []

    def cut(self: SimulatedVideos, name: str, *arguments: Any) -> np.ndarray:
        if len(made) == videos:
            raise KeyboardInterrupt
        made.append(name)
        return rows(self, name, *arguments)

    rest = Interrupted(count=-1)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(SimulatedVideos, "rows", cut)
        go_on(rest)
    assert rest.seen == 4 - sentences  # none is encoded twice
    assert not (tmp_path / "cut" / "charades").exists()
    again: list[str] = []
    monkeypatch.setattr(SimulatedVideos, "rows", lambda *a: (again.append(a[1]), rows(*a))[1])
    assert go_on(Interrupted(count=0))
    assert sorted(made + again) == ["a", "b", "c"]
    assert contents(tmp_path / "cut") == contents(whole.parent)  # and nothing else is left


def test_an_interrupted_run_with_other_settings_starts_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("data_modules.generation.simulate.CHUNK", 1)
    with pytest.raises(KeyboardInterrupt):
        simulate(annotations(), tmp_path, "charades", "i3d", "text.hdf5", Interrupted(2), SMALL)
    assert [path.name for path in tmp_path.iterdir()] == [".charades.partial"]
    other = replace(SMALL, seed=5)
    assert run(tmp_path, settings=other)[0]
    run(tmp_path / "whole", settings=other)
    assert contents(tmp_path / "charades") == contents(tmp_path / "whole" / "charades")
    assert not (tmp_path / ".charades.partial").exists()
