"""Opens the port and runs the web server."""

import asyncio
import ipaddress
import logging
import os
import secrets
import socket
import sys
import tempfile
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
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

_EVERYWHERE = ("0.0.0.0", "::")  # stand for all addresses of this machine


def serve(
    folder: Path, host: str, port: int, allowed_hosts: Sequence[str], cache: Path | None,
    device: str, open_browser: bool, token: str | None = None,
) -> None:  # fmt: skip
    """Serve a library until Ctrl-C.

    Args:
        folder: path of the library; it may be indexed just now.
        host: address to listen on; 0.0.0.0 and :: are all addresses of this machine.
        port: port to listen on; 0 takes any that is free.
        allowed_hosts: host names that the page answers to besides those of this machine itself.
        cache: folder for thumbnails, pieces and clips; None for the user's cache folder.
        device: name of the device on which the encoder and the model run.
        open_browser: show the page in the browser.
        token: what a browser must know to see the library; "" if everybody may see it. None makes
            one up if other people can reach the port.

    Raises:
        UserError: there is no library, it cannot be opened, or the port is taken.
    """
    keeper = Keeper(folder, lambda path: _open_library(path, device))
    if not any((folder / name).is_file() for name in ("library.json", "progress.json")):
        refuse_other_kinds(folder, "a library", FOLDER, LIBRARY)
        raise UserError(f"{folder} is no library; make one: lightning index FEATURES -o {folder}")
    if token is None:
        is_reached = not _is_loopback(host) or others_have_accounts()
        token = secrets.token_urlsafe(24) if is_reached else ""
    names = own_names() if host in _EVERYWHERE else [host]
    with _listen(host, port) as listening:
        if keeper.indexing() is None and not keeper.try_open():
            raise UserError(keeper.message)
        shown = (allowed_hosts or names)[0]
        name = f"[{shown}]" if ":" in shown else shown
        address = f"http://{name}:{listening.getsockname()[1]}/"
        if not token and not _is_loopback(host):
            print(
                f"warning: every machine that reaches {host} can search this library and see its "
                "videos; leave out --no_token to ask for a token",
                file=sys.stderr,
            )
        store = cache or default_cache()
        search_token = new_token()
        app = create_app(keeper, store, (*names, *allowed_hosts), token or None, search_token)
        config = uvicorn.Config(
            app, log_level="warning", access_log=False, server_header=False,
            # a browser that pauses a video would otherwise be waited for
            timeout_graceful_shutdown=1,
        )  # fmt: skip
        address += f"?token={token}" if token else ""
        print(f"the page is at {address} (Ctrl-C ends it)", flush=True)
        at, port = listening.getsockname()[:2]
        with (
            _opened(address, store) if open_browser else nullcontext(),
            announced(folder, at, port, search_token),
        ):
            asyncio.run(_Server(config).serve([listening]))


@contextmanager
def _opened(address: str, folder: Path) -> Iterator[None]:
    """Show an address in the browser.

    A token in it is written to a file of this user, as all users of a machine see the command
    line by which the browser is opened.
    """
    if "token=" not in address:
        webbrowser.open(address)
        yield
        return
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", suffix=".html", dir=folder) as page:  # mode 0600
        page.write(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}">')
        page.flush()
        webbrowser.open(Path(page.name).as_uri())
        yield


def _is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address to listen on."""
    try:
        return host in LOCAL_HOSTS or ipaddress.ip_address(host).is_loopback
    except ValueError:  # another name
        return False


def own_names() -> list[str]:
    """List the addresses and names of this machine, first the one by which others reach it."""
    found: list[str] = []
    for family, far in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        # sends nothing, but chooses the address for what would be sent
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as route:
            route.connect((far, 9))
            found.append(route.getsockname()[0])
    name = socket.gethostname()
    with suppress(OSError):
        found += [str(info[4][0]) for info in socket.getaddrinfo(name, None)]
    plain = [address for address in found if "%" not in address]
    outer = [address for address in plain if not _is_loopback(address)]
    return list(dict.fromkeys([*outer, *LOCAL_HOSTS, *plain, name, f"{name}.local"]))


def others_have_accounts() -> bool:
    """Return whether another person has an account on this machine, by its list of users."""
    if sys.platform == "win32":
        return False
    import pwd

    first = 500 if sys.platform == "darwin" else 1000  # numbers below are of the system
    return any(
        user.pw_uid >= first
        and user.pw_uid != os.getuid()
        and Path(user.pw_shell).name not in ("nologin", "false")
        for user in pwd.getpwall()
    )


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

    return Library.open(path, device=device)


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
