"""Opening of the engine that a library names: the embedded one, or a server."""

from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from dreamprvr.search.engine.interface import Engine, Layout
from dreamprvr.search.manifest import EDGE, ENGINE, Manifest


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

        return EdgeEngine.create(folder / ENGINE, layout)
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

        return EdgeEngine(folder / ENGINE, find_layout)
    from dreamprvr.search.engine.remote import RemoteEngine, connect

    return RemoteEngine(connect(manifest.engine), manifest.collection, find_layout)


def repair_engine(folder: Path, manifest: Manifest, find_layout: Callable[[], Layout]) -> None:
    """Repair the videos that a killed writer left half written.

    Args:
        folder: folder of the library; it must be locked for writing.
        manifest: manifest of the library.
        find_layout: returns the vectors of a video; called only if there is something to repair.
    """
    if is_interrupted(folder, manifest):
        from dreamprvr.search.engine.edge import EdgeEngine

        engine = EdgeEngine(folder / ENGINE, find_layout)
        engine.repair()
        engine.close()


def is_interrupted(folder: Path, manifest: Manifest) -> bool:
    """Return whether a writer of a library was killed, so that `repair_engine` is needed."""
    if manifest.engine != EDGE:
        return False
    from dreamprvr.search.engine.edge import EdgeEngine

    return EdgeEngine.is_interrupted(folder / ENGINE)
