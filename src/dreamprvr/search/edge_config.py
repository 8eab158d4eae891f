"""How the embedded engine keeps a collection."""

import os

from dreamprvr.core.errors import UserError
from dreamprvr.search.layout import vector_layouts

os.environ["RUST_BACKTRACE"] = "0"  # of a panic over damaged files, 60 lines that help no user

try:
    import qdrant_edge as edge
except ImportError:
    raise UserError(
        "the embedded search engine is not installed: pip install 'dreamprvr[search]'"
    ) from None

__all__ = ["edge", "edge_config"]

BUILD_EFFORT = 100  # ef_construct
GRAPH_FROM = 10_000  # KB of a part of the collection that gets a graph, once any does
NEVER = 2**40  # KB
FULL_SCAN = 10_000  # KB of segment vectors below which a graph is not worth it
DELETED = 0.1  # share of a part of the collection that makes it worth writing again
LEAST = 100  # videos of such a part


def edge_config(dim: int, graph: bool = False) -> edge.EdgeConfig:
    """A collection of rows of `dim` numbers.

    Args:
        dim: D.
        graph: whether compacting builds a graph of segments.
    """
    multivector = edge.MultiVectorConfig(edge.MultiVectorComparator.MaxSim)
    return edge.EdgeConfig(
        vectors={
            name: edge.EdgeVectorParams(
                size, edge.Distance.Dot, multivector_config=multivector,
                datatype=edge.VectorStorageDatatype.Float16,
                hnsw_config=edge.HnswIndexConfig(links, BUILD_EFFORT, FULL_SCAN),
            )
            for name, size, links in vector_layouts(dim)
        },
        optimizers=edge.EdgeOptimizersConfig(
            deleted_threshold=DELETED, vacuum_min_vector_number=LEAST,
            indexing_threshold=GRAPH_FROM if graph else NEVER,
        ),
        wal_enabled=False,
    )  # fmt: skip
