"""The parameters and the JSON of the server's interface, which FastAPI checks and documents."""

import base64
import binascii
import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from dreamprvr.core.errors import UserError
from dreamprvr.search.results import Curve, Hit, LibraryVideo, Moment, SearchResult

MAX_QUERY = 1500  # characters; each takes up to 9 bytes of an address, which may have 16,384
MAX_CLIP = 600.0  # seconds
_PIECES = 360  # of a curve; the page draws it about 700 pixels wide

LAST_SECOND = 1e7

Second = Annotated[float, Field(ge=0, lt=LAST_SECOND, description="second of the video")]


class SearchQuery(BaseModel):
    """A search; equal ones have equal hashes."""

    model_config = ConfigDict(frozen=True)

    q: Annotated[
        str,
        Field(min_length=1, max_length=MAX_QUERY, description="sentence that describes a moment"),
        BeforeValidator(lambda text: " ".join(text.split())),
    ]
    k: int = Field(default=10, ge=1, le=100, description="number of videos in the answer")
    threshold: float | None = Field(
        default=None, allow_inf_nan=False, description="least score of a video in the answer"
    )
    where: Annotated[
        tuple[Annotated[str, Field(pattern="^[^=]+=")], ...],
        Field(
            max_length=64,
            description="filters, each written column=value; values of one column are alternatives",
        ),
        AfterValidator(lambda words: tuple(sorted(set(words)))),
    ] = ()

    def filters(self) -> dict[str, list[str]]:
        """Return the allowed values of each column, as the library takes them."""
        filters: dict[str, list[str]] = {}
        for word in self.where:
            column, _, value = word.partition("=")
            filters.setdefault(column, []).append(value)
        return filters


class Span(BaseModel):
    """A part of a video."""

    start: Second
    end: Second

    @model_validator(mode="after")
    def _check(self) -> "Span":
        if not self.start < self.end:
            raise PydanticCustomError("span", "end must be greater than start")
        if self.end - self.start > MAX_CLIP:
            raise PydanticCustomError("span", f"a clip has at most {MAX_CLIP:.0f} seconds")
        return self


class BasketQuery(BaseModel):
    """Moments of several videos, to hand over to an editing program."""

    moment: Annotated[
        list[Annotated[str, Field(pattern=r"^[\w-]+@\d{1,7}(\.\d{1,3})?-\d{1,7}(\.\d{1,3})?$")]],
        Field(min_length=1, max_length=500, description="KEY@START-END, in seconds; in this order"),
    ]
    rate: Literal["23.976", "24", "25", "29.97", "30", "50", "59.94", "60"] = Field(
        default="25", description="frames in a second of the timeline; 29.97 and 59.94 drop numbers"
    )

    def spans(self) -> list[tuple[str, float, float]]:
        """Return the key, the start and the end of each moment.

        Raises:
            UserError: a moment ends before it begins.
        """
        spans = []
        for word in self.moment:
            key, _, times = word.partition("@")
            start, end = map(float, times.split("-"))
            if not start < end:
                raise UserError(f"the moment {times} ends before it begins: write KEY@START-END")
            spans.append((key, start, end))
        return spans


class Problem(BaseModel):
    """The answer to a request that failed."""

    error: str = Field(description="one line: what is wrong and what to do")


class Column(BaseModel):
    """A metadata column of the library."""

    name: str
    values: list[str]


class LibraryAnswer(BaseModel):
    """The library: its contents, or why it cannot be searched now."""

    state: Literal["ready", "indexing", "opening"]
    name: str
    videos: int = Field(default=0, description="number of videos, once ready")
    seconds: float = Field(default=0, description="length of all videos together, once ready")
    columns: list[Column] = Field(default=[], description="columns to filter by, once ready")
    done: int = Field(default=0, description="videos that are indexed, while indexing")
    total: int = Field(default=0, description="videos to index, while indexing")
    video: str = Field(default="", description="video that is indexed at the moment")
    message: str = Field(default="", description="reason why the library is not open yet")


class PreviewState(BaseModel):
    """The state of a video's preview, a copy that browsers can play."""

    state: Literal["needless", "absent", "working", "ready", "failed"]
    done: float = Field(default=1.0, description="share of the work, 0 to 1")
    message: str = Field(default="", description="reason of a failure")


