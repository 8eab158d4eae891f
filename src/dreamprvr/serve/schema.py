"""The parameters and the JSON of the server's interface, which FastAPI checks and documents."""

import base64
import binascii
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from dreamprvr.core.errors import UserError
from dreamprvr.search.engine.filters import parse_where
from dreamprvr.search.results import Curve, Hit, LibraryVideo, SearchResult

MAX_QUERY = 1500  # characters; each takes up to 9 bytes of an address, which may have 16,384
MAX_CLIP = 600.0  # seconds
_PIECES = 360  # largest number of pieces of a curve, which the page draws 700 pixels wide

LAST_SECOND = 1e7

Second = Annotated[float, Field(ge=0, lt=LAST_SECOND, description="second of the video")]


def _plain_words(text: Any) -> Any:
    """Join the white space of a text; leave what is none."""
    return " ".join(text.split()) if isinstance(text, str) else text


PictureName = Annotated[str, Field(pattern="^[0-9a-f]{40}$")]
Words = Annotated[str, Field(min_length=1, max_length=MAX_QUERY), BeforeValidator(_plain_words)]


class Example(BaseModel):
    """The target of a search: a sentence, a moment or a picture."""

    model_config = ConfigDict(frozen=True)

    q: Words | None = Field(default=None, description="sentence that describes a moment")
    like: Annotated[str, Field(pattern=r"^[\w-]+@\d{1,7}(\.\d{1,3})?$")] | None = Field(
        default=None, description="KEY@SECOND: moments like this one of a video, in other videos"
    )
    image: PictureName | None = Field(
        default=None,
        description="name of a picture that was sent a while ago (POST /api/search): moments like "
        "it",
    )

    @model_validator(mode="after")
    def _check_first(self) -> Self:
        if sum(part is not None for part in (self.q, self.like, self.image)) != 1:
            raise PydanticCustomError("query", "give one of q, like and image")
        if self.like is not None and video_id_of(self.like.partition("@")[0]) is None:
            raise PydanticCustomError("query", "like names no video: write KEY@SECOND")
        return self


class Narrowing(BaseModel):
    """Conditions of a search besides its sentence, moment or picture."""

    model_config = ConfigDict(frozen=True)

    without: Words | None = Field(
        default=None, description="sentence of what the moment must not show"
    )
    then: Words | None = Field(
        default=None, description="sentence of what must follow later in the same video"
    )
    name: Words | None = Field(
        default=None, description="words in the title, the id or the path of a video"
    )
    k: int = Field(default=10, ge=1, le=100, description="number of videos in the answer")
    skip: int = Field(
        default=0, ge=0, le=100_000, description="number of the best videos to leave out"
    )
    moments: Annotated[int, Field(ge=1, le=1000)] | Literal["all"] = Field(
        default=3, description="largest number of moments of a video, or all"
    )
    subtitles: bool = Field(default=True, description="whether words of subtitles are searched")
    threshold: float | None = Field(
        default=None, allow_inf_nan=False, description="least score of a video in the answer"
    )
    where: Annotated[
        tuple[Annotated[str, Field(pattern="^[^=<>]+[=<>]")], ...],
        Field(
            max_length=64,
            description="filters: column=value, a range column=1..9 or a bound column>=1; values "
            "of one column are alternatives, and all bounds must hold",
        ),
        AfterValidator(lambda words: tuple(sorted(set(words)))),
    ] = ()

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        if self.without is not None and self.then is not None:
            raise PydanticCustomError("query", "give either without or then, not both")
        return self


