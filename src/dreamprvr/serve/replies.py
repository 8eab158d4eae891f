"""Answers that are no success: one line of JSON."""

from collections.abc import Mapping

from starlette.responses import JSONResponse

from dreamprvr.core.text import one_line


class Refusal(Exception):
    """Ends a request with a status and one line for the reader.

    Args:
        status: HTTP status, 400 or above.
        line: what is wrong and what to do.
        headers: further headers, e.g. Retry-After.
    """

    def __init__(self, status: int, line: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(line)
        self.status = status
        self.line = one_line(" ".join(line.split()))  # a path need not be Unicode
        self.headers = dict(headers or {})


def busy(what: str) -> Refusal:
    """The refusal of a server that has enough to do."""
    return Refusal(503, f"too many {what} at once; try again in a second", {"Retry-After": "1"})


def closed_for_now() -> Refusal:
    """The refusal while another process writes the library; `/api/library` tells how far it is."""
    return Refusal(503, "the library is not open now; try again in a moment")


def refused(refusal: Refusal) -> JSONResponse:
    """The response of a refusal: `{"error": "..."}`."""
    return JSONResponse({"error": refusal.line}, refusal.status, refusal.headers)
