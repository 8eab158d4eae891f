"""Files that name all true videos of each caption (docs/data.md, section 6).

Benchmarks of moments know one true video of a caption, the one that it was written for, although
others may show the same. A file of labels names them all for evaluations; no training uses it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from data_modules.readers.store import caption_id_forms, some
from data_modules.readers.tables import Annotations
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import load_json_lines, normal_id, one_line, plural, quote, shorten


class Label(NamedTuple):
    """The true videos of one caption, as a file names them."""

    query: str
    videos: tuple[str, ...]  # at least one, each once


class Labelled(NamedTuple):
    """Annotations whose true videos are those of a file of labels.

    Attributes:
        file: name of the file, fit for a terminal.
        table: the same videos and captions in the same order; a caption without labels has no true
            video. A caption's own video comes first, the others in the order of the videos.
        summary: a line with the numbers of labelled captions and of their true videos.
        mismatches: a line for each way in which the file and the annotations do not fit.
    """

    file: str
    table: Annotations
    summary: str
    mismatches: list[str]


def read_labels(path: str | Path) -> dict[str, Label]:
    """Read a file of labels: JSON lines with the keys `query_id` and `gt_video_ids`.

    Args:
        path: path of the file. Other keys of its rows are not looked at.

    Returns:
        Labels by a name that is the same for all spellings of a caption's id (`label_key`).

    Raises:
        UserError: the file cannot be read, a row has another form, or a caption has two rows. The
            message names the line.
    """
    labels: dict[str, Label] = {}
    lines: dict[str, int] = {}
    for number, row in load_json_lines(path):
        where = f"{shorten(str(path), 300)}, line {number}"
        query, videos = row.get("query_id"), row.get("gt_video_ids")
        if not isinstance(query, str) or not query:
            raise UserError(f"{where}: query_id is {quote(query)}, not the id of a caption")
        if "gt_video_ids" not in row:
            raise UserError(f"{where}: gt_video_ids is missing: give the list of the true videos")
        if not isinstance(videos, list) or not videos:
            raise UserError(
                f"{where}: gt_video_ids is {quote(videos)}, not a list of at least one video id"
            )
        if odd := [video for video in videos if not isinstance(video, str) or not video]:
            raise UserError(f"{where}: gt_video_ids holds {quote(odd[0])}, which is no video id")
        key = label_key(query)
        if key in labels:
            raise UserError(f"{where}: caption {quote(query)} is already in line {lines[key]}")
        labels[key] = Label(query, tuple(dict.fromkeys(map(normal_id, videos))))
        lines[key] = number
    return labels


def label_key(query: str) -> str:
    """Return a name that is the same for all spellings of a caption's id: `v#enc#0` and `v#0`."""
    return max(caption_id_forms(normal_id(query)))


def apply_labels(
    table: Annotations, labels: Mapping[str, Label], path: str | Path, place: str
) -> Labelled:
    """Replace the true videos of a split's captions by those of a file.

    Args:
        table: tables of one split.
        labels: result of `read_labels`.
        path: the file, for messages.
        place: name of data set and split, for messages: "tvr test".

    Raises:
        UserError: no caption of the split has a true video in the file.
    """
    shown = one_line(shorten(str(path), 300))
    true, misfits = _match(table, labels, place)
    counts = [len(videos) for videos in true if videos]
    if not counts:
        first = quote(next(iter(labels.values())).query)
        raise UserError(
            f"{shown}: none of its {plural(len(labels), 'row')} (the first is about {first}) gives "
            f"a caption of {place} a true video of that split: name a file of its labels with "
            "--data.labels, or leave the option out"
        )
    summary = (
        f"labels of {shown}: {plural(len(counts), 'caption')} of {place}, with "
        f"{sum(counts) / len(counts):.2f} true videos each (at most {max(counts):,})"
    )
    labelled = Annotations(table.videos, table.queries.assign(video_ids=true))
    mismatches = [f"labels of {shown}: {line}" for line in misfits]
    return Labelled(one_line(Path(path).name), labelled, summary, mismatches)


def _match(
    table: Annotations, labels: Mapping[str, Label], place: str
) -> tuple[list[tuple[str, ...]], list[str]]:
    """Look the captions of a split up in a file of labels.

    Args:
        table: tables of the split.
        labels: result of `read_labels`.
        place: name of data set and split, for messages.

    Returns:
        The true videos of each caption, none where the file names none; and lines on what does not
        fit.
    """
    names, true = table.videos["video_id"].tolist(), list[tuple[str, ...]]()
    places = {normal_id(name): row for row, name in enumerate(names)}
    unused = dict(labels)
    unlabelled, lost, unnamed, lacking = list[str](), list[str](), list[str](), list[str]()
    for query, own in zip(table.queries["query_id"], table.queries["video_ids"], strict=True):
        label = unused.pop(label_key(query), None)
        named = () if label is None else label.videos
        lacking += [name for name in named if name not in places]
        found = [names[row] for row in sorted(places[name] for name in named if name in places)]
        first = [name for name in own if name in found]
        true.append(tuple(dict.fromkeys([*first, *found])))
        if label is None:
            unlabelled.append(query)
        elif not found:
            lost.append(query)
        elif len(first) < len(own):
            unnamed.append(query)
    misfits = (
        ("no row, so left out of the results", unlabelled, "caption"),
        (
            f"about captions that {place} lacks, so not used",
            [label.query for label in unused.values()], "row",
        ),
        (f"not in {place}, so not counted", list(dict.fromkeys(lacking)), "video"),
        ("no true video left, so left out of the results", lost, "caption"),
        ("own video not named, so counted as false", unnamed, "caption"),
    )  # fmt: skip
    return true, [f"{said}: {some(ids, noun)}" for said, ids, noun in misfits if ids]
