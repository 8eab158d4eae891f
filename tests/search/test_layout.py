import uuid

import numpy as np
import pytest
from search.engine_cases import DIM, query, record

from dreamprvr.search.layout import (
    facet,
    own_payload,
    point_id,
    point_payload,
    point_vectors,
    query_rows,
    record_of,
    values,
    vector_layouts,
)


@pytest.mark.parametrize("clips", [True, False])
def test_a_point_is_a_video_and_back(clips: bool) -> None:
    video = record(5, clips=clips)
    payload = point_payload(video.video_id, video.payload)
    found = record_of(point_vectors(video), payload)
    assert (found.video_id, found.payload) == (video.video_id, video.payload)
    for name in ("clips", "frames", "segments", "registers"):
        np.testing.assert_array_equal(getattr(found, name), getattr(video, name))


def test_vectors_are_those_of_the_collection() -> None:
    sizes = {layout.name: layout.size for layout in vector_layouts(DIM)}
    found = point_vectors(record(5))
    assert {name: rows.shape[1] for name, rows in found.items()} == sizes
    assert [layout.name for layout in vector_layouts(DIM) if layout.links] == ["segments"]


@pytest.mark.parametrize("weights", [(0.6, 0.4), (1e-3, 5.0), (0.0, 1.0), (2.0, 0.0)])
def test_maxsim_of_query_rows_is_the_score(weights: tuple[float, float]) -> None:
    video, asked = record(5), query(clip_weight=weights[0], frame_weight=weights[1])
    rows, constant = query_rows(asked)
    found = (rows @ point_vectors(video)["tokens"].T).max(axis=1).sum() - constant
    expected = weights[0] * (video.clips @ asked.vector).max()
    expected += weights[1] * (video.frames @ asked.vector).max()
    assert found == pytest.approx(expected, abs=1e-5)


def test_ids_are_uuids_that_depend_on_the_video_alone() -> None:
    assert uuid.UUID(point_id("a")).version == 5
    assert point_id("a") == point_id("a") != point_id("b")


def test_facets_are_told_apart() -> None:
    assert len({facet("a", "b=c"), facet("a=b", "c"), facet("a", "b"), facet('a", "b', "")}) == 4
    assert facet("year", 2020) == facet("year", "2020")
    payload = point_payload("v", {"metadata": {"tags": ["x", "y"], "title": "T"}, "rows": 3})
    assert payload["facets"] == [facet("tags", "x"), facet("tags", "y"), facet("title", "T")]
    assert own_payload(payload) == {"metadata": {"tags": ["x", "y"], "title": "T"}, "rows": 3}


def test_one_value_or_many() -> None:
    assert values("ab") == ["ab"]
    assert values(["a", "b"]) == ["a", "b"]
