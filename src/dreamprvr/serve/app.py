"""The application: routes, static files, answers to errors, and a library that may be closed."""

import asyncio
import hashlib
import mimetypes
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, Response
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from dreamprvr.core.errors import UserError
from dreamprvr.search.address import ANSWER
from dreamprvr.serve import pictures
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import NotPlayable
from dreamprvr.serve.joining import joined
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.media import Media
from dreamprvr.serve.routes import Routes
from dreamprvr.serve.schema import Problem
from dreamprvr.serve.security import LOCAL_HOSTS, Guard, problem
from dreamprvr.serve.sending import Leaving, Unchanged, unless_held

_STATIC = Path(__file__).with_name("static")
_CACHE_BYTES = 2 * 1024**3
_PACKED = 500  # bytes of the smallest answer that is compressed
_RETRY = 1.0  # seconds between looks at whether the library can be opened, or is newer

mimetypes.add_type("text/javascript", ".js")  # systems may have another type, which no browser runs


def create_app(
    keeper: Keeper,
    cache_folder: Path,
    allowed_hosts: Iterable[str] = (),
    token: str | None = None,
    search_token: str = "",
) -> Guard:
    """Build the page as an ASGI application.

    Args:
        keeper: keeps the library, which is opened here when it is free.
        cache_folder: folder for stills, pieces and clips, at most 2 GB of them.
        allowed_hosts: host names that the page answers to besides those of this machine itself.
        token: what a client must know to see the library; None if everybody may.
        search_token: what `lightning search` sends to be answered; "" answers it never.
    """
    routes = Routes(keeper, Media(CacheFolder(cache_folder, _CACHE_BYTES)), search_token)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opening = asyncio.create_task(_keep_open(routes))
        yield
        opening.cancel()
        with suppress(asyncio.CancelledError):
            await opening
        await routes.close()

    app = FastAPI(
        title="DreamPRVR", lifespan=lifespan, redirect_slashes=False,
        # FastAPI's own pages load scripts from elsewhere; /docs is ours
        docs_url=None, redoc_url=None,
        responses={"4XX": {"model": Problem}, "5XX": {"model": Problem}},
    )  # fmt: skip
    for kind, answer in _ERRORS.items():
        app.add_exception_handler(kind, answer)
    routes.add_to(app)
    for path in ("/", "/docs"):
        app.add_route(path, _page, methods=["GET"])
    app.add_route("/static/{name}.js", _script, methods=["GET"])
    app.mount("/static", StaticFiles(directory=_STATIC))
    sent = GZipMiddleware(Unchanged(app), minimum_size=_PACKED, compresslevel=6)
    # around everything, so that the answer to a bug carries the headers as well
    hosts = (*LOCAL_HOSTS, *allowed_hosts)
    bodies = {"/api/search": pictures.LARGEST}
    return Guard(Leaving(sent), hosts, ("/", "/docs", "/static/", ANSWER), token, bodies)


async def _page(request: Request) -> Response:
    path = _STATIC / ("docs.html" if request.url.path == "/docs" else "index.html")
    return unless_held(FileResponse(path, stat_result=path.stat()), request.headers)


async def _script(request: Request) -> Response:
    """Return a script of the page with all that it imports."""
    name = request.path_params["name"]
    if not name.isidentifier() or not (_STATIC / f"{name}.js").is_file():
        raise HTTPException(404)
    content = joined(_STATIC, name)
    headers = {"ETag": f'"{hashlib.sha256(content.encode()).hexdigest()[:32]}"'}
    response = Response(content, headers=headers, media_type="text/javascript")
    return unless_held(response, request.headers)


async def _keep_open(routes: Routes) -> None:
    """Open the library, and keep it as new as what other processes have finished."""
    try:
        while True:
            with suppress(HTTPException):  # too much waits; it ends
                await routes.renewals.run(routes.keeper.look)
                await routes.searches.run(routes.keeper.tend)
            routes.media.passes.close_idle()
            await asyncio.sleep(_RETRY)
    except Exception as error:  # a bug: the page says so, the terminal says more
        routes.keeper.message = f"{type(error).__name__}: {error}"
        raise


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    line = error.detail
    if line == "Not Found":  # Starlette's own
        line = "there is nothing at this address"
    return problem(error.status_code, line, error.headers)


async def _on_bad_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"][1:])
    return problem(400, f"{name}: {first['msg']}" if name else first["msg"])


async def _on_not_playable(request: Request, error: Exception) -> Response:
    return problem(415, str(error))


async def _on_user_error(request: Request, error: Exception) -> Response:
    return problem(400, str(error))


async def _on_bug(request: Request, error: Exception) -> Response:
    return problem(500, "the server met an error of its own; its terminal says which")


_ERRORS = {
    HTTPException: _on_http_error,
    RequestValidationError: _on_bad_parameter,
    NotPlayable: _on_not_playable,
    UserError: _on_user_error,
    Exception: _on_bug,
}
