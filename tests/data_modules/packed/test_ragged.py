import numpy as np
import pytest

from data_modules.packed.ragged import flatten, joined, offsets_of, padded

OFFSETS = np.array([0, 2, 3, 7])  # items of 2, 1 and 4


def test_offsets():
    assert offsets_of([2, 1, 4]).tolist() == OFFSETS.tolist()
    assert offsets_of([]).tolist() == [0]


def test_flatten():
    flat, offsets = flatten([[5, 6], [], [7]])
    assert flat.tolist() == [5, 6, 7]
    assert offsets.tolist() == [0, 2, 2, 3]
    assert flat.dtype == np.int64


def test_padded_to_the_longest():
    places, inside = padded(OFFSETS, np.array([1, 0, 1]))
    assert places.tolist() == [[2, 7], [0, 1], [2, 7]]
    assert inside.tolist() == [[True, False], [True, True], [True, False]]


def test_padded_to_a_length():
    places, inside = padded(OFFSETS, np.array([2, 1]), 5)
    assert places.tolist() == [[3, 4, 5, 6, 7], [2, 7, 7, 7, 7]]
    assert inside.sum(axis=1).tolist() == [4, 1]


@pytest.mark.parametrize("items", [[0], [2, 0], [1, 1, 2], [2, 1, 0]])
def test_joined(items: list[int]):
    places, owner = joined(OFFSETS, np.array(items))
    expected = [(p, i) for i, n in enumerate(items) for p in range(OFFSETS[n], OFFSETS[n + 1])]
    assert list(zip(places.tolist(), owner.tolist(), strict=True)) == expected
