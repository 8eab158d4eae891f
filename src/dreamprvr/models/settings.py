"""Checks of the settings that a configuration or a checkpoint gives, before a model is made."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.models.parts import PartSetting, part_path

LARGEST = 1_000_000  # largest number that a setting may have
LONGEST = 1000  # largest number of numbers in a list


def check_settings(config: Any, section: str, **least: float) -> None:
    """Refuse settings of a wrong type, and numbers that are too small or too large.

    Args:
        config: the settings, a dataclass.
        section: name of the settings in a configuration, for messages.
        least: the smallest value that a setting may have, by its name.

    Raises:
        UserError: a setting is not allowed; the message names it and says what is allowed.
    """
    for field in fields(config):
        _check_type(f"{section}.{field.name}", field.type, getattr(config, field.name))
    for name, smallest in least.items():
        if not getattr(config, name) >= smallest:  # NaN is refused too
            raise UserError(f"{section}.{name} is {getattr(config, name)}; at least {smallest}")


def _check_type(name: str, kind: Any, value: Any) -> None:
    """Refuse a value that is not of the type of its setting.

    Args:
        name: name of the setting, for the message.
        kind: type of the setting, from its annotation; unknown types are not checked.
        value: the value, of any type.
    """
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UserError(f"{name} is {quote(value)}; one of {', '.join(get_args(kind))}")
    elif get_origin(kind) is tuple:
        if not isinstance(value, (tuple, list)) or len(value) > LONGEST:
            raise UserError(f"{name} is {quote(value)}; up to {LONGEST} numbers")
        for width in value:
            _check_type(name, float, width)
    elif kind in (PartSetting, PartSetting | None):
        if kind == PartSetting or value is not None:
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
    """Make settings from a dictionary; a missing setting takes its default.

    Args:
        kind: class of the settings.
        values: the dictionary, or any value that stands in its place.
        section: name of the settings in a configuration, for messages.

    Raises:
        UserError: the value is no dictionary, or one of its settings is unknown or not allowed.
    """
    if not isinstance(values, Mapping):
        raise UserError(f"there are none for the {section}")
    known = {field.name for field in fields(kind)}
    if unknown := [quote(name) for name in values if name not in known]:
        raise UserError(f"unknown: {', '.join(unknown[:5])}")
    lists = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    return kind(**lists)
