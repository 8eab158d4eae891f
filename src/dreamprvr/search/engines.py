"""Which engine a library uses: embedded, or a server's."""

from pathlib import Path
from uuid import uuid4

from dreamprvr.search.engine import Engine
from dreamprvr.search.manifest import EDGE, ENGINE, Manifest
from dreamprvr.search.rows import RowStore
from dreamprvr.search.vectors import Model


def new_collection(engine: str) -> str:
    """A name for a collection of its own on a server; "" for the embedded engine."""
    return "" if engine == EDGE else f"dreamprvr-{uuid4().hex}"


def create_engine(folder: Path, manifest: Manifest) -> Engine:
    """An empty collection.

    Args:
        folder: of the library.
        manifest: names the engine, the collection and the size of vectors.

    Raises:
        UserError: a package is missing, or the server does not answer.
    """
    if manifest.engine == EDGE:
        from dreamprvr.search.edge_engine import EdgeEngine

        return EdgeEngine.create(folder / ENGINE, manifest.dim)
    from dreamprvr.search.remote_engine import RemoteEngine, connect

    return RemoteEngine.create(connect(manifest.engine), manifest.collection, manifest.dim)


def open_engine(folder: Path, manifest: Manifest) -> Engine:
    """The collection of a library."""
    if manifest.engine == EDGE:
        from dreamprvr.search.edge_engine import EdgeEngine

        return EdgeEngine(folder / ENGINE, manifest.dim)
    from dreamprvr.search.remote_engine import RemoteEngine, connect

    return RemoteEngine(connect(manifest.engine), manifest.collection)


def row_store(folder: Path, manifest: Manifest, model: Model) -> RowStore | None:
    """The rows beside the embedded engine; a server's vectors are left where they are."""
    return RowStore(folder, model) if manifest.engine == EDGE else None


def repair_engine(folder: Path, manifest: Manifest) -> None:
    """Remove what a killed writer left half written; the folder must be locked for writing."""
    if is_interrupted(folder, manifest):
        from dreamprvr.search.edge_engine import EdgeEngine

        engine = EdgeEngine(folder / ENGINE, manifest.dim)
        engine.repair()
        engine.close()


def is_interrupted(folder: Path, manifest: Manifest) -> bool:
    """Whether `repair_engine` has something to do."""
    if manifest.engine != EDGE:
        return False
    from dreamprvr.search.edge_engine import EdgeEngine

    return EdgeEngine.is_interrupted(folder / ENGINE)
