"""Who may talk to the page's server, and what a browser may do with its answers.

The server listens on this machine, but every web site that its user opens can send requests there:
by a name that the site points at 127.0.0.1 (so the Host is checked), or by an image, a form or a
script of its own (so Origin and Sec-Fetch-Site are). Pages themselves may be linked to.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dreamprvr.serve.replies import Refusal, refused

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
MAX_URL = 16_384  # bytes of path and query together
MAX_BODY = 1024  # bytes; no route reads a body
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


class Guard:
    """ASGI middleware: refuses foreign requests, and adds the security headers to every answer.

    Args:
        app: what is guarded.
        hosts: names, without ports, under which the server may be addressed.
        open_paths: paths of the pages, and their prefixes ending in "/"; other sites may link
            there.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str], open_paths: Iterable[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.open_paths = tuple(open_paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it with a refusal; other kinds of traffic are dropped."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no route is a websocket
            await send({"type": "websocket.close", "code": 1008})
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        refusal = self._check(scope)
        app = self.app if refusal is None else refused(refusal)
        await app(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> Refusal | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or host_name(host) not in self.hosts:
            line = "this server does not answer to that host name; start it with --allowed_host"
            return Refusal(400, line)
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL:
            return Refusal(413, f"the address is longer than {MAX_URL} bytes")
        length = headers.get("content-length", "0")
        too_long = not length.isdecimal() or int(length[:20]) > MAX_BODY
        if too_long or "transfer-encoding" in headers:
            return Refusal(413, f"a request may bring at most {MAX_BODY} bytes")
        if not self._is_open(scope) and is_foreign(headers, host):
            return Refusal(403, "requests of other web sites are refused")
        return None

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        return scope["method"] in ("GET", "HEAD") and any(
            path.startswith(known) if known.endswith("/") and known != "/" else path == known
            for known in self.open_paths
        )


def host_name(host: str) -> str:
    """The name in a Host header, lower case, without port and brackets; "" if it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises if it is no number
    except ValueError:
        return ""
    plain = parts.netloc == host and "@" not in host
    return (parts.hostname or "").lower() if plain else ""


def is_foreign(headers: Headers, host: str) -> bool:
    """Whether a browser says that another site sent the request; programs that say nothing pass."""
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    scheme, separator, netloc = origin.partition("://")
    return not (separator and scheme in ("http", "https") and netloc.lower() == host.lower())
