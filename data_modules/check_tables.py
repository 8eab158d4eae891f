"""What `data check` finds in the tables of one split; no features are read here.

Every function looks for one thing and yields a line for it, or none.
"""

from collections import Counter
from collections.abc import Callable, Iterator

from data_modules.check_report import Spread, plural, some
from data_modules.feature_store import caption_id_forms
from data_modules.schema import Annotations

Lines = Iterator[str]


def table_problems(table: Annotations) -> list[str]:
    """Why a training on these tables would fail."""
    if problems := list(_ids_that_are_no_text(table)):
        return problems  # the rest compares ids
    finders = (_videos_twice, _captions_twice, _captions_without_video, _unknown_videos)
    return [line for find in finders for line in find(table)]


def table_remarks(table: Annotations) -> list[str]:
    """What is odd about these tables, and harmless."""
    finders: tuple[Callable[[Annotations], Lines], ...] = (
        _videos_without_captions, _empty_texts, _same_texts, _moments_unknown, _moments_outside,
        _moments_reversed,
    )  # fmt: skip
    return [line for find in finders for line in find(table)]


def captions_per_video(table: Annotations) -> Spread | None:
    """Spread of the number of captions, over all videos of the table."""
    counts = Counter(video for videos in table.queries["video_ids"] for video in videos)
    return Spread.of(counts[video] for video in table.videos["video_id"])


def _ids_that_are_no_text(table: Annotations) -> Lines:
    columns = (("video", table.videos["video_id"]), ("caption", table.queries["query_id"]))
    for noun, column in columns:
        if other := [repr(name) for name in column if not isinstance(name, str)]:
            yield f"ids must be strings: {some(other, noun)}"


def _twice(ids: list[str]) -> list[str]:
    return [name for name, count in Counter(ids).items() if count > 1]


def _videos_twice(table: Annotations) -> Lines:
    if names := _twice(table.videos["video_id"].tolist()):
        yield f"ids used twice: {some(names, 'video')}"


def _captions_twice(table: Annotations) -> Lines:
    # v#enc#0 and v#0 would be given the same features
    if names := _twice([max(caption_id_forms(name)) for name in table.queries["query_id"]]):
        yield f"ids used twice: {some(names, 'caption')}"


def _captions_without_video(table: Annotations) -> Lines:
    queries = table.queries
    if names := queries["query_id"][queries["video_ids"].str.len() == 0].tolist():
        yield f"no true video: {some(names, 'caption')}"


def _unknown_videos(table: Annotations) -> Lines:
    known = set(table.videos["video_id"])
    named = dict.fromkeys(video for videos in table.queries["video_ids"] for video in videos)
    if names := [str(video) for video in named if video not in known]:
        yield f"captions name videos that are not in the video table: {some(names, 'video')}"


def _videos_without_captions(table: Annotations) -> Lines:
    named = {video for videos in table.queries["video_ids"] for video in videos}
    if names := [video for video in table.videos["video_id"] if video not in named]:
        yield f"no caption, so only to be found wrongly: {some(names, 'video')}"


def _empty_texts(table: Annotations) -> Lines:
    queries = table.queries
    if names := queries["query_id"][queries["text"].str.strip() == ""].tolist():
        yield f"empty text: {some(names, 'caption')}"


def _same_texts(table: Annotations) -> Lines:
    pairs = zip(table.queries["video_ids"], table.queries["text"], strict=True)
    counts = Counter((video, text) for videos, text in pairs for video in videos)
    if names := list(dict.fromkeys(video for (video, _), count in counts.items() if count > 1)):
        yield f"the same text twice for one video: {some(names, 'video')}"


def _moments_unknown(table: Annotations) -> Lines:
    count = int((table.queries["moments"].str.len() == 0).sum())
    if count:
        yield f"moment unknown: {plural(count, 'caption')} (only results by moment length need it)"


def _moments_outside(table: Annotations) -> Lines:
    # seconds; NaN, an unknown duration, is never exceeded
    duration = dict(zip(table.videos["video_id"], table.videos["duration"], strict=True))
    names = [
        query.query_id
        for query in table.queries.itertuples()
        if any(end > duration[v] for v in query.video_ids[:1] for _, end in query.moments)
    ]
    if names:
        yield f"moment ends after its video: {some(names, 'caption')}"


def _moments_reversed(table: Annotations) -> Lines:
    queries = zip(table.queries["query_id"], table.queries["moments"], strict=True)
    if names := [name for name, moments in queries if any(e < s for s, e in moments)]:
        yield f"moment ends before it starts: {some(names, 'caption')}"
