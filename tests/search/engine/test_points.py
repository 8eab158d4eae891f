import uuid

import numpy as np
import pytest
from search.engine.cases import LAYOUT, WORDS, arrays, query, record, score

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine.interface import Layout
from dreamprvr.search.engine.points import (
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


@pytest.mark.parametrize("layout", [LAYOUT, WORDS])
@pytest.mark.parametrize("clips", [True, False])
def test_a_point_is_a_video_and_back(clips: bool, layout: Layout) -> None:
    video = record(5, clips=clips, layout=layout)
    payload = point_payload(video.video_id, video.payload)
    found = record_of(point_vectors(video, layout), payload, layout)
    assert (found.video_id, found.payload) == (video.video_id, video.payload)
    assert list(arrays(found)) == list(arrays(video))
    for name, rows in arrays(found).items():
        np.testing.assert_array_equal(rows, arrays(video)[name])


@pytest.mark.parametrize("layout", [LAYOUT, WORDS])
def test_vectors_are_those_of_the_collection(layout: Layout) -> None:
    sizes = {vectors.name: vectors.size for vectors in vector_layouts(layout)}
    found = point_vectors(record(5, layout=layout), layout)
    assert {name: rows.shape[1] for name, rows in found.items()} == sizes
    assert [each.name for each in vector_layouts(layout) if each.links] == ["segments"]


@pytest.mark.parametrize("extras", [{"frames": 3}, {"tokens": 3}, {"segments": 3}])
def test_names_that_meet_are_refused(extras: dict[str, int]) -> None:
    with pytest.raises(UserError, match="give each scale and each extra a name of its own"):
        Layout(3, ("clips", "frames"), extras)


@pytest.mark.parametrize("weights", [(0.6, 0.4), (1e-3, 5.0), (0.0, 1.0), (2.0, 0.0)])
def test_maxsim_of_query_rows_is_the_score(weights: tuple[float, float]) -> None:
    video, asked = record(5), query(weights=weights)
    rows, constant = query_rows(asked, LAYOUT)
    found = (rows @ point_vectors(video, LAYOUT)["tokens"].T).max(axis=1).sum() - constant
    assert found == pytest.approx(score(video, asked), abs=1e-5)


def test_ids_are_uuids_that_depend_on_the_video_alone() -> None:
    assert uuid.UUID(point_id("a")).version == 5
    assert point_id("a") == point_id("a") != point_id("b")


def test_facets_are_distinct() -> None:
    assert len({facet("a", "b=c"), facet("a=b", "c"), facet("a", "b"), facet('a", "b', "")}) == 4
    assert facet("year", 2020) == facet("year", "2020")
    payload = point_payload("v", {"metadata": {"tags": ["x", "y"], "title": "T"}, "rows": 3})
    assert payload["facets"] == [facet("tags", "x"), facet("tags", "y"), facet("title", "T")]
    assert own_payload(payload) == {"metadata": {"tags": ["x", "y"], "title": "T"}, "rows": 3}


def test_one_value_or_many() -> None:
    assert values("ab") == ["ab"]
    assert values(["a", "b"]) == ["a", "b"]
