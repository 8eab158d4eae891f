import math

import pandas as pd
import pytest

from data_modules.schema import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations
from data_modules.splits import hold_out, join, with_test
from dreamprvr.core.errors import UserError


def annotations(count: int, split: str = "all", first: int = 0) -> Annotations:
    ids = [f"v{i}" for i in range(first, first + count)]
    videos = pd.DataFrame([(v, 9.0, split, "") for v in ids], columns=VIDEO_COLUMNS)
    queries = [(f"{v}#enc#{i}", (v,), "a dog", ((0.0, 1.0),), split) for v in ids for i in (0, 1)]
    return Annotations(videos, pd.DataFrame(queries, columns=QUERY_COLUMNS))


def test_join_keeps_all_rows_in_order() -> None:
    joined = join([annotations(2, "train"), annotations(3, "val", 2)])
    assert joined.videos["video_id"].tolist() == ["v0", "v1", "v2", "v3", "v4"]
    assert joined.queries.index.tolist() == list(range(10))
    assert joined.queries["split"].tolist() == ["train"] * 4 + ["val"] * 6


def test_hold_out_splits_videos_with_their_captions() -> None:
    whole = annotations(50)
    split = hold_out(whole, 0.2)
    assert split.videos["split"].value_counts().to_dict() == {"train": 40, "val": 10}
    by_video = split.videos.set_index("video_id")["split"]
    for query in split.queries.itertuples():
        assert query.split == by_video[query.video_ids[0]]
    assert whole.videos["split"].unique().tolist() == ["all"]  # the argument is left alone


def test_hold_out_depends_on_ids_and_seed_and_not_on_order() -> None:
    whole = annotations(50)
    turned = Annotations(whole.videos[::-1], whole.queries[::-1])

    def held(table: Annotations, seed: int) -> set[str]:
        videos = hold_out(table, seed=seed).videos
        return set(videos["video_id"][videos["split"] == "val"])

    assert held(whole, 0) == held(turned, 0) != held(whole, 1)


@pytest.mark.parametrize("fraction", [0.0, 0.001, 1.0])
def test_an_empty_side_is_refused(fraction: float) -> None:
    with pytest.raises(UserError, match="hold-out"):
        hold_out(annotations(10), fraction)


def test_a_caption_on_both_sides_is_refused() -> None:
    whole = annotations(10)
    everywhere = tuple(whole.videos["video_id"])
    queries = whole.queries.assign(video_ids=[everywhere] * len(whole.queries))
    with pytest.raises(UserError, match="both train and val"):
        hold_out(Annotations(whole.videos, queries))


def test_test_is_val_unless_it_has_rows() -> None:
    parts = [annotations(2, "train"), annotations(3, "val", 2)]
    doubled = with_test(join(parts))
    val, test = doubled.split("val"), doubled.split("test")
    assert test.queries.drop(columns="split").equals(val.queries.drop(columns="split"))
    assert test.videos.drop(columns="split").equals(val.videos.drop(columns="split"))
    whole = join([*parts, annotations(1, "test", 5)])
    assert with_test(whole) is whole


@pytest.mark.parametrize("options", [{"fraction": math.nan}, {"fraction": -1}, {"seed": -1}])
def test_numbers_that_make_no_split(options: dict) -> None:
    with pytest.raises(UserError, match="it must be a"):
        hold_out(annotations(5), **options)
