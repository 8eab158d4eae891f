"""Opens the port and runs the web server."""

import asyncio
import logging
import os
import socket
import sys
import webbrowser
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from dreamprvr.core.errors import UserError
from dreamprvr.core.file_kinds import FOLDER, LIBRARY, refuse_other_kinds
from dreamprvr.search.address import announced, new_token
from dreamprvr.serve.app import create_app
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.security import LOCAL_HOSTS

if TYPE_CHECKING:  # it needs seconds to be imported
    from dreamprvr.search.library import Library


def serve(
    folder: Path, host: str, port: int, allowed_hosts: Sequence[str], cache: Path | None,
    device: str, open_browser: bool,
) -> None:  # fmt: skip
    """Serve a library until Ctrl-C.

    Args:
        folder: path of the library; it may be indexed just now.
        host: address to listen on.
        port: port to listen on; 0 takes any that is free.
        allowed_hosts: host names that the page answers to besides those of this machine itself.
        cache: folder for thumbnails, previews and clips; None for the user's cache folder.
        device: name of the device on which the encoder and the model run.
        open_browser: show the page in the browser.

    Raises:
        UserError: there is no library, it cannot be opened, or the port is taken.
    """
    keeper = Keeper(folder, lambda path: _open_library(path, device))
    if not any((folder / name).is_file() for name in ("library.json", "progress.json")):
        refuse_other_kinds(folder, "a library", FOLDER, LIBRARY)
        raise UserError(f"{folder} is no library; make one: lightning index FEATURES -o {folder}")
    with _listen(host, port) as listening:
        if keeper.indexing() is None and not keeper.try_open():
            raise UserError(keeper.message)
        name = f"[{host}]" if ":" in host else host
        address = f"http://{name}:{listening.getsockname()[1]}/"
        if host not in LOCAL_HOSTS:
            print(
                f"warning: every machine that reaches {host} can search this library and see its "
                "videos; there is no password",
                file=sys.stderr,
            )
        token = new_token()
        app = create_app(keeper, cache or default_cache(), allowed_hosts, token)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False,
            # a browser that pauses a video would otherwise be waited for
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
        if open_browser:
            webbrowser.open(address)
        at, port = listening.getsockname()[:2]
        with announced(folder, at, port, token):
            asyncio.run(_Server(config).serve([listening]))


class _Server(uvicorn.Server):
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End without a message or a traceback for every response that is cut short."""
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)


def default_cache() -> Path:
    """Return the folder of the user for files that can be made again."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "dreamprvr" / "page"


def _open_library(path: Path, device: str) -> "Library":
    from dreamprvr.search.library import Library

    library = Library.open(path, device=device, gives_way=True)
    try:
        library.prepare()
    except BaseException:
        library.close()
        raise
    return library


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen()  # before the address is printed: a browser that comes at once waits
    except (OSError, OverflowError) as error:
        listening.close()
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot listen on {host}:{port}: {reason}; give another --port") from None
    return listening
