"""What all stores of features have in common: an interface, and what is checked on reading."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from data_modules.readers.captions import split_caption_id
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import normal_id, quote, shorten

_CHECK = "Run `lightning data check` to find all such ids"
SHOWN = 5  # ids that a message names


def caption_id_forms(key: str) -> tuple[str, ...]:
    """List the spellings of a caption id, as given first: `v#enc#i` and `v#i` are one caption."""
    parts = split_caption_id(key)
    if parts is None:
        return (key,)
    video, separator, number = parts
    return key, f"{video}{'#' if separator == '#enc#' else '#enc#'}{number}"


class FeatureStore(ABC):
    """Features by id. Safe to pickle and to use in forked or spawned workers.

    Attributes:
        path: the file or folder.
        dim: feature size, the same for all ids.
    """

    path: Path
    dim: int
    _spellings: dict[str, str] | None = None  # of ids beyond ASCII, by normal form

    @property
    def fingerprint(self) -> str:
        """Of the encoder that made the features; "" if the file does not say."""
        return ""

    @abstractmethod
    def keys(self) -> list[str]:
        """All ids, as the file spells them."""

    @abstractmethod
    def _has(self, name: str) -> bool: ...

    @abstractmethod
    def _shape(self, name: str) -> tuple[int, ...]: ...

    @abstractmethod
    def _read(self, name: str) -> np.ndarray: ...

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._find(key) is not None

    def __getitem__(self, key: str) -> np.ndarray:
        """The features of an id, (N, dim) float32; a stored vector (dim,) is one row.

        Raises:
            UserError: if the id is missing, or its features have no rows, another size than `dim`
                or values that are not finite.
        """
        name = self._name(key)
        values = self._read(name)
        if not self._count(name, values.shape):
            raise UserError(f"{self.path}: {quote(name)} has no rows. {_CHECK}")
        if not np.isfinite(values).all():
            raise UserError(f"{self.path}: {quote(name)} holds NaN or infinite values. {_CHECK}")
        return values.reshape(-1, self.dim)

    def rows(self, key: str) -> int:
        """How many rows an id has (perhaps 0), without reading them."""
        name = self._name(key)
        return self._count(name, self._shape(name))

    def refuse_missing(self, ids: Iterable[str], noun: str) -> None:
        """Refuse features that lack an id which is needed.

        Args:
            ids: all that are needed.
            noun: what an id stands for: "video" or "caption".

        Raises:
            UserError: says how many are missing, and names some.
        """
        missing = [key for key in ids if key not in self]
        if missing:
            raise UserError(f"{self.path} has no features of {some(missing, noun)}. {_CHECK}")

    def _count(self, name: str, shape: tuple[int, ...]) -> int:
        if len(shape) not in (1, 2) or shape[-1] != self.dim:
            raise UserError(
                f"{self.path}: {quote(name)} has shape {shape}, not (rows, {self.dim}). {_CHECK}"
            )
        return shape[0] if len(shape) == 2 else 1

    def _find(self, key: str) -> str | None:
        """The spelling in the file: the id's own, or one that differs by Unicode's normal form."""
        forms = caption_id_forms(key)
        found = next((form for form in forms if self._has(form)), None)
        if found is not None:
            return found
        if self._spellings is None:
            names = (name for name in self.keys() if not name.isascii())
            self._spellings = {normal_id(name): name for name in names}
        known = self._spellings
        return next((known[name] for form in forms if (name := normal_id(form)) in known), None)

    def _name(self, key: str) -> str:
        name = self._find(key)
        if name is None:
            raise UserError(f"{self.path} has no features of {quote(key)}. {_CHECK}")
        return name


def plural(count: int, noun: str) -> str:
    """`1 video`, `2,000 videos`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def some(ids: Sequence[str], noun: str) -> str:
    """`7 videos (a, b, c, d, e, ...)`: the count, and at most five ids, fit for a terminal."""
    names = [shorten(name) if name.isprintable() and name else quote(name) for name in ids[:SHOWN]]
    return f"{plural(len(ids), noun)} ({', '.join(names)}{', ...' if len(ids) > SHOWN else ''})"
