import numpy as np

from dreamprvr.core.vectors import unit


def test_rows_of_unit_length_keep_their_type() -> None:
    rows = unit(np.array([[0.0, 0.0], [3.0, -4.0]], np.float32))
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, [[0, 0], [0.6, -0.8]], rtol=1e-6)
    assert unit(np.array([0.0, 2.0])).tolist() == [0, 1]
