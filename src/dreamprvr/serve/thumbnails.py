"""A still of a video at a second."""

import io
from pathlib import Path

from PIL import Image

from dreamprvr.core.errors import UserError
from dreamprvr.serve.cache import CacheFolder
from dreamprvr.serve.containers import MADE, SourceFile, fitted, readable
from dreamprvr.serve.replies import Refusal
from dreamprvr.video.reader import VideoReader

_LONGEST = 480  # pixels


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
    parts = ("thumbnail", source.path, source.size, source.mtime_ns, MADE, tenth, _LONGEST)
    path = cache.path(parts, "jpg")
    try:
        return cache.make(path, lambda partial: _write(source.path, tenth / 10, partial))
    except UserError as error:
        raise Refusal(415, str(error)) from None


def _write(source: Path, second: float, target: Path) -> None:
    with readable(source):
        shown = next(VideoReader(source).read(second))
        pixels = shown.scaled(*fitted(shown, _LONGEST))
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, "JPEG", quality=82)
    target.write_bytes(data.getvalue())
