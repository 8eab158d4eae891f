"""Read files that torch wrote as data: every record is checked, and no code is run."""

import errno
import pickle
import pickletools
import warnings
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from dreamprvr.core.errors import UserError, first_line
from dreamprvr.core.file_kinds import CHECKPOINT, EMPTY, PICKLE, UNKNOWN, ZIP, described, kind_of
from dreamprvr.core.text import listed, open_file, quote, shorten

LARGEST = 1 << 50  # bytes of a file: no limit, as it is mapped
INDEX_LIMIT = 16 << 20  # bytes of the pickle that lists the tensors
OLD_FORMAT = pickle.dumps(0x1950A86A20F9469CFC6C, protocol=2)  # its first bytes
STANDARD = ("torch.", "collections.", "builtins.", "__builtin__.", "_codecs.")


class StandIn:
    """Replaces an object of a foreign class; it holds nothing and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_torch_file(
    path: Path, foreign: Mapping[str, type] | None = None, mapped: bool = True
) -> Any:
    """Read a file of `torch.save` that holds tensors and builtin objects, to the CPU.

    Args:
        path: path of the file.
        foreign: prefixes of the names of foreign classes, with the class that replaces each, such
            as `StandIn`. If this is given, torch's old file format (before version 1.6) is read as
            well.
        mapped: leave the tensors in the file until they are needed. If False, they are copied, so
            that the file may be written anew.

    Raises:
        UserError: the file is missing, cannot be read, has a damaged record, was not written by
            torch, or names other classes.
    """
    try:
        open_file(path, LARGEST).close()
    except UserError as error:
        raise UserError(f"checkpoint {error}") from None
    names = _old_format_names(path)
    if names is None:
        return _read_zip(path, foreign, mapped)
    if foreign is None:
        raise UserError(
            f"checkpoint {path} is in torch's old file format, which this framework never wrote; "
            "a checkpoint that the authors released is read by `lightning import-checkpoint`"
        )
    return _load(path, _stand_ins(path, names, foreign), mmap=False)


def _damaged(path: Path, reason: str) -> UserError:
    if kind_of(path) not in (CHECKPOINT, PICKLE, ZIP, UNKNOWN, EMPTY):
        reason = f"it is {described(path)}"
    return UserError(f"checkpoint {path} is damaged or not a checkpoint: {reason}")


def _read_zip(path: Path, foreign: Mapping[str, type] | None, mapped: bool) -> Any:
    expected = _tensor_records(path)
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception as error:  # it raises anything when the pickle is damaged
        raise _damaged(path, _reason(error)) from None
    allowed = _stand_ins(path, names, foreign)
    claimed: list[int] = []

    def remember(storage: Any, location: str) -> Any:
        claimed.append(storage.nbytes())
        return storage

    content = _load(path, allowed, mmap=True, map_location=remember)
    claimed = [size for size in claimed if size]  # torch reads an empty one at every mention
    if claimed != [size for size in expected if size]:
        raise _damaged(path, "its tensors are not as large as their records")
    return content if mapped else _load(path, allowed, mmap=False)


def _tensor_records(path: Path) -> list[int]:
    """Check all records of a zip archive, and return the sizes of its tensors in torch's order.

    torch itself checks no checksums, and ignores compression when it maps a file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {record.filename: record.file_size for record in archive.infolist()}
            if len(sizes) < len(archive.infolist()):
                raise zipfile.BadZipFile("two records of one name")
            for record in archive.infolist():
                if record.compress_type != zipfile.ZIP_STORED or record.flag_bits & 1:
                    raise zipfile.BadZipFile("compressed or encrypted, as torch writes none")
            index = [name for name in sizes if name.endswith("/data.pkl")]
            if len(index) != 1:
                raise zipfile.BadZipFile("a zip archive, but not one that torch wrote")
            if sizes[index[0]] > INDEX_LIMIT:
                raise zipfile.BadZipFile(f"an index of {sizes[index[0]]:,} bytes")
            if (bad := archive.testzip()) is not None:
                raise zipfile.BadZipFile(f"record {quote(bad)} has another checksum")
    except zipfile.BadZipFile as error:
        reason = _reason(error).replace("File is not a zip file", "cut short, or no zip archive")
        raise _damaged(path, reason) from None
    except OSError as error:
        if error.errno not in (errno.EINVAL, None):  # an error of the disk, not of the content
            raise UserError(f"checkpoint {path}: cannot be read ({error.strerror})") from None
        raise _damaged(path, _reason(error)) from None
    except Exception as error:  # zipfile raises anything when it reads a damaged file
        raise _damaged(path, _reason(error)) from None
    prefix = index[0].removesuffix("data.pkl") + "data/"
    keys = sorted(int(n.removeprefix(prefix)) for n in sizes if _is_number(n, prefix))
    return [sizes[f"{prefix}{key}"] for key in keys]


def _is_number(name: str, prefix: str) -> bool:
    key = name.removeprefix(prefix)
    return name.startswith(prefix) and key.isascii() and key.isdecimal() and key == str(int(key))


def _stand_ins(path: Path, names: list[str], foreign: Mapping[str, type] | None) -> list[Any]:
    """Replace the foreign classes among `names`, in the form that torch's `safe_globals` takes."""
    if foreign is None and names:
        raise UserError(
            f"checkpoint {path} holds objects other than tensors and builtins "
            f"({listed(names)}); a checkpoint that the authors released is read by `lightning "
            "import-checkpoint`"
        )
    replaced = {
        name: kind
        for name in names
        for prefix, kind in (foreign or {}).items()
        if name.startswith(prefix)
    }
    strangers = [name for name in names if name not in replaced]
    if strangers:
        raise UserError(
            f"{path} names {listed(strangers)}, which no released checkpoint of the configured "
            "model does; it is not opened. If it is of another model, name that with --model"
        )
    return [(kind, name) for name, kind in replaced.items()]


def _load(path: Path, allowed: list[Any], mmap: bool, map_location: Any = "cpu") -> Any:
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            # torch 2.14 says so of each sparse tensor, which no checkpoint may hold anyway
            warnings.filterwarnings("ignore", message="Validating sparse tensor invariants")
            return torch.load(path, map_location=map_location, weights_only=True, mmap=mmap)
    except pickle.UnpicklingError:  # torch's own message is a page long
        raise _damaged(path, "its index of contents cannot be read") from None
    except Exception as error:  # the unpickler raises anything when it reads a damaged file
        raise _damaged(path, _reason(error)) from None


def _reason(error: Exception) -> str:
    """Return the first line of an error, cut to 160 characters."""
    return shorten(first_line(error), 160)


def _old_format_names(path: Path) -> list[str] | None:
    """List the foreign classes that a file of torch's old format names; None for other files.

    Such a file is a sequence of pickles: a fixed number, a version, facts about the machine, the
    content, the keys of its storages. Only their opcodes are read, and nothing is executed.
    """
    names: list[str] = []
    with open(path, "rb") as file:
        if file.read(len(OLD_FORMAT)) != OLD_FORMAT:
            return None
        with suppress(Exception):  # a damaged pickle; reading the content will say so
            for _ in range(4):
                for opcode, argument, _ in pickletools.genops(file):
                    if opcode.name == "GLOBAL":
                        names.append(str(argument).replace(" ", "."))
    return sorted({name for name in names if not name.startswith(STANDARD)})
