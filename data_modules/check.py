"""`data check`: everything that is missing, broken or odd about a benchmark, in one report."""

from collections.abc import Callable, Sequence
from functools import partial

from data_modules.base import PRVRDataModule
from data_modules.check_features import Scan, attempt, scan
from data_modules.check_report import FeatureSummary, Report, SplitSummary, Spread
from data_modules.check_tables import captions_per_video, table_problems, table_remarks
from data_modules.layout import SPLITS
from data_modules.schema import Annotations

Tables = dict[str, Annotations]


def check(data: PRVRDataModule, splits: Sequence[str] = SPLITS) -> Report:
    """Look at all that training and evaluation would read.

    Goes on after what cannot be read. A generated benchmark is generated first. The features that
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
    _look_at_tables(tables, report)
    videos = _scan(data, tables, "video", "video" in missing, report)
    captions = _scan(data, tables, "text", "text" in missing, report)
    for split in splits:
        report.splits[split] = None
        if split in tables:
            report.splits[split] = _summary(data, split, tables[split], videos, captions)
    _compare_sizes(report)
    return report


def _missing_files(data: PRVRDataModule, splits: Sequence[str], report: Report) -> set[str]:
    """Report files that are not there; returns what they hold: "video", "text" and split names."""
    own = type(data).prepare_data is not PRVRDataModule.prepare_data
    if own and any(not path.exists() for split in splits for path in data.files(split).values()):
        attempt(data.prepare_data, report.problems)
    missing = set()
    places: dict[str, str] = {}
    for split in splits:
        for what, path in data.files(split).items():
            if not path.exists():
                missing.add({"video features": "video", "text features": "text"}.get(what, split))
                places[str(path)] = what
    report.problems += [f"missing {what}: expected at {path}" for path, what in places.items()]
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
        table = attempt(partial(data.annotations, split), problems)
        if table is not None:
            tables[split] = table
    return tables


def _look_at_tables(tables: Tables, report: Report) -> None:
    """Problems and remarks of each split; where splits hold the same, one line for all."""
    problems: dict[str, list[str]] = {}
    remarks: dict[str, list[str]] = {}
    for split, table in tables.items():
        lines = _find(table_problems, table)
        # remarks take sound tables for granted
        found, lines = (problems, lines) if lines else (remarks, _find(table_remarks, table))
        for line in lines:
            found.setdefault(line, []).append(split)
    for kept, found in ((report.problems, problems), (report.remarks, remarks)):
        kept += [f"{', '.join(names)}: {line}" for line, names in found.items()]


def _find(find: Callable[[Annotations], list[str]], table: Annotations) -> list[str]:
    failed: list[str] = []
    return attempt(partial(find, table), failed) or failed


def _scan(data: PRVRDataModule, tables: Tables, kind: str, missing: bool, report: Report) -> Scan:
    """Open and read the video or the text features."""
    opener, dim = {
        "video": (data.video_features, data.video_dim),
        "text": (data.text_features, data.text_dim),
    }[kind]
    store = attempt(opener, [] if missing else report.problems)
    if store is None:
        return Scan()
    report.features.append(FeatureSummary(f"{kind} features", store.dim, store.path))
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
    found = scan(store, list(ids), "video" if kind == "video" else "caption")
    report.problems += [f"{kind} features: {line}" for line in found.problems]
    report.remarks += [f"{kind} features: {line}" for line in found.remarks]
    return found


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
        found = (split.videos, split.captions) if split else None
        if split and split.expected and found != split.expected:
            report.remarks.append(
                f"{name}: {split.videos:,} videos and {split.captions:,} captions; published are "
                f"{split.expected.videos:,} and {split.expected.captions:,}"
            )
