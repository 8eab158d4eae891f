"""Opening of the engine that a library names: the embedded one, or a server."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from dreamprvr.search.engine.interface import Engine, Layout
from dreamprvr.search.manifest import EDGE, Manifest


def new_collection(engine: str) -> str:
    """Choose a name for a new collection on a server; "" for the embedded engine."""
    return "" if engine == EDGE else f"dreamprvr-{uuid4().hex}"


def create_engine(folder: Path, manifest: Manifest, layout: Layout) -> Engine:
    """Make an empty collection.

    Args:
        folder: folder of the library.
        manifest: manifest of the library; it names the engine and the collection.
        layout: vectors of a video.

    Raises:
        UserError: a package is missing, or the server does not answer.
    """
    if manifest.engine == EDGE:
        from dreamprvr.search.engine.edge import EdgeEngine

        return EdgeEngine.create(manifest.engine_in(folder), layout)
    from dreamprvr.search.engine.remote import RemoteEngine, connect

    return RemoteEngine.create(connect(manifest.engine), manifest.collection, layout)


def open_engine(folder: Path, manifest: Manifest, find_layout: Callable[[], Layout]) -> Engine:
    """Open the collection of a library.

    Args:
        folder: folder of the library.
        manifest: manifest of the library; it names the engine and the collection.
        find_layout: returns the vectors of a video; called when vectors are read or written.

    Raises:
        UserError: a package is missing, the engine's files are damaged, or the server does not
            answer.
    """
    if manifest.engine == EDGE:
        from dreamprvr.search.engine.edge import EdgeEngine

        return EdgeEngine(manifest.engine_in(folder), find_layout)
    from dreamprvr.search.engine.remote import RemoteEngine, connect

    return RemoteEngine(connect(manifest.engine), manifest.collection, find_layout)


def repair_engine(folder: Path, manifest: Manifest, find_layout: Callable[[], Layout]) -> None:
    """Repair the videos that a killed writer left half written.

    Args:
        folder: folder of the library.
        manifest: manifest of the state that was being written; nobody else may write it.
        find_layout: returns the vectors of a video; called only if there is something to repair.
    """
    if manifest.engine != EDGE:
        return
    from dreamprvr.search.engine.edge import EdgeEngine

    if EdgeEngine.is_interrupted(manifest.engine_in(folder)):
        engine = EdgeEngine(manifest.engine_in(folder), find_layout)
        engine.repair()
        engine.close()
