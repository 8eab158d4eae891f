"""The routes: the library, searches, downloads of their results, and the files of each video."""

import json
from collections.abc import Callable
from pathlib import Path
from secrets import compare_digest
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import FastAPI, Header, Query
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from dreamprvr.search.address import ANSWER
from dreamprvr.search.results import LibraryVideo, SearchResult
from dreamprvr.serve.containers import SourceFile, probe, source_file
from dreamprvr.serve.exports import clip_name, moments_vtt, results_csv, results_zip, safe_name
from dreamprvr.serve.keeper import Keeper, closed_for_now
from dreamprvr.serve.media import Media
from dreamprvr.serve.schema import (
    LAST_SECOND,
    LibraryAnswer,
    PreviewState,
    SearchAnswer,
    SearchQuery,
    Span,
    VideoWithPreview,
    search_answer,
    video_fields,
    video_id_of,
)
from dreamprvr.serve.workers import Workers

WAITING_SEARCHES = 256

Search = Annotated[SearchQuery, Query()]
Key = Annotated[str, InPath(description="key of the video, as a search gives it")]
Force = Annotated[bool, Query(description="also where the browser should play the video itself")]
_SECOND = Query(ge=0, lt=LAST_SECOND, description="second from the beginning of the video")


class Routes:
    """Answers requests; a key names a video of the library, never a file.

    Args:
        keeper: keeps the library.
        media: makes stills, previews and clips.
        token: what `lightning search` sends; "" answers it never.
    """

    def __init__(self, keeper: Keeper, media: Media, token: str = "") -> None:
        self.keeper = keeper
        self.media = media
        self.token = token
        self.searches = Workers("searches", threads=1, waiting=WAITING_SEARCHES)
        self.stills = Workers("thumbnails", threads=2, waiting=400)
        self.clips = Workers("clips", threads=1, waiting=8)

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        app.add_api_route("/api/library", self.library, response_model_exclude_unset=True)
        app.add_api_route("/api/search", self.search)
        app.add_api_route(ANSWER, self.answer, include_in_schema=False)
        app.add_api_route("/api/videos/{key}", self.video)
        app.add_api_route("/api/videos/{key}/preview", self.preview_state)
        app.add_api_route("/api/videos/{key}/preview", self.start_preview, methods=["POST"])
        files: dict[str, tuple[Callable[..., Any], str]] = {
            "export.csv": (self.csv, "text/csv"),
            "export.vtt.zip": (self.vtt, "application/zip"),
            "videos/{key}/media": (self.file, "video/*"),
            "videos/{key}/preview.mp4": (self.preview, "video/mp4"),
            "videos/{key}/thumbnail": (self.thumbnail, "image/jpeg"),
            "videos/{key}/clip.mp4": (self.clip, "video/mp4"),
            "videos/{key}/moments.vtt": (self.cues, "text/vtt"),
        }
        for name, (route, mime) in files.items():
            described: dict[int | str, dict[str, Any]] = {200: {"content": {mime: {}}}}
            app.add_api_route(f"/api/{name}", route, response_class=Response, responses=described)
            if route in (self.file, self.preview):
                app.add_api_route(f"/api/{name}", route, methods=["HEAD"], include_in_schema=False)

    async def close(self) -> None:
        """Stop what is being made, and let go of the library."""
        self.media.close()
        self.stills.close()
        self.clips.close()
        await self.searches.run(self.keeper.close)
        self.searches.close()

    async def library(self) -> LibraryAnswer:
        """The library: its contents, or why it cannot be searched now."""
        return self.keeper.state()

    async def search(self, query: Search) -> SearchAnswer:
        """The best videos for a sentence, each with its moments and its curve."""
        return search_answer(await self._result(query))

    async def answer(
        self, call: str = "", authorization: Annotated[str, Header()] = ""
    ) -> Response:
        """What `lightning search` prints, paths of files included, for who can read the token."""
        sent = authorization.encode(errors="replace")
        if not self.token or not compare_digest(sent, f"Bearer {self.token}".encode()):
            raise HTTPException(404, "there is nothing at this address")
        printed = await self.searches.run(self.keeper.printed, json.loads(call))
        return PlainTextResponse(printed.encode(errors="backslashreplace"))

    async def csv(self, query: Search) -> Response:
        """The results of a search as a table, one row for each moment."""
        table = results_csv(await self._result(query))
        return _attachment(table, "text/csv; charset=utf-8", "moments.csv")

    async def vtt(self, query: Search) -> Response:
        """The results of a search as an archive with one WebVTT file for each video."""
        archive = results_zip(await self._result(query))
        return _attachment(archive, "application/zip", "moments-vtt.zip")

    async def _result(self, query: SearchQuery) -> SearchResult:
        if self.keeper.contents is None:  # not after the wait for a library that is being opened
            raise closed_for_now()
        return await self.searches.run(self.keeper.search, query)

    async def video(self, key: Key) -> VideoWithPreview:
        """A video, and whether browsers can play its file or need a preview."""
        video, source = await self._source(key)
        state = await self.stills.run(self.media.preview_state, source)
        return VideoWithPreview(**video_fields(video), preview=state)

    async def file(self, key: Key) -> FileResponse:
        """Return the video file, whole or the requested range of bytes."""
        _, source = await self._source(key)
        # a library that somebody else made could name any file: only videos are handed out
        mime = (await self.stills.run(probe, source)).mime
        return _send(source.path, mime or "application/octet-stream")

    async def thumbnail(self, key: Key, t: Annotated[float, _SECOND] = 0) -> FileResponse:
        """The picture that a video shows at a second."""
        video, source = await self._source(key)
        longest = video.duration if video.duration > 0 else t
        path = await self.stills.run(self.media.still, source, min(t, longest))
        headers = {"Cache-Control": "private, max-age=3600"}
        return _send(path, "image/jpeg", headers=headers)

    async def preview_state(self, key: Key, force: Force = False) -> PreviewState:
        """Return how far the preview is: a copy of the video for browsers that need one."""
        _, source = await self._source(key)
        return await self.stills.run(self.media.preview_state, source, force)

    async def start_preview(self, key: Key, force: Force = False) -> PreviewState:
        """Begin to make a video's preview, and say how far it is."""
        _, source = await self._source(key)
        return await self.stills.run(self.media.start_preview, source, force)

    async def preview(self, key: Key, force: Force = False) -> FileResponse:
        """The preview of a video, once it has been made."""
        _, source = await self._source(key)
        path = self.media.preview(source, force)
        if path is None:
            raise HTTPException(404, "this video has no preview yet")
        return _send(path, "video/mp4")

    async def clip(self, key: Key, span: Annotated[Span, Query()]) -> FileResponse:
        """A part of a video as a file to keep."""
        video, source = await self._source(key)
        path = await self.clips.run(self.media.clip, source, span.start, span.end)
        return _send(path, "video/mp4", clip_name(video, span.start, span.end))

    async def cues(self, key: Key, query: Search) -> Response:
        """The moments that a search finds in one video, as WebVTT."""
        video = await self._video(key)
        result = await self._result(query)
        for hit in result.hits:
            if hit.video.video_id == video.video_id:
                return _attachment(
                    moments_vtt(result.query, hit), "text/vtt; charset=utf-8",
                    f"{safe_name(video.title)}.vtt",
                )  # fmt: skip
        raise HTTPException(404, "that search does not find this video")

    async def _video(self, key: str) -> LibraryVideo:
        video_id, video = video_id_of(key), None
        if video_id is not None:
            known = self.keeper.known(video_id)
            video = known or await self.searches.run(self.keeper.video, video_id)
        if video is None:
            raise HTTPException(404, "the library has no such video")
        return video

    async def _source(self, key: str) -> tuple[LibraryVideo, SourceFile]:
        video = await self._video(key)
        return video, source_file(video)


def _send(
    path: Path, mime: str, name: str | None = None, headers: dict[str, str] | None = None
) -> FileResponse:
    """Return the response of a file, or of its requested range.

    Args:
        path: path of the file; no client has chosen it.
        mime: type of the file.
        name: name to save the file by; without one the browser shows it.
        headers: further headers.

    Raises:
        HTTPException: 404, it is gone.
    """
    try:
        status = path.stat()
    except OSError:
        raise HTTPException(404, f"{path.name} is gone; try again") from None
    return FileResponse(path, 200, headers, mime, filename=name, stat_result=status)


def _attachment(content: bytes, mime: str, name: str) -> Response:
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}"}
    return Response(content, headers=headers, media_type=mime)
