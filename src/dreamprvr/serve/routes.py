"""The routes: the library, searches, downloads of their results, and the files of each video."""

import json
import mimetypes
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from secrets import compare_digest
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import FastAPI, Header, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException

from dreamprvr.core.errors import UserError
from dreamprvr.search.address import ANSWER
from dreamprvr.search.results import LibraryVideo, SearchResult
from dreamprvr.serve import pictures, pieces
from dreamprvr.serve.containers import SourceFile, probe, source_file
from dreamprvr.serve.exports import clip_name, moments_vtt, results_csv, results_zip, safe_name
from dreamprvr.serve.keeper import Keeper, closed_for_now
from dreamprvr.serve.media import Media
from dreamprvr.serve.schema import (
    LAST_SECOND,
    BasketQuery,
    Folder,
    LibraryAnswer,
    Narrowing,
    PictureName,
    PlayableVideo,
    Playing,
    SearchAnswer,
    SearchQuery,
    Span,
    VideoAnswer,
    VideosAnswer,
    VideosQuery,
    search_answer,
    video_fields,
    video_id_of,
)
from dreamprvr.serve.sending import unless_held
from dreamprvr.serve.timelines import (
    RATES,
    Cut,
    cuts_csv,
    cuts_edl,
    cuts_fcpxml,
    has_sound,
)
from dreamprvr.serve.workers import Workers

WAITING_SEARCHES = 256

