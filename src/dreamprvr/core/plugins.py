"""Classes that installed packages register by entry points, those of this project included."""

import warnings
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

T = TypeVar("T")


def installed(group: str) -> dict[str, EntryPoint]:
    """List the entry points of a group by name, sorted."""
    return {point.name: point for point in sorted(entry_points(group=group), key=lambda p: p.name)}


def import_installed(group: str, base: type[T], noun: str) -> dict[str, type[T]]:
    """Import every class of a group by name, and leave a broken one out with a warning.

    Args:
        group: group of the entry points.
        base: class whose subclasses are taken.
        noun: word for a class in warnings, say "model".
    """
    classes: dict[str, type[T]] = {}
    for name, point in installed(group).items():
        try:
            loaded = point.load()
        except Exception as error:  # a package of others may fail in any way
            warnings.warn(f"{noun} {name} ({point.value}) is broken: {error}", stacklevel=3)
            continue
        if isinstance(loaded, type) and issubclass(loaded, base):
            classes[name] = loaded
        else:
            warnings.warn(f"{noun} {name} ({point.value}) is not a {base.__name__}", stacklevel=3)
    return classes
