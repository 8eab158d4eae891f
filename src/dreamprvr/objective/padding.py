"""Rows of padding among the queries of a batch: no term of the loss sees them.

They bring ragged batches to few sizes (`bucketing`), which a compiled objective needs.
"""

from torch import Tensor

PADDING = -1  # the label of such a row


def is_query(labels: Tensor) -> Tensor:
    """(Q,) bool: False for padding."""
    return labels != PADDING


def mean_over_queries(values: Tensor, labels: Tensor) -> Tensor:
    """Mean of values (Q,), which at padding must be finite and do not count."""
    counted = is_query(labels)
    return values.where(counted, 0).sum() / counted.sum()
