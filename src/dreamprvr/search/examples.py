"""Queries that are no sentences: a moment of a video of the library, and a picture.

A model scores a video by the cosines of a query's rows with the video's tokens, scale by scale. So
the tokens of a moment can stand in the place of the rows of a sentence. What a model adds by
`rescore` needs a sentence, and is left out.
"""

import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from PIL import Image, ImageOps, UnidentifiedImageError

from dreamprvr.core.errors import UserError, first_line
from dreamprvr.core.text import one_line, open_file
from dreamprvr.evaluation.moments import Timeline, sections
from dreamprvr.extraction.encoder import Encoder
from dreamprvr.models.encoded import EncodedQueries, QueryRows
from dreamprvr.search.encoding import SearchModel
from dreamprvr.search.engine.interface import Record

PICTURES = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
PICTURE_BYTES, PICTURE_PIXELS = 100_000_000, 80_000_000
SIDE = 1024  # pixels of the longer side that an encoder gets


def moment_query(
    model: SearchModel, record: Record, timeline: Timeline, second: float
) -> EncodedQueries:
    """Make a query of the tokens of a moment, one row of weight 1 for each scale.

    A scale gives the token that covers the second and the fewest clips or frames besides.

    Args:
        model: model of the library.
        record: the video with its vectors.
        timeline: the seconds of the video's rows.
        second: second of the moment.

    Raises:
        UserError: the video ends before the second.
    """
    if second > max(timeline.duration, timeline.pieces()[1][-1]):
        raise UserError(
            f"video {one_line(record.video_id)} ends at second {timeline.duration:.1f}: name an "
            "earlier second"
        )
    row = int(np.abs(np.mean(timeline.pieces(), axis=0) - second).argmin())
    parts = sections(timeline.rows, model.section)
    section = next(place for place, part in enumerate(parts) if row < part.stop)
    frame, frames = row - parts[section].start, parts[section].stop - parts[section].start
    videos, _ = model.encoded(record, timeline.rows)
    rows = {}
    for scale in model.network.scale_weights:
        items, spans = model.spans[scale]
        item = frame if items == "frames" else frame * model.sizes.num_clips // frames
        covering = [place for place, (first, stop) in enumerate(spans) if first <= item < stop]
        token = min(covering, key=lambda place: spans[place][1] - spans[place][0])
        vector = videos.scales[scale].tokens[section, token]
        rows[scale] = QueryRows(rearrange(vector, "d -> 1 1 d"), torch.ones(1, 1))
    return EncodedQueries(torch.zeros(1, model.layout.dim), rows, {})


def picture_query(model: SearchModel, encoder: Encoder, picture: np.ndarray) -> EncodedQueries:
    """Make a query of a picture, which is encoded as a video of one row.

    Args:
        model: model of the library.
        encoder: encoder of the library's features.
        picture: the picture, (H, W, 3) uint8 RGB.

    Raises:
        UserError: the encoder does not put single pictures and sentences into one space.
    """
    if not encoder.searches_untrained:
        raise UserError(
            f"encoder {encoder.name} does not put pictures and sentences into one space, so this "
            "library cannot be searched by a picture: use a sentence, or a moment of a video"
        )
    window = np.repeat(picture[None], max(1, encoder.frames_per_window), axis=0)
    row = encoder.encode_windows([window]).numpy().astype(np.float32)
    (vectors,) = model.encode_videos([row])
    record = Record("", vectors.tokens, vectors.segments, vectors.extras, {})
    return moment_query(model, record, Timeline(1, 0.0, 1.0, 1.0, 1.0), 0.0)


def read_picture(source: Path | bytes) -> np.ndarray:
    """Read a picture, upright, as (H, W, 3) uint8 RGB; a large one is made smaller.

    Args:
        source: path of the file, or its content.

    Raises:
        UserError: the file is missing, too large, damaged, or no picture.
    """
    shown = "the picture" if isinstance(source, bytes) else str(source)
    with BytesIO(source) if isinstance(source, bytes) else open_file(source, PICTURE_BYTES) as file:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of many pixels, which are refused below
                picture = Image.open(file, formats=PICTURES)
            if picture.width * picture.height > PICTURE_PIXELS:
                raise UserError(f"{shown} has more than {PICTURE_PIXELS:,} pixels: make it smaller")
            picture.draft("RGB", (SIDE, SIDE))
            upright = ImageOps.exif_transpose(picture)
            upright.thumbnail((SIDE, SIDE))
            return np.asarray(upright.convert("RGB"))
        except UserError:
            raise
        except UnidentifiedImageError:
            formats = ", ".join(PICTURES)
            raise UserError(
                f"{shown} cannot be read as a picture: it is in none of the formats {formats}"
            ) from None
        except Exception as error:  # Pillow raises errors of many kinds for damaged files
            raise UserError(f"{shown} cannot be read as a picture: {first_line(error)}") from None
