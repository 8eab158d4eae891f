"""Find everything that is missing, broken or odd about a benchmark, for one report."""

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from data_modules.base import SPLITS, PRVRDataModule
from data_modules.checking.report import FeatureSummary, Report, SplitSummary, Spread
from data_modules.readers.labels import apply_labels, read_labels
from data_modules.readers.store import FeatureStore, caption_id_forms, some
from data_modules.readers.tables import Annotations
from dreamprvr.core.errors import UserError
from dreamprvr.core.progress import ProgressBar
from dreamprvr.core.text import normal_id, plural, quote

Tables = dict[str, Annotations]


T = TypeVar("T")


@dataclass
class Scan:
    """The result of reading features.

    Attributes:
        lengths: number of rows of every id that can be read.
        problems: lines of the report on what keeps a training from running.
        remarks: lines of the report on oddities that are harmless.
    """

    lengths: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def check(data: PRVRDataModule, splits: Sequence[str] = SPLITS) -> Report:
    """Look at all that training and evaluation would read.

    Unreadable parts do not stop it. A generated benchmark is generated first. The features that
    several splits share are read once.

    Args:
        data: the benchmark.
        splits: which of its splits to look at.

    Returns:
        The report; `report.ok` is False if training would fail. Bad data raise nothing.
    """
    report = Report(type(data).__name__, data.folder, data.sizes.max_words)
    missing = _missing_files(data, splits, report)
    tables = _read_tables(data, splits, missing, report)
    _look_at_tables(data, tables, report)
    _look_at_labels(data, tables, report)
    videos = _scan(data, tables, "video", "video" in missing, report)
    captions = _scan(data, tables, "text", "text" in missing, report)
    for split in splits:
        report.splits[split] = None
        if split in tables:
            report.splits[split] = _summary(data, split, tables[split], videos, captions)
    _compare_sizes(report)
    return report


def _missing_files(data: PRVRDataModule, splits: Sequence[str], report: Report) -> set[str]:
    """Report missing files, and return what they hold: "video", "text" or the name of a split."""
    own = type(data).prepare_data is not PRVRDataModule.prepare_data
    if own and any(not path.exists() for split in splits for path in data.files(split).values()):
        attempt(data.prepare_data, report.problems)
    missing = set()
    places: dict[str, str] = {}
    for split in splits:
        for name, path in data.files(split).items():
            if not path.exists():
                kind, _, rest = name.partition(" ")
                missing.add(kind if rest.startswith("features") else split)
                places[str(path)] = name
    report.problems += [f"missing {name}: expected at {path}" for path, name in places.items()]
    if places and data.source:
        report.remarks.append(data.source)
    return missing


def _read_tables(
    data: PRVRDataModule, splits: Sequence[str], missing: set[str], report: Report
) -> Tables:
    tables = {}
    for split in splits:
        # a missing file is reported already
        problems: list[str] = [] if split in missing else report.problems
        table = attempt(
            partial(_read_table, data, split), problems, _method(data, "read_annotations")
        )
        if table is not None:
            tables[split] = table
    return tables


def _read_table(data: PRVRDataModule, split: str) -> Annotations:
    table = data.read_annotations(split)  # `annotations` stops at the first fault
    if table.queries.empty:
        raise UserError(f"{data.collection} has no captions for the split {quote(split)}")
    return table


def _look_at_tables(data: PRVRDataModule, tables: Tables, report: Report) -> None:
    """Report problems and remarks of each split; equal lines of several splits become one."""
    problems: dict[str, list[str]] = {}
    remarks: dict[str, list[str]] = {}
    for split, table in tables.items():
        for line in attempt(partial(data.repairs, split), report.problems) or []:
            remarks.setdefault(line, []).append(split)
        faults = _find(table_problems, data, table)
        splits_of = problems if faults else remarks
        # remarks are only looked for in tables without problems
        for line in faults or _find(table_remarks, data, table):
            splits_of.setdefault(line, []).append(split)
    for reported, splits_of in ((report.problems, problems), (report.remarks, remarks)):
        reported += [f"{', '.join(names)}: {line}" for line, names in splits_of.items()]


def _look_at_labels(data: PRVRDataModule, tables: Tables, report: Report) -> None:
    """Compare the file of labels, if there is one, with the splits that are evaluated."""
    if data.labels is None:
        return
    labels = attempt(partial(read_labels, data.labels), report.problems)
    if labels is None:
        return
    for split, table in tables.items():
        if split == "train":
            continue
        place = f"{data.collection} {split}"
        match = partial(apply_labels, table, labels, data.labels, place)
        if labelled := attempt(match, report.problems):
            report.remarks += [labelled.summary, *labelled.mismatches]


def _find(
    find: Callable[[Annotations], list[str]], data: PRVRDataModule, table: Annotations
) -> list[str]:
    failed: list[str] = []
    what = f"the tables of {_method(data, 'read_annotations')}"
    return attempt(partial(find, table), failed, what) or failed


def _method(data: PRVRDataModule, name: str) -> str:
    """Name a method that a data set may override."""
    return f"{type(data).__name__}.{name}"


