import os
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_modules.generation.world import (
    Looks,
    Plan,
    Renderer,
    WorldConfig,
    concept_vectors,
    generate_world,
    is_held_out,
    plan_video,
    word_vectors,
)
from data_modules.generation.world_grammar import OBJECT_CLASS, WORDS, Event, tokens
from data_modules.readers.captions import read_captions
from data_modules.readers.features import open_features
from data_modules.readers.tables import read_tables
from dreamprvr.core.errors import UserError

SMALL = WorldConfig(train=12, val=5, test=7, video_dim=24, text_dim=20)
SIZES = {"train": 12, "val": 5, "test": 7}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    generate_world(root, config=SMALL)
    return root


def contents(root: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for path in sorted((root / "synthetic").rglob("*")):
        if path.suffix == ".hdf5":
            with h5py.File(path) as file:
                found |= {f"{path.name}/{key}": file[key][()].tobytes() for key in file}
        elif path.is_file():
            found[path.name] = path.read_bytes()
    return found


def test_everything_of_the_layout_is_there(root: Path) -> None:
    folder = root / "synthetic"
    assert [p.name for p in root.iterdir()] == ["synthetic"]
    tables = read_tables(folder / "TextData", "synthetic")
    videos = open_features(folder / "FeatureData" / "synthetic")
    words = open_features(folder / "TextData" / "roberta_synthetic_query_feat.hdf5")
    assert (videos.dim, words.dim) == (24, 20)
    assert len(list(videos.keys())) == 24
    seen: set[str] = set()
    for split, count in SIZES.items():
        part = tables.split(split)
        captions = read_captions(folder / "TextData" / f"synthetic{split}.caption.txt")
        assert captions["query_id"].tolist() == part.queries["query_id"].tolist()
        assert captions["text"].tolist() == part.queries["text"].tolist()
        assert len(part.videos) == count
        assert not seen & set(part.videos["video_id"])
        seen |= set(part.videos["video_id"])
        assert set(part.queries["video_ids"].str[0]) == set(part.videos["video_id"])
        assert part.queries["video_ids"].value_counts().between(4, 5).all()
        durations = part.videos.set_index("video_id")["duration"]
        for query in part.queries.itertuples():
            ((start, end),) = query.moments
            assert 0 <= start < end <= durations[query.video_ids[0]]
            assert words[query.query_id].shape == (len(tokens(query.text)), 20)
        for name, duration in durations.items():
            assert videos[name].shape == (round(duration), 24)


def test_the_same_seed_gives_the_same_bytes_in_another_process(root: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from data_modules.generation.world import *;"
        "generate_world(Path(sys.argv[1]),"
        "config=WorldConfig(train=12, val=5, test=7, video_dim=24, text_dim=20))"
    )
    repository = Path(__file__).resolve().parents[3]
    command = [sys.executable, "-c", script, str(tmp_path)]
    subprocess.run(command, check=True, cwd=repository, env=os.environ | {"PYTHONHASHSEED": "7"})
    assert contents(tmp_path) == contents(root)


def test_it_is_made_again_only_when_settings_differ(tmp_path: Path) -> None:
    config = replace(SMALL, train=2, val=1, test=1)
    generate_world(tmp_path, config=config)
    before = contents(tmp_path)
    inode = (tmp_path / "synthetic").stat().st_ino
    generate_world(tmp_path, config=config)
    assert (tmp_path / "synthetic").stat().st_ino == inode
    generate_world(tmp_path, config=replace(config, seed=1))
    after = contents(tmp_path)
    assert after.keys() != before.keys() or after != before
    assert after["feature.hdf5/test0000"] != before["feature.hdf5/test0000"]


def test_foreign_data_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "synthetic").mkdir()
    (tmp_path / "synthetic" / "mine").touch()
    with pytest.raises(UserError, match="not generated"):
        generate_world(tmp_path, config=SMALL)


def test_synonyms_and_forms_are_near_but_not_equal() -> None:
    vectors = word_vectors(["man", "guy", "slices", "sliced", "the", "dog"], WorldConfig())

    def cosine(one: str, other: str) -> float:
        a, b = vectors[one], vectors[other]
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    for pair in (("man", "guy"), ("slices", "sliced")):
        assert 0.7 < cosine(*pair) < 0.98
    for pair in (("man", "dog"), ("man", "slices"), ("man", "the")):
        assert abs(cosine(*pair)) < 0.4
    assert vectors["man"].dtype == np.float32


@pytest.mark.parametrize("wrong", [{"train": 0}, {"held_out": 1.0}, {"partial": 0.8}, {"seed": -1}])
def test_impossible_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="WorldConfig"):
        replace(SMALL, **wrong)


BARE = Looks(part=1.0, pair=0.0, scene=1.0, backdrop=0.0, style=0.0, noise=0.0)


def plans(unseen: bool) -> list[Plan]:
    return [plan_video(f"v{i}", unseen, 0.25, 0) for i in range(60)]


