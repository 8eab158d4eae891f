"""The page's own files, read once: no address is ever turned into a path."""

from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response

from dreamprvr.serve.replies import Refusal

_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


class Pages:
    """What lies in `static/`, by name."""

    def __init__(self) -> None:
        folder = files("dreamprvr.serve") / "static"
        self._contents = {
            entry.name: (entry.read_bytes(), _TYPES[entry.name.rpartition(".")[2]])
            for entry in folder.iterdir()
            if entry.name.rpartition(".")[2] in _TYPES
        }

    def get(self, name: str) -> Response:
        """The response of a file.

        Raises:
            Refusal: 404, there is no such name.
        """
        if name not in self._contents:
            raise Refusal(404, "there is nothing at this address")
        content, mime = self._contents[name]
        # an updated package must not meet an older page
        return Response(content, headers={"Cache-Control": "no-cache"}, media_type=mime)

    async def index(self, request: Request) -> Response:
        """The one page."""
        return self.get("index.html")

    async def file(self, request: Request) -> Response:
        """A style, a script or an image of the page."""
        return self.get(request.path_params["name"])
