"""A still of a video at a second."""

import io
from pathlib import Path

from dreamprvr.errors import UserError
from dreamprvr.extraction.probe import read_header
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import SourceFile, open_video, seek_before, shape_of
from dreamprvr.serve.replies import Refusal

_LONGEST = 480  # pixels
_NEAR = 0.5  # seconds; a keyframe this close will do
_FRAMES = 300  # decoded at most after the keyframe


def thumbnail(cache: CacheFolder, source: SourceFile, second: float) -> Path:
    """A JPEG of what is on the screen at a second.

    Args:
        cache: where it is kept.
        source: the video.
        second: as a player shows it, in [0, duration]; tenths count.

    Raises:
        Refusal: 415, the video cannot be decoded.
    """
    tenth = round(second * 10)
    parts = ("thumbnail", source.path, source.size, source.mtime_ns, tenth, _LONGEST)
    path = cache.path(parts, "jpg")
    try:
        return cache.make(path, lambda partial: _write(source.path, tenth / 10, partial))
    except UserError as error:
        raise Refusal(415, str(error)) from None


def _write(source: Path, second: float, target: Path) -> None:
    with open_video(source) as (container, stream):
        stream.thread_type = "AUTO"
        wanted = second + read_header(container, stream).zero
        seek_before(container, stream, wanted)
        best = None
        for count, frame in enumerate(container.decode(stream)):
            if frame.time is not None and frame.time > wanted and best is not None:
                break  # the one before is still on the screen
            best = frame
            if count >= _FRAMES or (frame.time is not None and frame.time > wanted - _NEAR):
                break
        if best is None:
            raise UserError(f"{source.name} has no picture at {second:.1f} s")
        shape = shape_of(best, stream.sample_aspect_ratio, _LONGEST)
        data = io.BytesIO()
        shape.upright(best).to_image().save(data, "JPEG", quality=82)
    target.write_bytes(data.getvalue())