Search = Annotated[SearchQuery, Query()]
Key = Annotated[str, InPath(description="key of the video, as a search gives it")]
Number = Annotated[int, InPath(ge=0, lt=LAST_SECOND, description="number of the piece, from 0")]
_TIMELINES = {
    "csv": (cuts_csv, "text/csv; charset=utf-8"),
    "edl": (cuts_edl, "text/plain; charset=utf-8"),
    "fcpxml": (cuts_fcpxml, "application/xml"),
}
_KEPT = {"Cache-Control": "private, max-age=3600"}
_PICTURE = {
    "requestBody": {
        "required": True,
        "description": "a picture (BMP, GIF, JPEG, PNG, TIFF or WEBP) of at most "
        f"{pictures.LARGEST:,} bytes",
        "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_KEYS = "key of a video, as a list of videos gives it; once for each"
_SECOND = Query(ge=0, lt=LAST_SECOND, description="second from the beginning of the video")


class Routes:
    """Answers requests; a key names a video of the library, never a file.

    Args:
        keeper: keeps the library.
        media: makes stills, pieces and clips.
        token: what `lightning search` sends; "" answers it never.
    """

    def __init__(self, keeper: Keeper, media: Media, token: str = "") -> None:
        self.keeper = keeper
        self.media = media
        self.token = token
        self.searches = Workers("searches", threads=1, waiting=WAITING_SEARCHES)
        self.renewals = Workers("looks at the library", threads=1, waiting=0)
        self.stills = Workers("thumbnails", threads=2, waiting=400)
        self.probes = Workers("questions about videos", threads=2, waiting=400)
        self.clips = Workers("clips", threads=1, waiting=8)
        self.pieces = Workers("videos", threads=2, waiting=32)

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        app.add_api_route("/api/library", self.library, response_model_exclude_unset=True)
        app.add_api_route("/api/search", self.search)
        app.add_api_route(
            "/api/search", self.search_picture, methods=["POST"], openapi_extra=_PICTURE
        )
        app.add_api_route("/api/videos", self.videos)
        app.add_api_route(ANSWER, self.answer, include_in_schema=False)
        app.add_api_route("/api/videos/{key}", self.video)
        files: dict[str, tuple[Callable[..., Any], str]] = {
            "basket.{ending}": (self.basket, "text/csv, text/plain or application/xml"),
            "export.csv": (self.csv, "text/csv"),
            "pictures/{name}": (self.picture, "image/jpeg"),
            "stills.avif": (self.sheet, "image/avif"),
            "export.vtt.zip": (self.vtt, "application/zip"),
            "videos/{key}/media": (self.file, "video/*"),
            "videos/{key}/pieces/{number}.mp4": (self.piece, "video/mp4"),
            "videos/{key}/thumbnail": (self.thumbnail, "image/jpeg"),
            "videos/{key}/clip.mp4": (self.clip, "video/mp4"),
            "videos/{key}/moments.vtt": (self.cues, "text/vtt"),
        }
        for name, (route, mime) in files.items():
            described: dict[int | str, dict[str, Any]] = {200: {"content": {mime: {}}}}
            app.add_api_route(f"/api/{name}", route, response_class=Response, responses=described)
            if route == self.file:
                app.add_api_route(f"/api/{name}", route, methods=["HEAD"], include_in_schema=False)

    async def close(self) -> None:
        """Stop what is being made, and let go of the library."""
        for workers in (self.renewals, self.stills, self.probes, self.clips, self.pieces):
            workers.close()
        self.media.passes.close_idle(0.0)
        await self.searches.run(self.keeper.close)
        self.searches.close()

    async def library(self) -> LibraryAnswer:
        """The library: its contents, or why it cannot be searched now."""
        return self.keeper.state()

    async def search(self, query: Search) -> SearchAnswer:
        """The best videos for a sentence, each with its moments and its curve."""
        return search_answer(await self._result(query), query.image)

    async def search_picture(
        self, narrowing: Annotated[Narrowing, Query()], request: Request
    ) -> SearchAnswer:
        """The best videos for a picture, which is the body of the request.

        The server remembers the picture for a while: `image` in the answer names it for further
        searches.
        """
        content = await request.body()
        if not content:
            raise UserError("send the picture as the body of the request")
        name = self.keeper.pictures.keep(content)
        try:
            query = SearchQuery(image=name, **narrowing.model_dump(exclude_unset=True))
            return search_answer(await self._result(query), name)
        except UserError:
            self.keeper.pictures.forget(name)
            raise

    async def picture(
        self, name: Annotated[PictureName, InPath(description="name of the picture")]
    ) -> Response:
        """A picture that was sent to search for, made small."""
        content = self.keeper.pictures.content(name)
        shown = await self.stills.run_long(pictures.small, content)
        return Response(shown, headers=_KEPT, media_type="image/jpeg")

    async def videos(self, query: Annotated[VideosQuery, Query()]) -> VideosAnswer:
        """The videos of the library or of one folder, those with the newest files first."""
        listing = await self.searches.run(self.keeper.listing)
        total, videos = listing.part(query.folder, query.skip, query.count)
        return VideosAnswer(
            total=total,
            folders=[Folder(name=name, videos=number) for name, number in listing.names()],
            videos=[VideoAnswer(**video_fields(video)) for video in videos],
        )

    async def answer(
        self, call: str = "", authorization: Annotated[str, Header()] = ""
    ) -> Response:
        """The output of `lightning search`, with paths of files, for a user who reads the token."""
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

    async def basket(
        self, ending: Literal["csv", "edl", "fcpxml"], query: Annotated[BasketQuery, Query()]
    ) -> Response:
        """Moments for an editing program: a table, a CMX 3600 edit list, or FCPXML."""
        cuts = []
        for key, start, end in query.spans():
            video = await self._video(key)
            sound = await self.stills.run(has_sound, video.path)
            cuts.append(Cut(video, start, end, sound))
        write, mime = _TIMELINES[ending]
        return _attachment(write(cuts, RATES[query.rate]), mime, f"moments.{ending}")

    async def _result(self, query: SearchQuery) -> SearchResult:
        if self.keeper.contents is None:  # not after the wait for a library that is being opened
            raise closed_for_now()
        return await self.searches.run(self.keeper.search, query)

    async def video(self, key: Key) -> PlayableVideo:
        """A video, and how a browser plays it: its file, or pieces that are made on demand."""
        video, source = await self._source(key)
        found = await self.probes.run(probe, source)
        playing = Playing(
            file=found.mime, pieces=pieces.MIME_WITH_SOUND if found.has_sound else pieces.MIME,
            count=pieces.count(found.seconds), piece=pieces.SECONDS, seconds=found.seconds,
        )  # fmt: skip
        return PlayableVideo(**video_fields(video), playing=playing)

    async def file(self, key: Key, request: Request) -> Response:
        """Return the video file, whole or the requested range of bytes."""
        _, source = await self._source(key)
        # a library that somebody else made could name any file: only videos are handed out
        found = await self.probes.run(probe, source)
        guess = mimetypes.guess_type(source.path.name)[0] or ""
        kind = found.mime.partition(";")[0] if found.mime else guess
        return _send(request, source.path, kind if kind.startswith("video/") else "video/mp4")

    async def thumbnail(
        self, key: Key, request: Request, t: Annotated[float, _SECOND] = 0
    ) -> Response:
        """The picture that a video shows at a second."""
        video, source = await self._source(key)
        second = min(t, video.duration if video.duration > 0 else t)
        path = self.media.still_path(source, second)
        return await self._made(
            request, source.mtime_ns, path, "image/jpeg", None, self.stills, self.media.still,
            source, second,
        )  # fmt: skip

    async def sheet(
        self, request: Request,
        key: Annotated[list[str], Query(min_length=1, max_length=24, description=_KEYS)],
    ) -> Response:  # fmt: skip
        """A picture of each of some videos, one below the other, each 240 x 135 pixels."""
        sources: list[SourceFile | None] = []
        for one in key:
            video = await self._video(one)
            try:
                sources.append(source_file(video))
            except HTTPException:  # its file is missing
                sources.append(None)
        newest = max((source.mtime_ns for source in sources if source), default=0)
        path = self.media.sheet_path(sources)
        return await self._made(
            request, newest, path, "image/avif", None, self.stills, self.media.sheet, sources
        )

    async def piece(self, key: Key, number: Number, request: Request) -> Response:
        """A second of a video, for players that append pieces; the times are the video's own."""
        _, source = await self._source(key)
        path = self.media.piece_path(source, number)
        return await self._made(
            request, source.mtime_ns, path, "video/mp4", None, self.pieces, self.media.piece,
            source, number,
        )  # fmt: skip

    async def clip(self, key: Key, span: Annotated[Span, Query()], request: Request) -> Response:
        """A part of a video as a file to keep."""
        video, source = await self._source(key)
        name = clip_name(video, span.start, span.end)
        path = self.media.clip_path(source, span.start, span.end)
        return await self._made(
            request, source.mtime_ns, path, "video/mp4", name, self.clips, self.media.clip,
            source, span.start, span.end,
        )  # fmt: skip

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

    async def _made(
        self, request: Request, changed: int, path: Path, mime: str, name: str | None,
        workers: Workers, make: Callable[..., Path], *details: object,
    ) -> Response:  # fmt: skip
        """Return the response of a file that is made from videos, unless it was made before.

        Args:
            request: the request.
            changed: when the newest of the videos was changed, in nanoseconds since 1970.
            path: path of the file, which names the versions of the videos.
            mime: type of the file.
            name: name to save the file by; without one the browser shows it.
            workers: make the file.
            make: makes it from the details and a function that is called now and then.
            details: the videos, and numbers that say what to make.
        """
        headers = {
            "ETag": f'"{path.stem}"',
            "Last-Modified": formatdate(changed / 1e9, usegmt=True),
        }
        if mime.startswith("image/"):  # many are shown at once
            headers |= _KEPT
        held = unless_held(Response(headers=headers), request.headers)
        if held.status_code == 304:
            return held
        if self.media.cache.find(path) is None:
            path = await workers.run_long(make, *details)
        return _send(request, path, mime, name, headers)

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
    request: Request, path: Path, mime: str, name: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:  # fmt: skip
    """Return the response of a file, or of its requested range; nothing if the client has it.

    Args:
        request: the request.
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
    response = FileResponse(path, 200, headers, mime, filename=name, stat_result=status)
    return unless_held(response, request.headers)


def _attachment(content: bytes, mime: str, name: str) -> Response:
    headers = {"Content-Disposition": f"attachment; filename*=utf-8''{quote(name)}"}
    return Response(content, headers=headers, media_type=mime)
