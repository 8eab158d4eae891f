"""The argument parser, with errors of one line."""

import inspect
from argparse import ArgumentError
from collections.abc import Iterator
from enum import Enum
from typing import Any, NoReturn

import yaml
from lightning.pytorch.cli import LightningArgumentParser

from data_modules.base import PRVRDataModule
from dreamprvr.cli.messages import clear
from dreamprvr.core.errors import UserError

# the default of a callback's argument may be one of these, which a config.yaml holds as plain text
yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, one: dumper.represent_data(one.value))


class OneLineParser(LightningArgumentParser):
    """Raises `UserError` in place of printing usage, and names the nearest known key."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # an abbreviation that works today is ambiguous once there is a new option
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:  # type: ignore[override]
        """Turn a parsing failure into one line."""
        if isinstance(ex, UserError):
            raise ex
        line = clear(str(message), _known_keys(self))
        if not self.exit_on_error:
            # the arguments of a class: the parser that asked adds the key that they belong to
            raise ArgumentError(None, line) from ex
        raise UserError(line) from None


def _known_keys(parser: Any) -> Iterator[str]:
    """Keys of a parser and its subcommands; of `data`, those of the base class."""
    for action in parser._actions:
        if isinstance(action.choices, dict):
            for subparser in action.choices.values():
                yield from _known_keys(subparser)
        elif action.dest == "data":
            names = inspect.signature(PRVRDataModule.__init__).parameters
            yield "data"
            yield from (f"data.{name}" for name in names if name != "self")
        else:
            yield action.dest


def namespace_items(value: Any) -> dict[str, Any]:
    """A jsonargparse namespace as a plain dictionary."""
    return value.as_dict() if hasattr(value, "as_dict") else dict(value)
