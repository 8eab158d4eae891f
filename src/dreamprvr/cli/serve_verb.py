"""serve: the page of a library."""

from pathlib import Path

from dreamprvr.cli.verb_parser import VerbParser
from dreamprvr.core.errors import UserError

_LOCAL = ("127.0.0.1", "localhost", "::1")


def serve_library(arguments: list[str]) -> int:
    """Show a library in a browser until Ctrl-C."""
    options = _parser().only(arguments)
    if options.host not in _LOCAL and not options.allowed_host:
        raise UserError(
            f"--host {options.host} opens the page to other machines: say with --allowed_host "
            "NAME under which name they address this one"
        )
    if not 0 <= options.port <= 65535:
        raise UserError(f"--port {options.port} is no port; they go from 0 to 65535")
    try:
        from dreamprvr.serve.server import serve
    except ImportError as error:
        raise UserError(f"the page needs {error.name}: pip install 'dreamprvr[search]'") from None
    try:
        serve(
            options.library, options.host, options.port, options.allowed_host, options.cache,
            options.device, options.open,
        )  # fmt: skip
    except KeyboardInterrupt:  # the way to end it
        print()
    return 0


def _parser() -> VerbParser:
    parser = VerbParser("serve", "Search a library in a browser.", configured=False)
    parser.add_argument("library", type=Path, help="Folder that `lightning index` wrote.")
    parser.add_argument("--port", type=int, default=8000, help="Port [8000]; 0 takes a free one.")
    parser.add_argument(
        "--host", default="127.0.0.1",
        help="Address to listen on [127.0.0.1]: others than this machine's own let others in.",
    )  # fmt: skip
    parser.add_argument(
        "--allowed_host", action="append", default=[], metavar="NAME",
        help="Host name or address that browsers may use for this machine; may be repeated.",
    )  # fmt: skip
    parser.add_argument("--open", action="store_true", help="Show the page in the browser.")
    parser.add_argument(
        "--cache", type=Path, metavar="DIR",
        help="For thumbnails, previews and clips, at most 2 GB [the user's cache folder].",
    )  # fmt: skip
    parser.add_argument("--device", default="auto", help="cpu, cuda, ... [auto].")
    return parser