class SearchQuery(Narrowing, Example):
    """A search; equal ones have equal hashes. One of `q`, `like` and `image` is needed."""

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `Library.search` without the picture; no defaults are in it."""
        arguments: dict[str, Any] = {
            "k": self.k, "where": parse_where(self.where), "threshold": self.threshold,
        }  # fmt: skip
        if self.like is not None:
            key, _, second = self.like.partition("@")
            arguments["like"] = video_id_of(key), float(second)
        names = ("without", "then", "name", "skip", "moments", "subtitles")
        further = {name: getattr(self, name) for name in names if name in self.model_fields_set}
        return {"text": self.q, **arguments, **further}


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


class Range(BaseModel):
    """A column that can be narrowed by a range or a bound."""

    name: str = Field(description="name of a metadata column, or length, in seconds")
    kind: Literal["number", "date"]
    least: str
    most: str


class LibraryAnswer(BaseModel):
    """The library: its contents, or why it cannot be searched now."""

    state: Literal["ready", "indexing", "opening"]
    name: str
    videos: int = Field(default=0, description="number of videos, once ready")
    seconds: float = Field(default=0, description="length of all videos together, once ready")
    columns: list[Column] = Field(default=[], description="columns to filter by, once ready")
    ranges: list[Range] = Field(default=[], description="columns of numbers or dates, once ready")
    version: int = Field(default=0, description="another number after each change, once ready")
    done: int = Field(default=0, description="videos that are indexed, while indexing")
    total: int = Field(default=0, description="videos to index, while indexing")
    video: str = Field(default="", description="video that is indexed at the moment")
    message: str = Field(default="", description="reason why the library is not open yet")


class Playing(BaseModel):
    """How a browser plays a video: its file, or else pieces."""

    file: str | None = Field(
        description="type of the file, which a browser may know; null if it would show other "
        "pictures or seconds than the library has"
    )
    pieces: str = Field(description="type of the pieces, which every browser knows")
    count: int = Field(description="number of pieces")
    piece: float = Field(description="seconds of a piece")
    seconds: float = Field(description="length of the video")


class VideoAnswer(BaseModel):
    """A video of the library, without the path of its file."""

    key: str = Field(description="name of the video in addresses")
    id: str
    title: str
    duration: float | None = Field(description="seconds; null if unknown")
    there: bool = Field(description="whether the video file is where it was when extracted")
    metadata: dict[str, Any]


class PlayableVideo(VideoAnswer):
    """A video, and how it is played."""

    playing: Playing


class MomentAnswer(BaseModel):
    """A moment of a video; times in seconds."""

    start: float
    end: float
    peak: float
    score: float
    words: str | None = Field(
        default=None, description="what is said there, if the moment was found by subtitles"
    )
    share: float | None = Field(
        default=None, description="share of the sentence that is said there, 0 to 1"
    )


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
    relevance: int = Field(description="the score from 0 to 100, for people")
    video: VideoAnswer
    moments: list[MomentAnswer] = Field(description="best first")
    curve: Curve = Field(description="score along the video; times in seconds")
    registers: list[float] = Field(
        description="cosine of the sentence with each register; empty if the model has none"
    )


class SearchAnswer(BaseModel):
    """The answer to a search."""

    query: str
    image: str | None = Field(
        default=None, description="name of the picture that was searched for, for further searches"
    )
    seconds: float = Field(description="time that the search took")
    searched: int = Field(description="videos of the library that pass the filters")
    strength: Literal["strong", "fair", "weak"] | None = Field(
        description="how sure the best video of all pages is; null if that is not known"
    )
    confidence: float | None = Field(
        description="share of random sentences whose best video scores lower, 0 to 1; null likewise"
    )
    low: float = Field(description="score at the foot of the scale of all curves")
    high: float = Field(description="score at the top of the scale of all curves")
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


def search_answer(result: SearchResult, image: str | None = None) -> SearchAnswer:
    """Turn a result of the library into the server's answer.

    Args:
        result: the result.
        image: name of the picture that was searched for.
    """
    return SearchAnswer(
        query=result.query, image=image, seconds=result.seconds, searched=result.searched,
        strength=result.strength, confidence=result.confidence, low=result.low, high=result.high,
        hits=[_hit_answer(hit) for hit in result.hits],
    )  # fmt: skip


def _hit_answer(hit: Hit) -> HitAnswer:
    curve = thinned(hit.curve)
    short = Curve(_rounded(curve.starts), _rounded(curve.ends), _rounded(curve.scores, 5))
    moments = [MomentAnswer(**asdict(moment)) for moment in hit.moments]
    return HitAnswer(
        rank=hit.rank, score=hit.score, relevance=hit.relevance,
        video=VideoAnswer(**video_fields(hit.video)), moments=moments, curve=short,
        registers=list(_rounded(hit.registers, 5)),
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
