"""The routes of one video: its file, stills, preview, clips and cues."""

import threading
from pathlib import Path
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from dreamprvr.search.results import LibraryVideo
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import SourceFile, probe, source_file
from dreamprvr.serve.exports import moments_vtt
from dreamprvr.serve.jobs import Jobs, Stopped
from dreamprvr.serve.keeper import Keeper
from dreamprvr.serve.media import file_response
from dreamprvr.serve.moment_clips import clip_name, moment_clip, read_second, read_span, safe_name
from dreamprvr.serve.previews import Previews
from dreamprvr.serve.queries import read_request
from dreamprvr.serve.replies import Refusal, closed_for_now
from dreamprvr.serve.thumbnails import thumbnail
from dreamprvr.serve.wire import video_id_of, video_json
from dreamprvr.serve.workers import Workers

_VIDEO = "/api/videos/{key}"


class VideoRoutes:
    """Everything below `/api/videos/{key}`; a key names a video of the library, never a file.

    Args:
        keeper: of the library.
        cache: for what is made from videos.
        searches: the thread that may touch the library.
    """

    def __init__(self, keeper: Keeper, cache: CacheFolder, searches: Workers) -> None:
        self.keeper = keeper
        self.cache = cache
        self.searches = searches
        self.stills = Workers("thumbnails", threads=2, waiting=400)
        self.clips = Workers("clips", threads=1, waiting=8)
        self.jobs = Jobs(waiting=8)
        self.previews = Previews(cache, self.jobs)
        self._closing = threading.Event()

    def add_to(self, app: FastAPI) -> None:
        """Register the routes."""
        app.add_api_route(_VIDEO, self.about)
        app.add_api_route(f"{_VIDEO}/media", self.media, methods=["GET", "HEAD"])
        app.add_api_route(f"{_VIDEO}/thumbnail", self.thumbnail)
        app.add_api_route(f"{_VIDEO}/preview", self.preview_state)
        app.add_api_route(f"{_VIDEO}/preview", self.start_preview, methods=["POST"])
        app.add_api_route(f"{_VIDEO}/preview.mp4", self.preview, methods=["GET", "HEAD"])
        app.add_api_route(f"{_VIDEO}/clip.mp4", self.clip)
        app.add_api_route(f"{_VIDEO}/moments.vtt", self.vtt)

    def close(self) -> None:
        """Stop what is being made."""
        self._closing.set()
        self.jobs.close()
        self.stills.close()
        self.clips.close()

    async def about(self, key: str) -> Response:
        """A video and how it can be played."""
        video, source = await self._source(key)
        state = await self.stills.run(self.previews.state, source)
        return _fresh({**video_json(video), "preview": state})

    async def media(self, request: Request, key: str) -> Response:
        """The video file itself."""
        _, source = await self._source(key)
        # a library that somebody else made could name any file: only videos are handed out
        mime = (await self.stills.run(probe, source)).mime
        return file_response(request, source.path, mime or "application/octet-stream")

    async def thumbnail(self, key: str, t: str = "0") -> Response:
        """A still at second t."""
        video, source = await self._source(key)
        second = read_second(t)
        longest = video.duration if video.duration > 0 else second
        path = await self.stills.run(thumbnail, self.cache, source, min(second, longest))
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(path.read_bytes(), headers=headers, media_type="image/jpeg")

    async def preview_state(self, key: str, force: str = "") -> Response:
        """How far a video's preview is; `force` where the browser could not play the video."""
        _, source = await self._source(key)
        return _fresh(await self.stills.run(self.previews.state, source, bool(force)))

    async def start_preview(self, key: str, force: str = "") -> Response:
        """Begin to make a video's preview."""
        _, source = await self._source(key)
        return _fresh(await self.stills.run(self.previews.start, source, bool(force)))

    async def preview(self, request: Request, key: str, force: str = "") -> Response:
        """The preview that was made."""
        _, source = await self._source(key)
        path = self.previews.find(source, bool(force))
        if path is None:
            raise Refusal(404, "this video has no preview yet")
        return file_response(request, path, "video/mp4")

    async def clip(self, request: Request, key: str, start: str = "", end: str = "") -> Response:
        """A moment as a file to keep."""
        span = read_span(start, end)
        video, source = await self._source(key)
        path = await self.clips.run(moment_clip, self.cache, source, *span, self._go_on)
        return file_response(request, path, "video/mp4", _attachment(clip_name(video, *span)))

    def _go_on(self, done: float) -> None:
        if self._closing.is_set():
            raise Stopped

    async def vtt(self, request: Request, key: str) -> Response:
        """The moments of a video that a search found."""
        video = await self._video(key)
        contents = self.keeper.contents
        if contents is None:
            raise closed_for_now()
        wanted = read_request(request.query_params, contents.columns)
        result = await self.searches.run(self.keeper.search, wanted)
        for hit in result.hits:
            if hit.video.video_id == video.video_id:
                headers = _attachment(f"{safe_name(video.title)}.vtt")
                cues = moments_vtt(result.query, hit)
                return Response(cues, headers=headers, media_type="text/vtt; charset=utf-8")
        raise Refusal(404, "that search does not find this video")

    async def _video(self, key: str) -> LibraryVideo:
        video_id = video_id_of(key)
        video = None
        if video_id is not None:
            known = self.keeper.known(video_id)
            video = known or await self.searches.run(self.keeper.video, video_id)
        if video is None:
            raise Refusal(404, "the library has no such video")
        return video

    async def _source(self, key: str) -> tuple[LibraryVideo, SourceFile]:
        video = await self._video(key)
        return video, source_file(video)


def _fresh(content: object) -> Response:
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


def _attachment(name: str) -> dict[str, str]:
    plain = Path(name).name.encode("ascii", "replace").decode().replace("?", "_")
    return {
        "Content-Disposition": f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name)}"
    }
