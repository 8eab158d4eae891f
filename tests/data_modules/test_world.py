import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from data_modules.captions import read_captions
from data_modules.features import open_features
from data_modules.tables import read_tables
from data_modules.world import WorldConfig, generate_world, word_vectors
from data_modules.world_grammar import tokens
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
        "import sys; from pathlib import Path; from data_modules.world import *;"
        "generate_world(Path(sys.argv[1]),"
        "config=WorldConfig(train=12, val=5, test=7, video_dim=24, text_dim=20))"
    )
    repository = Path(__file__).resolve().parents[2]
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
def test_settings_that_make_no_world_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="WorldConfig"):
        replace(SMALL, **wrong)
