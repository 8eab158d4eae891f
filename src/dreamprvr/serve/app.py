"""The routes of the page: the library, searches, and downloads of their results."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from dreamprvr.core.errors import UserError
from dreamprvr.search.results import SearchResult
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.exports import results_csv, results_zip
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.pages import Pages
from dreamprvr.serve.queries import read_request
from dreamprvr.serve.replies import Refusal, closed_for_now, refused
from dreamprvr.serve.security import LOCAL_HOSTS, Guard
from dreamprvr.serve.video_routes import VideoRoutes
from dreamprvr.serve.wire import result_json
from dreamprvr.serve.workers import Workers

WAITING_SEARCHES = 256
_RETRY = 1.0  # seconds between looks at whether the library is wanted, or free
_SHOWN_VALUES = 200  # of a column; one with more is no use as a list to choose from


class Page:
    """The state behind the routes.

    Args:
        keeper: of the library.
        cache: for thumbnails, previews and clips.
    """

    def __init__(self, keeper: Keeper, cache: CacheFolder) -> None:
        self.keeper = keeper
        self.searches = Workers("searches", threads=1, waiting=WAITING_SEARCHES)
        self.videos = VideoRoutes(keeper, cache, self.searches)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Keep the library open while nobody writes it, and let go of it at the end."""
        opening = asyncio.create_task(self._keep_open())
        yield
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
        self.videos.close()
        await self.searches.run(self.keeper.close)
        self.searches.close()

    async def _keep_open(self) -> None:
        try:
            while True:
                with suppress(Refusal):  # too many searches wait; they end
                    await self.searches.run(self.keeper.tend)
                await asyncio.sleep(_RETRY)
        except Exception as error:  # a bug: the page says so, the terminal says more
            self.keeper.message = f"{type(error).__name__}: {error}"
            raise

    async def library(self) -> Response:
        """What there is to search, or why there is nothing yet."""
        keeper = self.keeper
        answer: dict[str, Any] = {"name": keeper.folder.resolve().name}
        if keeper.contents is not None:
            columns = [
                {"name": name, "values": [str(value) for value in values]}
                for name, values in keeper.contents.columns.items()
                if name != "title" and 0 < len(values) <= _SHOWN_VALUES
            ]
            answer |= {
                "state": "ready", "videos": keeper.contents.videos,
                "seconds": keeper.contents.seconds, "columns": columns,
            }  # fmt: skip
        elif (progress := keeper.progress()) is not None:
            answer |= {
                "state": "indexing", "done": progress.done, "total": progress.total,
                "video": progress.video,
            }  # fmt: skip
        else:
            answer |= {"state": "opening", "message": keeper.message}
        return JSONResponse(answer, headers={"Cache-Control": "no-store"})

    async def search(self, request: Request) -> Response:
        """The best videos for a sentence, each with its moments and its curve."""
        result = await self.answer(request)
        return JSONResponse(result_json(result), headers={"Cache-Control": "no-store"})

    async def csv(self, request: Request) -> Response:
        """The same as a table."""
        result = await self.answer(request)
        return _download(results_csv(result), "text/csv; charset=utf-8", "moments.csv")

    async def vtt(self, request: Request) -> Response:
        """The same as a WebVTT file a video, in an archive."""
        result = await self.answer(request)
        return _download(results_zip(result), "application/zip", "moments-vtt.zip")

    async def answer(self, request: Request) -> SearchResult:
        """Run a search.

        Raises:
            Refusal: 400 or 413, the request is wrong; 503, not yet, or too many at once.
        """
        contents = self.keeper.contents
        if contents is None:
            raise closed_for_now()
        wanted = read_request(request.query_params, contents.columns)
        return await self.searches.run(self.keeper.search, wanted)


def create_app(
    keeper: Keeper,
    cache_folder: Path,
    cache_bytes: int = 2 * 1024**3,
    allowed_hosts: Iterable[str] = (),
) -> Guard:
    """The page as an ASGI application.

    Args:
        keeper: of the library; opened here when it is free.
        cache_folder: for thumbnails, previews and clips.
        cache_bytes: that they may take.
        allowed_hosts: names, besides those of this machine itself, that the page answers to.
    """  # fmt: skip
    page = Page(keeper, CacheFolder(cache_folder, cache_bytes))
    pages = Pages()
    # the documentation routes load scripts from elsewhere
    app = FastAPI(
        lifespan=page.lifespan, docs_url=None, redoc_url=None, openapi_url=None,
        redirect_slashes=False,
    )  # fmt: skip
    app.add_exception_handler(Refusal, _on_refusal)
    app.add_exception_handler(UserError, _on_user_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_bug)
    app.add_route("/", pages.index, methods=["GET"])
    app.add_route("/static/{name}", pages.file, methods=["GET"])
    app.add_api_route("/api/library", page.library)
    app.add_api_route("/api/search", page.search)
    app.add_api_route("/api/export.csv", page.csv)
    app.add_api_route("/api/export.vtt.zip", page.vtt)
    page.videos.add_to(app)
    # around everything, so that the answer to a bug carries the headers as well
    return Guard(app, (*LOCAL_HOSTS, *allowed_hosts), open_paths=("/", "/static/"))


def _download(content: bytes, mime: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, headers=headers, media_type=mime)


async def _on_refusal(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return refused(error)


async def _on_user_error(request: Request, error: Exception) -> Response:
    return refused(Refusal(400, str(error)))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    line = "there is nothing at this address" if error.status_code == 404 else str(error.detail)
    return refused(Refusal(error.status_code, line, error.headers))


async def _on_bug(request: Request, error: Exception) -> Response:
    return refused(Refusal(500, "the server met an error of its own; its terminal says which"))
