"""Ragged numbers of captions and words, padded to few sizes for what is compiled for each size.

Nothing else meets the padding: embeddings of padded captions are cut off again, and the objective
leaves padded rows out of every term.
"""

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from dreamprvr.models.encoded import PADDED, EncodedBatch, map_tensors

EncodeQueries = Callable[[Tensor, Tensor], Tensor]
ComputeLoss = Callable[[EncodedBatch, bool], dict[str, Tensor]]


def bucket(size: int) -> int:
    """The smallest of ..., 16, 20, 24, 28, 32, 40, ... that is at least `size` (from 1).

    Four sizes an octave: less than a quarter is added, and sizes up to n become 4 log2(n) or fewer.
    """
    step = max(1, 2 ** ((size - 1).bit_length() - 3))
    return -(-size // step) * step


def bucketed_queries(encode: EncodeQueries, max_words: int) -> EncodeQueries:
    """A query encoder of ragged batches, from one that is compiled for each size.

    Args:
        encode: (Q, L, E) words and (Q, L) mask -> (Q, D).
        max_words: the longest caption that it takes.
    """

    def padded(words: Tensor, mask: Tensor) -> Tensor:
        count, longest = mask.shape
        more_words = max(min(bucket(longest), max_words) - longest, 0)
        more_queries = bucket(count) - count
        words = F.pad(words, (0, 0, 0, more_words, 0, more_queries))
        return encode(words, F.pad(mask, (0, more_words, 0, more_queries)))[:count]

    return padded


def bucketed_objective(compute: ComputeLoss) -> ComputeLoss:
    """An objective of ragged batches, from one that is compiled for each number of queries."""

    def padded(batch: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        more = bucket(len(batch.labels)) - len(batch.labels)
        queries = map_tensors(lambda x: F.pad(x, (*(0, 0) * (x.dim() - 1), 0, more)), batch.queries)
        labels = F.pad(batch.labels, (0, more), value=PADDED)
        return compute(batch._replace(queries=queries, labels=labels), hard_negatives)

    return padded