def _scan(data: PRVRDataModule, tables: Tables, kind: str, missing: bool, report: Report) -> Scan:
    """Open and read the video or the text features."""
    name = f"{kind}_features"
    store = attempt(getattr(data, name), [] if missing else report.problems, _method(data, name))
    if store is None:
        return Scan()
    report.features.append(FeatureSummary(f"{kind} features", store.dim, store.path))
    dim = data.video_dim if kind == "video" else data.text_dim
    if store.dim != dim:
        report.problems.append(
            f"{kind} features have size {store.dim}, but {type(data).__name__} expects {dim}: "
            f"{store.path} (other features: --data.features {'|'.join(data.feature_sets)})"
        )
    ids = {
        key: None
        for table in tables.values()
        for key in (table.videos["video_id"] if kind == "video" else table.queries["query_id"])
        if isinstance(key, str)
    }
    result = scan(store, list(ids), "video" if kind == "video" else "caption")
    report.problems += [f"{kind} features: {line}" for line in result.problems]
    report.remarks += [f"{kind} features: {line}" for line in result.remarks]
    return result


def _summary(
    data: PRVRDataModule, split: str, table: Annotations, videos: Scan, captions: Scan
) -> SplitSummary:
    rows = [videos.lengths[key] for key in table.videos["video_id"] if key in videos.lengths]
    words = [captions.lengths[key] for key in table.queries["query_id"] if key in captions.lengths]
    return SplitSummary(
        split,
        len(table.videos),
        len(table.queries),
        data.expected.get(split),
        attempt(partial(captions_per_video, table), []),  # a broken table is reported already
        Spread.of(rows),
        Spread.of(words),
        sum(count > data.sizes.max_words for count in words),
    )


def _compare_sizes(report: Report) -> None:
    for name, split in report.splits.items():
        if split is None or split.expected is None:
            continue
        videos, captions = split.expected
        if videos not in (None, split.videos) or captions != split.captions:
            published = (
                f"{captions:,} captions" if videos is None else f"{videos:,} and {captions:,}"
            )
            report.remarks.append(
                f"{name}: {plural(split.videos, 'video')} and {plural(split.captions, 'caption')}; "
                f"published are {published}"
            )


def scan(store: FeatureStore, ids: Sequence[str], noun: str) -> Scan:
    """Read the features of some ids, one after the other; one entry is in memory at a time.

    Args:
        store: the features.
        ids: ids that are needed, each once.
        noun: the kind of thing that has an id: "video" or "caption".
    """
    result = Scan()
    faults: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    zeros: dict[str, int] = {}
    for key in ProgressBar(ids, desc=f"{noun} features", unit=noun):
        try:
            rows = store[key]
            result.lengths[key] = len(rows)
            if empty := int((~rows.any(axis=1)).sum()):
                zeros[key] = empty
        except Exception as error:  # the store may be a stranger's
            reason = _reason(store, key, error)
            kind = re.sub(r"\d+", "#", reason)  # the same fault, whatever the numbers
            first.setdefault(kind, reason)
            faults.setdefault(kind, []).append(key)
    for kind, keys in faults.items():
        result.problems.append(f"{first[kind]}: {some(keys, noun)} in {store.path}")
    if zeros:
        count = plural(sum(zeros.values()), "all-zero row")
        result.remarks.append(f"{count}: {some(list(zeros), noun)} in {store.path}")
    result.remarks += _unused(store, ids, noun)
    return result


def attempt(action: Callable[[], T], problems: list[str], what: str = "") -> T | None:
    """Return the result of an action; if it fails, add a line to `problems` and return None.

    Args:
        action: function to call.
        problems: lines for the user.
        what: the method that the line names if the error is no UserError, such as "Kitchen.files".
    """
    try:
        return action()
    except Exception as error:  # a data set of another package may fail in any way
        place = f"{what}: " if what and not isinstance(error, UserError) else ""
        problems.append(place + error_line(error))
        return None


def error_line(error: Exception) -> str:
    """Write an error in one line, with its type unless it is a UserError."""
    message = " ".join(str(error).split())
    return message if isinstance(error, UserError) else f"{type(error).__name__}: {message}"


def _reason(store: FeatureStore, key: str, error: Exception) -> str:
    """Return the mistake in an entry, without the words on its place."""
    try:
        name = store.find(key)
        if name is None:
            return "no features"
    except Exception:
        return error_line(error)
    message = error_line(error).partition(". Run `lightning data check`")[0]
    message = message.removeprefix(f"{store.path}: ")
    for form in (*caption_id_forms(key), name):
        message = message.replace(f"{quote(form)} ", "")
    return message


def _unused(store: FeatureStore, ids: Sequence[str], noun: str) -> list[str]:
    used = {normal_id(form) for key in ids for form in caption_id_forms(key)}
    try:
        names = [name for name in store.keys() if normal_id(name) not in used]  # noqa: SIM118 - no mapping
    except Exception as error:
        return [f"{store.path}: ids cannot be listed: {error_line(error)}"]
    if not names:
        return []
    return [f"features that no split checked uses: {some(names, noun)} in {store.path}"]


Lines = Iterator[str]


def table_problems(table: Annotations) -> list[str]:
    """List why a training on these tables would fail; a function below looks for each reason."""
    if problems := list(_ids_that_are_no_text(table)):
        return problems  # the rest compares ids
    finders = (_videos_twice, _captions_twice, _captions_without_video, _unknown_videos)
    return [line for find in finders for line in find(table)]


def table_remarks(table: Annotations) -> list[str]:
    """List the harmless oddities of these tables."""
    finders: tuple[Callable[[Annotations], Lines], ...] = (
        _videos_without_captions, _empty_texts, _same_texts, _moments_unknown, _moments_outside,
        _moments_reversed,
    )  # fmt: skip
    return [line for find in finders for line in find(table)]


def captions_per_video(table: Annotations) -> Spread | None:
    """Return the spread of the number of captions, over all videos of the table."""
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
        yield f"no caption, so every query that finds it is wrong: {some(names, 'video')}"


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
