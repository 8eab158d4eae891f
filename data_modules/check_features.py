"""What `data check` finds in features: every entry that a split needs is read once."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from tqdm import tqdm

from data_modules.check_report import plural, some
from data_modules.feature_store import FeatureStore, caption_id_forms
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import normal_id, quote

T = TypeVar("T")


@dataclass
class Scan:
    """What reading features found.

    Attributes:
        lengths: rows of every id that can be read.
        problems, remarks: lines for the report.
    """

    lengths: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def scan(store: FeatureStore, ids: Sequence[str], noun: str) -> Scan:
    """Read the features of some ids, one after the other; one entry is in memory at a time.

    Args:
        store: the features.
        ids: what is needed, each once.
        noun: what an id stands for: "video" or "caption".
    """
    found = Scan()
    faults: dict[str, list[str]] = {}
    first: dict[str, str] = {}
    zeros: dict[str, int] = {}
    for key in tqdm(ids, desc=f"{noun} features", unit=noun, disable=None):
        try:
            rows = store[key]
            found.lengths[key] = len(rows)
            if empty := int((~rows.any(axis=1)).sum()):
                zeros[key] = empty
        except Exception as error:  # the store may be a stranger's
            reason = _reason(store, key, error)
            kind = re.sub(r"\d+", "#", reason)  # the same fault, whatever the numbers
            first.setdefault(kind, reason)
            faults.setdefault(kind, []).append(key)
    for kind, keys in faults.items():
        found.problems.append(f"{first[kind]}: {some(keys, noun)} in {store.path}")
    if zeros:
        count = plural(sum(zeros.values()), "all-zero row")
        found.remarks.append(f"{count}: {some(list(zeros), noun)} in {store.path}")
    found.remarks += _unused(store, ids, noun)
    return found


def attempt(action: Callable[[], T], problems: list[str]) -> T | None:
    """Result of an action; where it fails, a line is added to `problems` and None returned."""
    try:
        return action()
    except Exception as error:  # a data set of another package may fail in any way
        problems.append(one_line(error))
        return None


def one_line(error: Exception) -> str:
    """An error in one line, with its type unless it is meant to be read."""
    message = " ".join(str(error).split())
    return message if isinstance(error, UserError) else f"{type(error).__name__}: {message}"


def _reason(store: FeatureStore, key: str, error: Exception) -> str:
    """What is wrong with an entry, without the words that only tell where."""
    try:
        name = store._find(key)
        if name is None:
            return "no features"
    except Exception:
        return one_line(error)
    message = one_line(error).partition(". Run `lightning data check`")[0]
    message = message.removeprefix(f"{store.path}: ")
    for form in (*caption_id_forms(key), name):
        message = message.replace(f"{quote(form)} ", "")
    return message


def _unused(store: FeatureStore, ids: Sequence[str], noun: str) -> list[str]:
    used = {normal_id(form) for key in ids for form in caption_id_forms(key)}
    try:
        names = [name for name in store.keys() if normal_id(name) not in used]  # noqa: SIM118 - no mapping
    except Exception as error:
        return [f"{store.path}: ids cannot be listed: {one_line(error)}"]
    if not names:
        return []
    return [f"features that no split checked uses: {some(names, noun)} in {store.path}"]
