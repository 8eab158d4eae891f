"""Refuse requests of other web sites to the page's server, and restrict its answers in browsers.

The server listens on this machine, but every web site that its user opens can send requests there:
by a name that the site points at 127.0.0.1 (so the Host is checked), or by an image, a form or a
script of its own (so Origin and Sec-Fetch-Site are). Pages themselves may be linked to.

Where other people can send requests as well, a token is asked for. It comes once in the address of
the page, and then in a cookie. The page's own files need none, as they hold nothing of the library.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from urllib.parse import parse_qsl, urlencode, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")
MAX_URL = 16_384  # bytes of path and query together
MAX_BODY = 1024  # bytes of a request to a route that reads no body
_LINE_ENDS = re.compile(r"\s*[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]\s*")
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Frame-Options": "DENY",
}


def problem(status: int, line: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """Return the answer to a request that failed: `{"error": "one line"}`.

    Args:
        status: HTTP status, 400 or above.
        line: what is wrong and what to do; line ends in it become spaces. Names in it stay as they
            are, except for bytes that are no Unicode.
        headers: further headers, such as Retry-After.
    """
    plain = _LINE_ENDS.sub(" ", line).encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": plain}, status, headers)


class Guard:
    """ASGI middleware that refuses foreign requests, and completes the headers of every answer.

    An answer that says nothing about being cached is asked for again each time: what has an ETag
    may be kept for that, so that an updated package never meets an older page, all else may not.

    Args:
        app: the application that is guarded.
        hosts: names, without ports, under which the server may be addressed.
        open_paths: paths of the pages, and their prefixes ending in "/"; other sites may link
            there, and no token is needed.
        token: what a client must know; None if everybody may ask.
        bodies: most bytes that a POST to a path may bring, where that is more than `MAX_BODY`.
    """

    def __init__(
        self, app: ASGIApp, hosts: Iterable[str], open_paths: Iterable[str],
        token: str | None = None, bodies: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)
        self.open_paths = tuple(open_paths)
        self.token = token
        self.bodies = bodies or {}
        # browsers send the cookies of all servers of a machine to each of them
        digest = hashlib.sha256((token or "").encode()).hexdigest()
        self.cookie = f"dreamprvr-{digest[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; what is not HTTP is dropped."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":  # no route is a websocket
            await send({"type": "websocket.close", "code": 1008})
            return
        plain: Message | None = None

        async def send_guarded(message: Message) -> None:
            nonlocal plain
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                # Starlette refuses ranges of files in plain text, or without a word
                if message["status"] >= 400 and headers.get("content-type", "").startswith(
                    "text/plain"
                ):
                    plain = message
                    return
                headers.update(HEADERS)
                headers.setdefault(
                    "Cache-Control", "private, no-cache" if "etag" in headers else "no-store"
                )
            elif plain is not None:
                start, plain = plain, None
                ranges = {k.decode(): v.decode() for k, v in start["headers"] if b"range" in k}
                line = message["body"].decode() or "the range lies outside the file"
                await problem(start["status"], line, ranges)(scope, receive, send_guarded)
                return
            await send(message)

        refusal = self._check(scope)
        app = self.app if refusal is None else refusal
        await app(scope, receive, send_guarded)

    def _check(self, scope: Scope) -> Response | None:
        """Return the answer to a request that may not pass, else None."""
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or host_name(host) not in self.hosts:
            line = "this server does not answer to that host name; start it with --allowed_host"
            return problem(400, line)
        if len(scope.get("raw_path") or b"") + len(scope["query_string"]) > MAX_URL:
            return problem(413, f"the address is longer than {MAX_URL} bytes")
        most = self.bodies.get(scope["path"], MAX_BODY) if scope["method"] == "POST" else MAX_BODY
        length = headers.get("content-length", "0")
        too_long = not length.isdecimal() or int(length[:20]) > most
        if too_long or "transfer-encoding" in headers:
            return problem(413, f"a request may bring at most {most:,} bytes, and says how many")
        if not self._is_open(scope) and is_foreign(headers, host):
            return problem(403, "requests of other web sites are refused")
        return None if self.token is None else self._ask_token(scope, headers)

    def _ask_token(self, scope: Scope, headers: Headers) -> Response | None:
        """Refuse a request without the token; exchange a token in a page's address for a cookie."""
        words = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in words if name == "token"]
        if self._is_open(scope):
            if not given or scope["path"].startswith("/static/"):
                return None
            if not self._is_token(given[0]):
                return _no_token("the token in this address is not that of this server")
            rest = urlencode([(name, value) for name, value in words if name != "token"])
            answer = RedirectResponse(f"{scope['path']}{'?' if rest else ''}{rest}", 303)
            answer.set_cookie(self.cookie, given[0], httponly=True, samesite="strict")
            return answer
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given.append(bearer.strip())
        given += filter(None, [cookie_parser(headers.get("cookie", "")).get(self.cookie)])
        return (
            None if any(map(self._is_token, given)) else _no_token("this server asks for a token")
        )

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), (self.token or "").encode())

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        return scope["method"] in ("GET", "HEAD") and any(
            path.startswith(known) if known.endswith("/") and known != "/" else path == known
            for known in self.open_paths
        )


def _no_token(line: str) -> Response:
    return problem(
        401, f"{line}: open the address that lightning serve has printed",
        {"WWW-Authenticate": "Bearer"},
    )  # fmt: skip


def host_name(host: str) -> str:
    """Return the lower-case name in a Host header, without port and brackets; "" if malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises if it is no number
    except ValueError:
        return ""
    plain = parts.netloc == host and "@" not in host
    return (parts.hostname or "").lower() if plain else ""


def is_foreign(headers: Headers, host: str) -> bool:
    """Return whether a browser says that another site sent the request.

    Programs other than browsers say nothing, and pass.
    """
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return True
    origin = headers.get("origin")
    if origin is None:
        return False
    scheme, separator, netloc = origin.partition("://")
    return not (separator and scheme in ("http", "https") and netloc.lower() == host.lower())
