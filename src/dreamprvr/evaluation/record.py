"""The record of a run's evaluations, `metrics.json`.

It holds one entry for each combination of data set, features, split, labels, checkpoint, and
settings that differ from the checkpoint's. Evaluating the same combination again replaces its entry
and keeps the others.
"""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from data_modules.base import PRVRDataModule
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import inside, plain_errors, write_text
from dreamprvr.core.locks import folder_lock
from dreamprvr.core.text import load_json

Entry = dict[str, Any]
NAME = "metrics.json"
FORMAT = 2  # format 1 was one result without a label
KEY = ("data", "root", "features", "split", "labels", "checkpoint", "settings")
LARGEST = 1 << 26  # bytes of the largest record that is read


def set_seed() -> int | None:
    """Return the seed that Lightning's `seed_everything` gave this process; None without one."""
    seed = os.environ.get("PL_GLOBAL_SEED", "")
    return int(seed) if seed.isdigit() else None


class Origin(NamedTuple):
    """The training that weights come from. A value is None if their checkpoint does not have it.

    Attributes:
        seed: seed of the training.
        epoch: the last epoch, counted from 0.
        step: number of steps of the optimiser.
        network: settings of the network.
    """

    seed: int | None
    epoch: int | None
    step: int | None
    network: Mapping[str, Any] | None = None


def origin(checkpoint: Mapping[str, Any]) -> Origin:
    """Read the training that a checkpoint comes from.

    Args:
        checkpoint: content of the checkpoint; values of unexpected types count as missing.
    """
    settings = checkpoint.get("hyper_parameters")
    seed = settings.get("seed") if isinstance(settings, Mapping) else None
    numbers = (seed, checkpoint.get("epoch"), checkpoint.get("global_step"))
    seed, epoch, step = (value if isinstance(value, int) else None for value in numbers)
    network = settings.get("network") if isinstance(settings, Mapping) else None
    return Origin(seed, epoch, step, network if isinstance(network, Mapping) else None)


def other_settings(of: Origin, network: Mapping[str, Any], **others: Any) -> dict[str, Any] | None:
    """List the settings of an evaluation that differ from those of the training.

    Args:
        of: the training that the weights come from.
        network: settings that the network is evaluated with.
        others: further settings by name, each a pair of the value and its default.

    Returns:
        Values by name; None if no setting differs.
    """
    trained = {} if of.network is None else of.network
    different = {
        f"network.{name}": value
        for name, value in network.items()
        if name in trained and plain(trained[name]) != plain(value)
    }
    different |= {name: value for name, (value, default) in others.items() if value != default}
    return different or None


def plain(value: Any) -> Any:
    """Return a setting as it is compared: a list where it is a tuple."""
    return list(value) if isinstance(value, tuple) else value


def evaluation_entry(
    data: PRVRDataModule,
    split: str,
    checkpoint: str | None,
    measures: Mapping[str, float],
    of: Origin,
    settings: dict[str, Any] | None = None,
) -> Entry:
    """Describe the evaluation of a whole split.

    Args:
        data: the data set.
        split: `val` or `test`.
        checkpoint: path of the checkpoint, relative to the run's folder if it lies there.
        measures: R@K, SumR and perhaps others, by name.
        of: the training that the weights come from.
        settings: result of `other_settings`.

    Returns:
        An entry of JSON types: the values that `KEY` names, `seed`, `epoch` and `step` of the
        training, the measures, the numbers of videos, captions and their true videos, the file of
        labels if there is one, and seed, date, version, commit and command of the evaluation.
    """
    table = data.annotations(split).evaluated()
    entry: Entry = {
        "data": data.collection, "root": recorded_path(data.root), "features": data.features,
        "split": split, "labels": table.labels(), "checkpoint": checkpoint,
        "settings": settings, "seed": of.seed, "epoch": of.epoch, "step": of.step, **measures,
        "videos": len(table.videos), "captions": len(table.queries),
        "true_videos": int(table.queries["video_ids"].map(len).sum()),
        "labels_file": recorded_path(data.labels),
        "evaluation_seed": set_seed(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"), "version": version("dreamprvr"),
        "commit": _commit(),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
    }  # fmt: skip
    for name in ("checkpoint", "command"):
        if entry[name]:
            entry[name] = _as_utf8(entry[name])
    return entry


def recorded_path(path: str | os.PathLike[str] | None) -> str | None:
    """Return the whole path of a file as an entry holds it; None for none."""
    return None if path is None else _as_utf8(os.path.abspath(path))


def _as_utf8(text: str) -> str:
    """Write what is no UTF-8 as escapes: paths may be any bytes."""
    return text.encode("utf-8", "backslashreplace").decode()


def add_entry(folder: Path, entry: Entry) -> Path:
    """Add an entry to the record of a run; it replaces an entry with the same key.

    Processes that write at the same time wait for each other. A record that cannot be read, or has
    another format, is renamed, and a new one is begun.

    Args:
        folder: folder of the run; it is made if it does not exist.
        entry: result of `evaluation_entry`.

    Returns:
        Path of the record.

    Raises:
        UserError: the record cannot be written, or the folder is a link with the name of a run.
    """
    path = folder / NAME
    if folder.name.startswith("version_"):  # made by us; a link to a run may have another name
        inside(folder.parent, folder.name, kind="folder")
    with plain_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        with folder_lock(folder, f"{path}: another process is writing, waiting"):
            entries = _entries(path)
            kept = [one for one in entries if any(one.get(k) != entry[k] for k in KEY)]
            content = {"format": FORMAT, "results": [*kept, entry]}
            write_text(path, json.dumps(content, indent=2) + "\n", root=folder)
    return path


def _entries(path: Path) -> list[Entry]:
    """Read the entries of a record; rename a record that cannot be read, and say so."""
    if not os.path.lexists(path):
        return []
    with suppress(UserError):
        record = None if path.is_symlink() else load_json(path, LARGEST)
        if isinstance(record, dict) and record.get("format") == FORMAT:
            entries = record.get("results")
            if isinstance(entries, list) and all(isinstance(one, dict) for one in entries):
                return entries
    number = 1
    while os.path.lexists(aside := path.with_name(f"metrics-old-{number}.json")):
        number += 1
    path.rename(aside)
    print(f"{path} was not a record of this version: it is now {aside.name}", file=sys.stderr)
    return []


def _commit() -> str | None:
    """Return the commit of the running checkout, with `-dirty` after changes; None outside one."""
    root = Path(__file__).parents[3]
    if not (root / ".git").exists():  # installed; a repository around it belongs to others
        return None
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=root, capture_output=True, text=True, timeout=5, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
