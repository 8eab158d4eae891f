"""`library.json`, the file that describes a library; it is checked, as it may come from others."""

import json
import os
import re
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dreamprvr.core.errors import UserError
from dreamprvr.core.file_kinds import FOLDER, LIBRARY, refuse_other_kinds
from dreamprvr.core.files import atomic_path, inside, refuse_links, sync
from dreamprvr.core.text import load_json, quote
from dreamprvr.extraction.feature_file import ExtractionSettings
from dreamprvr.search.address import NOTE

NAME, FORMAT, VERSION = "library.json", "dreamprvr-library", 1
EDGE = "edge"
# names of the other files and folders in the folder of a library
MODEL, ENGINE, ROWS, PROGRESS = "model.ckpt", "engine", "rows", "progress.json"
BACKGROUND, SPOKEN, WRITER = "background.json", "spoken.sqlite", ".writer"
COPY = ".engine.partial"  # a copy of an engine that is not complete
OURS = (MODEL, ROWS, PROGRESS, BACKGROUND, SPOKEN, WRITER, COPY, NOTE)
_ENGINES = re.compile(rf"{ENGINE}(?:-([1-9]\d{{0,8}}))?")
_ADDRESS = re.compile(
    r"https?://(?:[\w-]{1,63}(?:\.[\w-]{1,63})*\.?|\[[0-9a-f:.]{2,45}\])(?::(?P<port>\d{1,5}))?"
    r"(?:/[\w.~/-]*)?",
    re.ASCII,
)


@dataclass(frozen=True)
class Manifest:
    """The facts that are needed to open a library.

    Args:
        settings: settings of the features; queries are encoded by the encoder named there.
        dim: D, numbers of a token in the engine.
        engine: "edge", or the URL of a Qdrant server.
        collection: name of the collection on the server; "" for the embedded engine.
        checkpoint: digest of the model; "" for search without training.
        moment_tokens: True if untrained search has moment tokens in place of the rows.
        state: number of the finished state that is searched; each write makes the next one.
        videos_of: number of the state since which vectors and ids of videos are the same.
    """

    settings: ExtractionSettings
    dim: int
    engine: str
    collection: str
    checkpoint: str
    moment_tokens: bool = False
    state: int = 0
    videos_of: int = 0

    def write(self, folder: Path) -> None:
        """Write `library.json`, and wait until it is on the disk.

        Args:
            folder: folder of the library.
        """
        content = {"format": FORMAT, "version": VERSION, **asdict(self)}
        with atomic_path(folder / NAME) as partial:
            partial.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
            sync(partial)
        sync(folder)

    def engine_in(self, folder: Path) -> Path:
        """Return the folder of the embedded engine.

        Args:
            folder: folder of the library.
        """
        return folder / (f"{ENGINE}-{self.state}" if self.state else ENGINE)

    def next(self) -> "Manifest":
        """Return the manifest of the next state, with the same videos."""
        return replace(self, state=self.state + 1)

    def same_model(self, other: "Manifest") -> bool:
        """Return whether two manifests are of the same encoder, model and engine."""
        return self == replace(other, state=self.state, videos_of=self.videos_of)


def engines_in(folder: Path) -> dict[str, int]:
    """List the folders of embedded engines in a library, with the numbers of their states.

    Args:
        folder: folder of a library or of one to be made.
    """
    with suppress(OSError):
        matches = [_ENGINES.fullmatch(name) for name in sorted(os.listdir(folder))]
        return {match[0]: int(match[1] or 0) for match in matches if match}
    return {}


def refuse_links_in(folder: Path) -> None:
    """Refuse a library that holds links, before anything in it is opened.

    Only files of a library are checked, not other files beside them. The engine changes its files
    in place, so hard links among them are refused too. The files of `rows` may be very many; a
    link among them is refused or skipped when it is met.

    Args:
        folder: folder of a library or of one to be made; the folder itself may be a link.

    Raises:
        UserError: there is a link; the message names the first one.
    """
    engines = tuple(engines_in(folder))
    for name in (NAME, *OURS, *engines):
        inside(folder, name, kind="folder" if name in (ROWS, COPY, *engines) else "file")
    refuse_links(folder, *engines, hard=True)


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of a library.

    Args:
        folder: folder of the library.

    Raises:
        UserError: there is no library, a newer program made it, the file is damaged, or a link
            stands in the folder.
    """
    refuse_links_in(folder)
    path = folder / NAME
    if not path.is_file():
        refuse_other_kinds(folder, "a library", FOLDER, LIBRARY)
        raise UserError(f"{folder} is no library; make one: lightning index FEATURES -o {folder}")
    content = load_json(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path} does not describe a library; index into a new folder")
    if content.get("version") != VERSION:
        raise UserError(
            f"{path} has version {quote(content.get('version'))}, and this program reads version "
            f"{VERSION}: update it, or index into a new folder"
        )
    try:
        settings = _checked(content["settings"], ExtractionSettings.__annotations__)
        plain_values = _checked(content, {name: Manifest.__annotations__[name] for name in _PLAIN})
        moment_tokens = content.get("moment_tokens", False)
        if not isinstance(moment_tokens, bool):
            raise TypeError(f"moment_tokens is {quote(moment_tokens)}")
        state, videos_of = (content.get(name, 0) for name in ("state", "videos_of"))
        if not all(type(value) is int and 0 <= value < 10**9 for value in (state, videos_of)):
            raise TypeError(f"state is {quote(state)}, videos_of {quote(videos_of)}")
        manifest = Manifest(
            settings=ExtractionSettings(**settings), **plain_values, moment_tokens=moment_tokens,
            state=state, videos_of=videos_of,
        )  # fmt: skip
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error}); index into a new folder") from None
    check_engine(manifest.engine, str(path))
    has_collection = manifest.engine == EDGE or manifest.collection.strip()
    if manifest.dim < 1 or not has_collection:
        raise UserError(f"{path} is damaged (dim or collection); index into a new folder")
    return manifest


_PLAIN = ("dim", "engine", "collection", "checkpoint")
_KINDS: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}


def _checked(entries: Any, types: dict[str, Any]) -> dict[str, Any]:
    """Return the entries of an object that are named in `types`.

    Args:
        entries: object read from JSON.
        types: type of each entry, by name.

    Raises:
        KeyError: an entry is missing.
        TypeError: an entry has another type.
    """
    for name, kind in types.items():
        if not isinstance(entries[name], _KINDS[kind]) or isinstance(entries[name], bool):
            raise TypeError(f"{name} is {quote(entries[name])}")
    return {name: entries[name] for name in types}


def check_engine(engine: str, where: str) -> None:
    """Raise unless an engine is "edge" or the plain address of a Qdrant server.

    Args:
        engine: engine that the user, or a library, names.
        where: start of the error message: "--engine", or the file that names the engine.

    Raises:
        UserError: it is something else. The message never shows a user name or a password.
    """
    if engine == EDGE:
        return
    if "@" in engine:
        raise UserError(
            f"{where}: the engine's address has a name or password: leave it out, and put the "
            "server's key into QDRANT_API_KEY"
        )
    address = _ADDRESS.fullmatch(engine)
    if address is None or len(engine) > 300 or not 1 <= int(address["port"] or 1) <= 65535:
        raise UserError(
            f"{where}: engine {quote(engine)} is neither edge nor the address of a Qdrant server, "
            "say http://localhost:6333"
        )
