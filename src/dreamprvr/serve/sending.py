"""Sends answers only while the client waits, and JSON only if it has changed."""

import asyncio
import hashlib
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_NOTICED = 4  # turns of the event loop until it knows that a client has hung up
_FILES = StaticFiles()  # compares the headers of a request with those of an answer


class Leaving:
    """ASGI middleware that cancels the work for a client that has left.

    What waits in a queue is never begun then, and leaves its place to others (`Workers`).

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request unless the client leaves."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        messages: asyncio.Queue[Message] = asyncio.Queue()
        work = asyncio.ensure_future(self._begin(scope, messages.get, send))
        has_left = False

        async def listen() -> None:
            nonlocal has_left
            while (message := await receive())["type"] != "http.disconnect":
                messages.put_nowait(message)
            messages.put_nowait(message)
            if not work.done():
                has_left = True
                work.cancel()

        listening = asyncio.create_task(listen())
        try:
            await work
        except asyncio.CancelledError:
            if not has_left:  # the server ends
                work.cancel()
                raise
        finally:
            listening.cancel()

    async def _begin(self, scope: Scope, receive: Receive, send: Send) -> None:
        for _ in range(_NOTICED):  # so that nothing is done for a client that has hung up already
            await asyncio.sleep(0)
        await self.app(scope, receive, send)


class Unchanged:
    """ASGI middleware that gives JSON an ETag, and sends it only if the client has another.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http" or scope["method"] != "GET":
            await self.app(scope, receive, send)
            return
        held: Message | None = None

        async def send_changed(message: Message) -> None:
            nonlocal held
            if message["type"] == "http.response.start":
                kind = Headers(raw=message["headers"]).get("content-type", "")
                if message["status"] == 200 and kind.startswith("application/json"):
                    held = message
                    return
            elif held is not None:
                start, held = held, None
                if not message.get("more_body"):  # all of it
                    headers = MutableHeaders(raw=start["headers"])
                    digest = hashlib.sha256(message["body"]).hexdigest()[:32]
                    headers["etag"] = f'"{digest}"'
                    if _FILES.is_not_modified(headers, Headers(scope=scope)):
                        await NotModifiedResponse(headers)(scope, receive, send)
                        return
                await send(start)
            await send(message)

        await self.app(scope, receive, send_changed)


def unless_held(response: Response, request_headers: Any) -> Response:
    """Return the answer, or only that it has not changed if the client has the same.

    Args:
        response: the answer, with an ETag.
        request_headers: headers of the request, with the ETag that the client has.
    """
    if _FILES.is_not_modified(response.headers, request_headers):
        return NotModifiedResponse(response.headers)
    return response
