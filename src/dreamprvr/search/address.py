"""The address that the page's server leaves in its library, so that `lightning search` can ask it.

To import torch and to load an encoder takes seconds, and a server has done so already. The note
`.server` holds the server's address on this machine and a token, and is locked for as long as the
server runs. So a note that a killed server has left is harmless: it is not locked. A note counts
only if this user alone may read it and this machine wrote it, and it can lead to no other machine.
"""

import json
import os
import platform
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import open_regular
from dreamprvr.core.locks import open_lock, take

NOTE = ".server"
ANSWER = "/api/answer"  # path of the route that answers `lightning search`
PATIENCE = 60.0  # seconds to wait for an answer
_LOOPBACK = {"127.0.0.1": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::1": "::1", "::": "::1"}
_PAUSE = 0.5  # seconds between looks at whether another server has ended
_LONGEST = 1000  # bytes of a note


@contextmanager
def announced(folder: Path, host: str, port: int, token: str) -> Iterator[None]:
    """Leave a note of a server's address in a library while a block runs.

    There is no note if the server cannot be reached from this machine, or if the folder cannot be
    written or knows no locks. If another server has left one, this one's follows when that ends.

    Args:
        folder: folder of the library.
        host: address on which the server listens, in numbers.
        port: its port.
        token: what a client must send to be answered.
    """
    descriptor = None
    if host in _LOOPBACK and hasattr(os, "getuid"):
        with suppress(OSError, UserError):
            descriptor = open_lock(folder, NOTE)
    if descriptor is None:
        yield
        return
    content = {"host": _LOOPBACK[host], "port": port, "token": token, "machine": platform.node()}
    note, stop = json.dumps(content), threading.Event()
    waiting = None
    if not _write_note(descriptor, note):
        waiting = threading.Thread(target=_write_later, args=(descriptor, note, stop))
        waiting.start()
    try:
        yield
    finally:
        stop.set()
        if waiting is not None:
            waiting.join()
        if take(descriptor, exclusive=True):  # the note is ours
            os.truncate(descriptor, 0)  # the file stays: another server may wait for its lock
        os.close(descriptor)


def _write_note(descriptor: int, note: str) -> bool:
    """Write a note unless another server holds the file; return whether it is written."""
    if not take(descriptor, exclusive=True):
        return False
    os.fchmod(descriptor, 0o600)
    os.truncate(descriptor, 0)
    os.pwrite(descriptor, note.encode(), 0)
    return True


def _write_later(descriptor: int, note: str, stop: threading.Event) -> None:
    while not stop.wait(_PAUSE) and not _write_note(descriptor, note):
        pass


def _read_note(folder: Path) -> dict[str, Any] | None:
    """Read the note of a server that runs now, or return None."""
    try:
        descriptor = open_regular(folder / NOTE)
    except (OSError, UserError):
        return None
    try:
        status = os.fstat(descriptor)
        if not hasattr(os, "getuid") or status.st_uid != os.getuid() or status.st_mode & 0o077:
            return None
        if take(descriptor, exclusive=False):  # no server holds it
            return None
        note = json.loads(os.pread(descriptor, _LONGEST, 0))
        known = note["host"] in _LOOPBACK.values() and note["machine"] == platform.node()
        if known and 0 < int(note["port"]) < 65536 and str(note["token"]).isalnum():
            return {"host": note["host"], "port": int(note["port"]), "token": str(note["token"])}
    except (OSError, ValueError, TypeError, KeyError):
        pass
    finally:
        os.close(descriptor)
    return None


def ask_server(folder: Path, call: Mapping[str, Any]) -> str | None:
    """Let the server that has a library open answer a search.

    Args:
        folder: folder of the library.
        call: the options of `lightning search`, by name.

    Returns:
        What the command prints; None if no server runs, or if it cannot answer now.

    Raises:
        UserError: the server has found a mistake in the options.
    """
    note = _read_note(folder)
    if note is None:
        return None
    import http.client  # only where there is a server to ask

    connection = http.client.HTTPConnection(note["host"], note["port"], timeout=PATIENCE)
    try:
        address = f"{ANSWER}?call={quote(json.dumps(dict(call)), safe='')}"
        connection.request("GET", address, headers={"Authorization": f"Bearer {note['token']}"})
        answer = connection.getresponse()
        body = answer.read().decode()
        if answer.status == 400:
            raise UserError(str(json.loads(body)["error"]))
        return body if answer.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError, TypeError, KeyError):
        return None
    finally:
        connection.close()


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_hex(16)
