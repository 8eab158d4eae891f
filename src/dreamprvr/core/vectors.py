"""Rows of unit length."""

import numpy as np


def unit(rows: np.ndarray) -> np.ndarray:
    """Divide rows by their lengths.

    Args:
        rows: (..., F), of any floating-point type.

    Returns:
        (..., F) of the same type; a row of zeros stays zero.
    """
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
