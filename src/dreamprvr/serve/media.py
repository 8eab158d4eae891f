"""A file over HTTP, whole or in parts."""

import os
import stat
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import BinaryIO

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from dreamprvr.serve.replies import Refusal

_CHUNK = 256 * 1024


def byte_range(header: str, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header.

    Args:
        header: as it came; one that is malformed, of another unit or of several ranges is
            ignored, as RFC 9110 allows.
        size: of the file, in bytes.

    Returns:
        None if the whole file is to be sent.

    Raises:
        Refusal: 416, the range lies outside the file.
    """
    unit, _, span = header.strip().partition("=")
    first, dash, last = (part.strip() for part in span.partition("-"))
    digits = all(not word or (word.isascii() and word.isdigit()) for word in (first, last))
    if (
        unit.strip().lower() != "bytes"
        or not dash
        or not digits
        or not (first or last)
        or len(span) > 40
    ):
        return None
    if not first:  # the last so many bytes
        start, end = max(size - int(last), 0), size - 1
    else:
        start, end = int(first), min(int(last) if last else size - 1, size - 1)
        if last and int(last) < int(first):
            return None
    if start >= size or start > end:
        outside = {"Content-Range": f"bytes */{size}"}
        raise Refusal(416, f"the file has {size} bytes; the range lies outside", outside)
    return start, end


def file_response(
    request: Request, path: Path, mime: str, headers: dict[str, str] | None = None
) -> Response:
    """The file, or the part that the request asks for.

    Args:
        request: its Range and If-Range are honoured.
        path: a plain file; no client has chosen it.
        mime: its type.
        headers: further headers.

    Raises:
        Refusal: 404, it cannot be opened; 416.
    """
    file = _open(path)
    status = os.fstat(file.fileno())
    size, tag = status.st_size, f'"{status.st_mtime_ns:x}-{status.st_size:x}"'
    answer = {
        "Accept-Ranges": "bytes", "ETag": tag, "Cache-Control": "private, no-cache",
        "Last-Modified": formatdate(status.st_mtime, usegmt=True), **(headers or {}),
    }  # fmt: skip
    try:
        span = None
        if request.headers.get("if-range", tag) == tag:  # of another version: send it all
            span = byte_range(request.headers.get("range", ""), size)
    except Refusal:
        file.close()
        raise
    code, start, end = (206, *span) if span else (200, 0, size - 1)
    if span:
        answer["Content-Range"] = f"bytes {start}-{end}/{size}"
    answer["Content-Length"] = str(end - start + 1)
    if request.method == "HEAD":
        file.close()
        return Response(None, code, answer, mime)
    return _FilePart(file, start, end - start + 1, code, answer, mime)


class _FilePart(StreamingResponse):
    """Some bytes of an open file, which is closed in every case."""

    def __init__(
        self, file: BinaryIO, start: int, length: int, code: int, headers: dict[str, str], mime: str
    ) -> None:
        super().__init__(_pieces(file, start, length), code, headers, mime)
        self.file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; a browser that seeks hangs up in the middle, or before the first byte."""
        with self.file:
            await super().__call__(scope, receive, send)


def _open(path: Path) -> BinaryIO:
    try:
        # without O_NONBLOCK a pipe that took the file's place would be waited for
        number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except (OSError, ValueError):
        raise Refusal(404, f"the video file {path.name} cannot be opened") from None
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise Refusal(404, f"{path.name} is no plain file")
    return os.fdopen(number, "rb")


def _pieces(file: BinaryIO, start: int, length: int) -> Iterator[bytes]:
    file.seek(start)
    while length > 0:
        piece = file.read(min(_CHUNK, length))
        if not piece:  # the file became shorter; the client sees the connection close early
            return
        length -= len(piece)
        yield piece
