"""Checks of settings: what a configuration or a checkpoint gives, before anything is made of it."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.models.parts import PartSetting, part_path

LARGEST = 1_000_000  # of all numbers of a network
MOST_BRANCHES = 1000  # numbers in a list


def check_settings(config: Any, section: str, **least: float) -> None:
    """Refuse settings of another type, and numbers that no network has.

    Args:
        config: a dataclass of settings.
        section: its name in a configuration, for messages.
        least: the smallest value allowed of some settings, by name.

    Raises:
        UserError: names the setting, the value and what is allowed.
    """
    for field in fields(config):
        _check_type(f"{section}.{field.name}", field.type, getattr(config, field.name))
    for name, smallest in least.items():
        if not getattr(config, name) >= smallest:  # NaN is refused too
            raise UserError(f"{section}.{name} is {getattr(config, name)}; at least {smallest}")


def _check_type(name: str, kind: Any, value: Any) -> None:
    """Refuse a value of another type than a setting's annotation; other classes check themselves.

    Args:
        name: name of the setting, for the message.
        kind: annotation of the setting.
        value: what is given, of any type.
    """
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UserError(f"{name} is {quote(value)}; one of {', '.join(get_args(kind))}")
    elif get_origin(kind) is tuple:
        if not isinstance(value, (tuple, list)) or len(value) > MOST_BRANCHES:
            raise UserError(f"{name} is {quote(value)}; up to {MOST_BRANCHES} numbers")
        for width in value:
            _check_type(name, float, width)
    elif kind == PartSetting:
        part_path(value)
    elif get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise UserError(f"{name} is {quote(value)}; values by name")
        for key, item in value.items():
            _check_type(f"{name}.{key}", get_args(kind)[1], item)
    elif kind is bool:
        if not isinstance(value, bool):
            raise UserError(f"{name} is {quote(value)}; true or false")
    elif kind in (int, float):
        allowed = int if kind is int else (int, float)
        if isinstance(value, bool) or not isinstance(value, allowed):
            what = "a whole number" if kind is int else "a number"
            raise UserError(f"{name} is {quote(value)}; it must be {what}")
        if abs(value) > LARGEST:
            raise UserError(f"{name} is {quote(value)}; at most {LARGEST:,}")


def read_settings(kind: type, values: Any, section: str) -> Any:
    """Make a settings class from a dictionary; values that are missing are the defaults.

    Args:
        kind: the class.
        values: the dictionary, or whatever stands in its place.
        section: its name in a configuration, for messages.

    Raises:
        UserError: it is no dictionary, or has an unknown name or a value that is not allowed.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"there are none for the {section}")
    known = {field.name for field in fields(kind)}
    if unknown := [quote(name) for name in values if name not in known]:
        raise UserError(f"unknown: {', '.join(unknown[:5])}")
    lists = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return kind(**lists)
