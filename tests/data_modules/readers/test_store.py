import numpy as np
import pytest

from data_modules.readers.store import FeatureStore, caption_id_forms
from dreamprvr.core.errors import UserError


class InMemory(FeatureStore):
    def __init__(self, **content: np.ndarray) -> None:
        self.content = {name.replace("_", "#"): rows for name, rows in content.items()}
        self.dim = 2

    path = "memory"  # type: ignore[assignment]

    def keys(self) -> list[str]:
        return list(self.content)

    def has(self, name: str) -> bool:
        return name in self.content

    def shape_of(self, name: str) -> tuple[int, ...]:
        return self.content[name].shape

    def load(self, name: str) -> np.ndarray:
        return self.content[name]


@pytest.mark.parametrize(
    ("key", "forms"),
    [
        ("v", ("v",)),
        ("v#enc#3", ("v#enc#3", "v#3")),
        ("v#3", ("v#3", "v#enc#3")),
        ("v#enc#3#4", ("v#enc#3#4", "v#3#4")),
        ("clip#7#enc#0", ("clip#7#enc#0", "clip#7#0")),
    ],
)
def test_both_spellings_of_a_caption_id(key: str, forms: tuple[str, ...]):
    assert caption_id_forms(key) == forms


def test_exact_spelling_comes_first():
    store = InMemory(v_enc_0=np.zeros((1, 2)), v_0=np.ones((1, 2)), w_0=np.full(2, 5.0))
    assert store["v#enc#0"][0, 0] == 0
    assert store["v#0"][0, 0] == 1
    np.testing.assert_array_equal(store["w#enc#0"], [[5, 5]])  # a vector is one row
    assert store.rows("w#enc#0") == 1
    assert "w#enc#1" not in store
    assert 3 not in store


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (np.zeros((0, 2)), "'v' has no rows"),
        (np.zeros((3, 3)), r"'v' has shape \(3, 3\), not \(rows, 2\)"),
        (np.zeros((1, 3, 2)), r"'v' has shape \(1, 3, 2\)"),
        (np.zeros(()), r"'v' has shape \(\)"),
        (np.array([[0, np.nan]]), "'v' holds NaN or infinite"),
        (np.array([-np.inf, 0]), "'v' holds NaN or infinite"),
    ],
)
def test_bad_features_are_refused(rows: np.ndarray, message: str):
    with pytest.raises(UserError, match=f"memory: {message}.* Run `lightning data check`"):
        InMemory(v=rows)["v"]


def test_missing_id_is_named():
    for access in (InMemory().__getitem__, InMemory().rows):
        with pytest.raises(UserError, match="memory has no features of 'nobody'"):
            access("nobody")


def test_rows_of_an_empty_video_can_be_asked_for():
    assert InMemory(v=np.zeros((0, 2))).rows("v") == 0


def test_ids_that_differ_by_normal_form_are_the_same():
    store = InMemory(**{"cafe\u0301_enc_0": np.ones((1, 2)), "caf\u00e9": np.zeros((3, 2))})
    for key in ("caf\u00e9#enc#0", "cafe\u0301#0", "caf\u00e9#0"):
        assert store.rows(key) == 1
    assert store.rows("cafe\u0301") == 3
    assert "cafe" not in store
    assert "CAF\u00c9" not in store
