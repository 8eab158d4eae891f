"""The interface of all stores of features, and the checks that every store makes on reading."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data_modules.readers.captions import split_caption_id
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import normal_id, plural, quote, shorten

_CHECK = "Run `lightning data check` to find all such ids"
SHOWN = 5  # ids that a message names


class FeatureStore(ABC):
    """Features by id. It can be pickled, and used in forked or spawned loading processes.

    A subclass sets `path` and `dim`, and defines `keys`, `has` and `load`. A user of the store
    writes `id in store` and `store[id]`, which also find an id in its other spellings: `v#enc#0`
    for `v#0`, and ids that differ only by Unicode's normal form.

    Attributes:
        path: the file or folder.
        dim: feature size, the same for all ids.
    """

    path: Path
    dim: int
    _spellings: dict[str, str] | None = None  # normal form of each id beyond ASCII -> the id

    @property
    def paths(self) -> list[Path]:
        """All files and folders that are read; packed features are stale if one of them changes."""
        return [self.path]

    @property
    def fingerprint(self) -> str:
        """A name of the encoder that made the features; "" if the files do not say."""
        return ""

    @abstractmethod
    def keys(self) -> list[str]:
        """List all ids, as the files spell them."""

    @abstractmethod
    def has(self, name: str) -> bool:
        """Return whether an id is there in exactly this spelling."""

    @abstractmethod
    def load(self, name: str) -> np.ndarray:
        """Read the features of an id that is there: (rows, dim), or (dim,) for a single row.

        The caller checks the shape, and refuses values that are not finite.
        """

    def shape_of(self, name: str) -> tuple[int, ...]:
        """Return the shape of an id's features; override it where that takes no reading."""
        return self.load(name).shape

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.find(key) is not None

    def __getitem__(self, key: str) -> np.ndarray:
        """Return the features of an id, (N, dim) float32; a stored vector (dim,) is one row.

        Raises:
            UserError: the id is missing, or its features have no rows, another size than `dim` or
                values that are not finite.
        """
        name = self._name(key)
        with np.errstate(over="ignore"):  # too large for float32: refused as infinite
            values = np.asarray(self.load(name), np.float32)
        if not self._count(name, values.shape):
            raise UserError(f"{self.path}: {quote(name)} has no rows. {_CHECK}")
        if not np.isfinite(values).all():
            raise UserError(f"{self.path}: {quote(name)} holds NaN or infinite values. {_CHECK}")
        return values.reshape(-1, self.dim)

    def rows(self, key: str) -> int:
        """Return how many rows an id has (perhaps 0)."""
        name = self._name(key)
        return self._count(name, self.shape_of(name))

    def refuse_missing(self, ids: Iterable[str], noun: str) -> None:
        """Refuse features that lack an id which is needed.

        Args:
            ids: all ids that are needed.
            noun: the kind of thing that has an id: "video" or "caption".

        Raises:
            UserError: says how many are missing, and names some.
        """
        missing = [key for key in ids if key not in self]
        if missing:
            raise UserError(f"{self.path} has no features of {some(missing, noun)}. {_CHECK}")

    def find(self, key: str) -> str | None:
        """Return the spelling of an id in the files; None if it is not there."""
        forms = caption_id_forms(key)
        exact = next((form for form in forms if self.has(form)), None)
        if exact is not None:
            return exact
        if self._spellings is None:
            names = (name for name in self.keys() if not name.isascii())
            self._spellings = {normal_id(name): name for name in names}
        known = self._spellings
        return next((known[name] for form in forms if (name := normal_id(form)) in known), None)

    def _name(self, key: str) -> str:
        name = self.find(key)
        if name is None:
            raise UserError(f"{self.path} has no features of {quote(key)}. {_CHECK}")
        return name

    def _count(self, name: str, shape: tuple[int, ...]) -> int:
        if len(shape) not in (1, 2) or shape[-1] != self.dim:
            raise UserError(
                f"{self.path}: {quote(name)} has shape {shape}, not (rows, {self.dim}). {_CHECK}"
            )
        return shape[0] if len(shape) == 2 else 1


def caption_id_forms(key: str) -> tuple[str, ...]:
    """List the spellings of a caption id, as given first: `v#enc#i` and `v#i` are one caption."""
    parts = split_caption_id(key)
    if parts is None:
        return (key,)
    video, separator, number = parts
    return key, f"{video}{'#' if separator == '#enc#' else '#enc#'}{number}"


def some(ids: Sequence[str], noun: str) -> str:
    """Write a count and at most five ids for a terminal: `7 videos (a, b, c, d, e, ...)`."""
    names = [shorten(name) if name.isprintable() and name else quote(name) for name in ids[:SHOWN]]
    return f"{plural(len(ids), noun)} ({', '.join(names)}{', ...' if len(ids) > SHOWN else ''})"