def pairs(unseen: bool) -> list[bool]:
    return [
        is_held_out(event.action, event.object, 0.25, 0)
        for plan in plans(unseen)
        for event in plan.events
    ]


def test_moments_and_views_tile_the_video() -> None:
    for plan in plans(False):
        assert 30 <= plan.duration <= 240
        assert 4 <= len(plan.events) == len(plan.moments) <= 7
        assert 1 <= len(plan.views) <= 2
        spans = sorted(plan.moments + plan.views)
        assert spans[0][0] >= 0
        assert spans[-1][1] <= plan.duration
        assert all(a[1] <= b[0] for a, b in pairwise(spans))
        assert all(end - start > 0.8 for start, end in spans)


def test_training_never_shows_a_held_out_pair_and_evaluation_mostly_does() -> None:
    assert not any(pairs(False))
    assert 0.7 < np.mean(pairs(True)) < 0.9


def test_plans_depend_on_the_name_and_the_seed() -> None:
    assert plan_video("v1", True, 0.25, 0) == plan_video("v1", True, 0.25, 0)
    assert plan_video("v1", True, 0.25, 0) != plan_video("v2", True, 0.25, 0)
    assert plan_video("v1", True, 0.25, 0) != plan_video("v1", True, 0.25, 1)


@pytest.mark.parametrize("part", list(WORDS))
def test_concepts_are_unit_vectors_and_classes_are_closer(part: str) -> None:
    vectors = concept_vectors(part, 0)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, 0)
    assert cosines.max() < 0.8
    if part == "object":
        same = np.equal.outer(OBJECT_CLASS, OBJECT_CLASS) & ~np.eye(len(vectors), dtype=bool)
        assert cosines[same].mean() > cosines[~same].mean() + 0.25


def plan(duration: float = 40.0) -> Plan:
    return Plan("v", duration, 2, [Event(1, 2, 3, 4)], [(10.0, 20.0)], [(30.0, 35.0)])


def test_rows_show_the_event_in_its_moment_and_the_scene_in_its_view() -> None:
    renderer = Renderer(64, BARE, 0)
    rows = renderer.render(plan())
    assert rows.shape == (40, 64)
    assert rows.dtype == np.float32
    shown = np.abs(rows).sum(axis=1) > 0
    assert shown.nonzero()[0].tolist() == [*range(10, 20), *range(30, 35)]
    np.testing.assert_allclose(rows[30:35], [renderer.appearance["scene"][2]] * 5, rtol=1e-6)
    # what is seen of the event is a sum of its four parts, each visible by 0 to 1
    looks = np.stack(
        [
            renderer.appearance[part][i]
            for part, i in zip(("actor", "action", "object", "place"), (1, 2, 3, 4), strict=True)
        ]
    )
    visible, *_ = np.linalg.lstsq(looks.T, rows[10:20].T, rcond=None)
    np.testing.assert_allclose(looks.T @ visible, rows[10:20].T, atol=1e-5)
    assert visible.min() > 0.1 - 1e-5
    assert visible.max() < 1 + 1e-5
    assert visible.max(axis=1).min() > 0.5  # each part is seen at some time


def test_each_look_adds_its_norm() -> None:
    empty = Plan("v", 200.0, 2, [], [], [])
    for name, low, high in (("backdrop", 2.2, 3.8), ("style", 2.99, 3.01), ("noise", 2.8, 3.2)):
        looks = Looks(
            **{"part": 0, "pair": 0, "scene": 0, "backdrop": 0, "style": 0, "noise": 0} | {name: 3}
        )
        rows = Renderer(128, looks, 0).render(empty)
        assert low < np.linalg.norm(rows, axis=1).mean() < high, name


def test_nuisances_move_as_they_should() -> None:
    empty = Plan("v", 200.0, 2, [], [], [])
    nothing = {"part": 0, "pair": 0, "scene": 0, "backdrop": 0, "style": 0, "noise": 0}
    style = Renderer(64, Looks(**nothing | {"style": 1}), 0).render(empty)
    assert (style == style[0]).all()
    backdrop = Renderer(64, Looks(**nothing | {"backdrop": 1}), 0).render(empty)
    steps = np.linalg.norm(np.diff(backdrop, axis=0), axis=1)
    assert 0 < steps.max() < 0.05
    assert np.linalg.norm(backdrop[-1] - backdrop[0]) > 0.3
    both = [
        Renderer(64, Looks(**nothing | {"backdrop": 1}), 0).render(plan) for plan in plans(False)
    ]
    assert np.linalg.matrix_rank(np.concatenate(both), tol=1e-2) == 16


def test_videos_render_the_same_each_time_and_in_any_order() -> None:
    first, second = plans(False)[:2]
    one = Renderer(32, Looks(), 0)
    expected = one.render(first), one.render(second)
    other = Renderer(32, Looks(), 0)
    assert other.render(second).tobytes() == expected[1].tobytes()
    assert other.render(first).tobytes() == expected[0].tobytes()
