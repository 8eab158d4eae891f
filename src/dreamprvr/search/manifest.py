"""`library.json`: the facts that a library is opened by; checked, as it may be somebody else's."""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.file_kinds import FOLDER, LIBRARY, refuse_other_kinds
from dreamprvr.core.files import atomic_path, inside, refuse_links
from dreamprvr.core.text import load_json, quote
from dreamprvr.extraction.feature_file import ExtractionSettings

NAME, FORMAT, VERSION = "library.json", "dreamprvr-library", 1
EDGE = "edge"
# names of all else in the folder of a library
MODEL, ENGINE, ROWS, PROGRESS = "model.ckpt", "engine", "rows", "progress.json"
LOCK, HOLDERS, WANTED, WRITER = ".lock", ".holders", ".wanted", ".writer"
OURS = (MODEL, ENGINE, ROWS, PROGRESS, LOCK, HOLDERS, WANTED, WRITER)
_ADDRESS = re.compile(
    r"https?://(?:[\w-]{1,63}(?:\.[\w-]{1,63})*\.?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>\d{1,5}))?"
    r"(?:/[\w.~/-]*)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Manifest:
    """The facts that a library is opened by.

    Args:
        settings: settings of the features; the encoder's name finds the text side again.
        dim: D, numbers of a token in the engine.
        engine: "edge", or the URL of a Qdrant server.
        collection: name of the collection there; "" for the embedded engine.
        checkpoint: digest of the model; "" for search without training.
    """

    settings: ExtractionSettings
    dim: int
    engine: str
    collection: str
    checkpoint: str

    def write(self, folder: Path) -> None:
        """Write the folder's `library.json`."""
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        with atomic_path(folder / NAME) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def refuse_links_in(folder: Path) -> None:
    """Refuse a library in which a link leads elsewhere, before anything in it is opened.

    Files beside ours are not looked at. The engine changes its files in place, so these may have
    no second name either. A link among the files of `rows` is refused or passed over when it is
    met, since there may be very many.

    Args:
        folder: folder of a library, or where one is to be made; it may be a link itself.

    Raises:
        UserError: names the first link.
    """
    folders = (ENGINE, ROWS, HOLDERS)
    for name in (NAME, *OURS):
        inside(folder, name, kind="folder" if name in folders else "file")
    refuse_links(folder, ENGINE, hard=True)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a library.

    Raises:
        UserError: there is no library, a newer program made it, the file is damaged, or a link
            stands in the folder.
    """
    refuse_links_in(folder)
    path = folder / NAME
    if not path.is_file():
        refuse_other_kinds(folder, "a library", FOLDER, LIBRARY)
        raise UserError(f"{folder} is no library; make one: lightning index FEATURES -o {folder}")
    found = load_json(path)
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UserError(f"{path} does not describe a library; index into a new folder")
    if found.get("version") != VERSION:
        raise UserError(
            f"{path} has version {quote(found.get('version'))}, and this program reads version "
            f"{VERSION}: update it, or index into a new folder"
        )
    try:
        settings = _checked(found["settings"], ExtractionSettings.__annotations__)
        rest = _checked(found, {name: Manifest.__annotations__[name] for name in _PLAIN})
        manifest = Manifest(settings=ExtractionSettings(**settings), **rest)
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); index into a new folder") from None
    check_engine(manifest.engine, str(path))
    named = manifest.engine == EDGE or manifest.collection.strip()
    if manifest.dim < 1 or not named:
        raise UserError(f"{path} is damaged (dim or collection); index into a new folder")
    return manifest


_PLAIN = ("dim", "engine", "collection", "checkpoint")
_KINDS: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}


def _checked(found: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """Give the wanted entries; TypeError or KeyError if one is missing or of another type."""
    for name, kind in wanted.items():
        if not isinstance(found[name], _KINDS[kind]) or isinstance(found[name], bool):
            raise TypeError(f"{name} is {quote(found[name])}")
    return {name: found[name] for name in wanted}


def check_engine(engine: str, where: str) -> None:
    """Raise unless an engine is "edge" or the plain address of a Qdrant server.

    Args:
        engine: engine that the user, or a library, names.
        where: begins the message: "--engine", or the file that names it.

    Raises:
        UserError: it is something else. A name or password in it is not printed.
    """
    if engine == EDGE:
        return
    if "@" in engine:
        raise UserError(
            f"{where}: the engine's address has a name or password: leave it out, and put the "
            "server's key into QDRANT_API_KEY"
        )
    found = _ADDRESS.fullmatch(engine)
    if found is None or len(engine) > 300 or not 1 <= int(found["port"] or 1) <= 65535:
        raise UserError(
            f"{where}: engine {quote(engine)} is neither edge nor the address of a Qdrant server, "
            "say http://localhost:6333"
        )
