from itertools import pairwise

import numpy as np
import pytest

from data_modules.world_grammar import OBJECT_CLASS, WORDS, Event
from data_modules.world_video import (
    Looks,
    Plan,
    Renderer,
    concept_vectors,
    is_held_out,
    plan_video,
)

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
