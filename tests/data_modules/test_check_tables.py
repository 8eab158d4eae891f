import math

import pandas as pd
import pytest

from data_modules.check_tables import captions_per_video, table_problems, table_remarks
from data_modules.schema import QUERY_COLUMNS, VIDEO_COLUMNS, Annotations

MOMENT = ((1.0, 2.0),)


def table(videos: list[tuple[object, float]], queries: list[tuple[object, ...]]) -> Annotations:
    """Videos as (id, duration), captions as (id, videos, text, moments)."""
    return Annotations(
        pd.DataFrame([(*video, "val", "") for video in videos], columns=VIDEO_COLUMNS),
        pd.DataFrame([(*query, "val") for query in queries], columns=QUERY_COLUMNS),
    )


VIDEOS = [("v", 9.0), ("w", math.nan)]
QUERIES = [("v#enc#0", ("v",), "one", MOMENT), ("w#enc#0", ("w", "v"), "one", MOMENT)]


def test_sound_tables():
    sound = table(VIDEOS, [QUERIES[0], ("w#enc#0", ("w", "v"), "two", MOMENT)])
    assert table_problems(sound) == []
    assert table_remarks(sound) == []
    assert captions_per_video(sound) == (1, 1.5, 2)
    assert captions_per_video(table([("v", 9.0), ("x", 1.0)], QUERIES[:1])) == (0, 0.5, 1)


@pytest.mark.parametrize(
    ("videos", "queries", "problem"),
    [
        ([*VIDEOS, ("v", 3.0)], QUERIES, "ids used twice: 1 video (v)"),
        (VIDEOS, [*QUERIES, QUERIES[0]], "ids used twice: 1 caption (v#enc#0)"),
        (VIDEOS, [*QUERIES, ("v#0", ("v",), "x", ())], "ids used twice: 1 caption (v#enc#0)"),
        (VIDEOS, [*QUERIES, ("q", (), "x", ())], "no true video: 1 caption (q)"),
        (
            VIDEOS,
            [*QUERIES, ("q", ("v", "lost"), "x", ())],
            "captions name videos that are not in the video table: 1 video (lost)",
        ),
        ([*VIDEOS, (7, 1.0)], QUERIES, "ids must be strings: 1 video (7)"),
        (VIDEOS, [*QUERIES, (7, ("v",), "x", ())], "ids must be strings: 1 caption (7)"),
    ],
)
def test_problems(
    videos: list[tuple[object, float]], queries: list[tuple[object, ...]], problem: str
):
    assert table_problems(table(videos, queries)) == [problem]


@pytest.mark.parametrize(
    ("videos", "query", "remark"),
    [
        (VIDEOS, ("q", ("v",), " ", MOMENT), "empty text: 1 caption (q)"),
        (VIDEOS, ("q", ("v",), "one", MOMENT), "the same text twice for one video: 1 video (v)"),
        (
            VIDEOS,
            ("q", ("v",), "x", ()),
            "moment unknown: 1 caption (only results by moment length need it)",
        ),
        (VIDEOS, ("q", ("v",), "x", ((1.0, 9.1),)), "moment ends after its video: 1 caption (q)"),
        (VIDEOS, ("q", ("v",), "x", ((2.0, 1.0),)), "moment ends before it starts: 1 caption (q)"),
        (
            [*VIDEOS, ("x", 1.0)],
            ("q", ("v",), "x", MOMENT),
            "no caption, so only to be found wrongly: 1 video (x)",
        ),
    ],
)
def test_remarks(videos: list[tuple[object, float]], query: tuple[object, ...], remark: str):
    queries = [QUERIES[0], ("w#enc#0", ("w",), "two", ((1.0, 1e9),)), query]
    assert table_remarks(table(videos, queries)) == [remark]