class VideoAnswer(BaseModel):
    """A video of the library, without the path of its file."""

    key: str = Field(description="name of the video in addresses")
    id: str
    title: str
    duration: float | None = Field(description="seconds; null if unknown")
    there: bool = Field(description="whether the video file is where it was when extracted")
    metadata: dict[str, Any]


class VideoWithPreview(VideoAnswer):
    """A video, and how it can be played."""

    preview: PreviewState


class VideosQuery(BaseModel):
    """The part of the library's list of videos to show."""

    folder: str = Field(default="", description="name of a folder; all videos without one")
    skip: int = Field(default=0, ge=0, description="number of videos to leave out at the beginning")
    count: int = Field(default=24, ge=1, le=100, description="number of videos in the answer")


class Folder(BaseModel):
    """A folder that holds videos of the library."""

    name: str
    videos: int


class VideosAnswer(BaseModel):
    """The videos of the library, those with the newest files first."""

    total: int = Field(description="number of videos, of the folder if one is named")
    folders: list[Folder]
    videos: list[VideoAnswer]


class HitAnswer(BaseModel):
    """A video that a search has found."""

    rank: int = Field(description="1 for the best")
    score: float
    video: VideoAnswer
    moments: list[Moment] = Field(description="best first")
    curve: Curve = Field(description="score along the video; times in seconds")
    registers: list[float] = Field(
        description="cosine of the sentence with each register; empty if the model has none"
    )


class SearchAnswer(BaseModel):
    """The answer to a search."""

    query: str
    seconds: float = Field(description="time that the search took")
    searched: int = Field(description="videos of the library that pass the filters")
    hits: list[HitAnswer] = Field(description="best first")


def video_key(video_id: str) -> str:
    """Write a video's id so that it needs no quoting in an address and is no path."""
    return base64.urlsafe_b64encode(video_id.encode()).decode().rstrip("=")


def video_id_of(key: str) -> str | None:
    """Return the id that a key stands for, or None if it is no key."""
    try:
        padded = key.encode("ascii") + b"=" * (-len(key) % 4)
        video_id = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError):
        return None
    return video_id if video_key(video_id) == key else None


def video_fields(video: LibraryVideo) -> dict[str, Any]:
    """Return the values of a `VideoAnswer`."""
    return {
        "key": video_key(video.video_id),
        "id": video.video_id,
        "title": video.title,
        "duration": _plain(float(video.duration)),
        "there": video.path is not None and video.path.is_file(),
        "metadata": {str(name): _plain(value) for name, value in video.metadata.items()},
    }


def search_answer(result: SearchResult) -> SearchAnswer:
    """Turn a result of the library into the server's answer."""
    return SearchAnswer(
        query=result.query, seconds=result.seconds, searched=result.searched,
        hits=[_hit_answer(hit) for hit in result.hits],
    )  # fmt: skip


def _hit_answer(hit: Hit) -> HitAnswer:
    curve = thinned(hit.curve)
    short = Curve(_rounded(curve.starts), _rounded(curve.ends), _rounded(curve.scores, 5))
    return HitAnswer(
        rank=hit.rank, score=hit.score, video=VideoAnswer(**video_fields(hit.video)),
        moments=list(hit.moments), curve=short, registers=list(_rounded(hit.registers, 5)),
    )  # fmt: skip


def thinned(curve: Curve, pieces: int = _PIECES) -> Curve:
    """Join pieces of a curve until at most `pieces` are left; peaks keep their height."""
    count = len(curve.scores)
    if count <= pieces:
        return curve
    first = np.arange(pieces) * count // pieces
    last = np.append(first[1:], count) - 1
    return Curve(
        tuple(curve.starts[i] for i in first),
        tuple(curve.ends[i] for i in last),
        tuple(np.maximum.reduceat(np.asarray(curve.scores, float), first).tolist()),
    )


def _rounded(values: Sequence[float], digits: int = 3) -> tuple[float, ...]:
    return tuple(round(float(value), digits) for value in values)


def _plain(value: Any) -> Any:
    """Bring a metadata value to what JSON can hold; NaN and infinity become null."""
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)
