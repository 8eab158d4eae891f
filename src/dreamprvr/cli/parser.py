"""The parser of the command line: errors in one line, and the names nearest to unknown ones."""

import difflib
import inspect
from argparse import ArgumentError
from collections.abc import Iterator
from typing import Any, NoReturn

from lightning.pytorch.cli import LightningArgumentParser

from data_modules.base import PRVRDataModule
from dreamprvr.core.errors import UserError

LONGEST = 600  # characters of a message


class OneLineParser(LightningArgumentParser):
    """A parser that raises `UserError` and does not print the usage.

    jsonargparse makes one more parser of this kind for the settings of each class, which neither
    prints nor ends the program, and whose keys stand below that of the class.

    Attributes:
        of_class: name of the class whose settings alone are read; empty for a whole command line.
    """

    of_class = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # an abbreviation may become ambiguous with a new option
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def add_class_arguments(self, theclass: Any, *args: Any, **kwargs: Any) -> Any:
        """Add the settings of a class, and note its name if there are no others."""
        if not self.exit_on_error and not self.of_class:
            self.of_class = getattr(theclass, "__name__", str(theclass))
        return super().add_class_arguments(theclass, *args, **kwargs)

    def parse_args(self, args: Any = None, *rest: Any, **options: Any) -> Any:
        """Parse options; for a class, its settings, of which an unknown one is refused plainly."""
        if self.of_class:
            for word in args:
                refuse_unknown(self, word[2:].partition("=")[0].rstrip("+"))
            # jsonargparse has read null, and writes it as Python does
            args = [f"{word[:-4]}null" if word.endswith("=None") else word for word in args]
        return super().parse_args(args, *rest, **options)

    def parse_object(self, cfg_obj: Any, *rest: Any, **options: Any) -> Any:
        """Parse settings by name; for a class, an unknown one is refused plainly."""
        if self.of_class:
            for key in setting_keys(self, namespace_items(cfg_obj)):
                refuse_unknown(self, key)
        return super().parse_object(cfg_obj, *rest, **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise an error of the parser as one line."""
        cause: BaseException | None = ex
        while cause is not None:  # a message of ours says most
            if isinstance(cause, UserError):
                raise cause
            cause = cause.__cause__
        if not self.exit_on_error:
            # an argument of a class: the outer parser adds the key that it belongs to
            raise ArgumentError(None, str(message)) from ex
        line = " ".join(str(message).split())
        # the mistake stands first and the whole value last, so the end may be cut
        raise UserError(line if len(line) <= LONGEST else f"{line[:LONGEST]}[cut]") from None


def refuse_unknown(parser: Any, key: str, where: str = "") -> None:
    """Refuse a setting that does not exist, and name the most similar one.

    Settings of classes are left to the parser of the class.

    Args:
        parser: parser of the verb, or of a class.
        key: name of the setting.
        where: name of the file or option with a colon, for the message.

    Raises:
        UserError: the setting does not exist.
    """
    known = _known_keys(parser)
    groups = {name.rpartition(".")[0] for name in known}
    parents = {name for name in known - groups if key.startswith(f"{name}.")}
    if key in known or parents or key == "dict_kwargs":
        return
    of_data = [f"data.{name}" for name in inspect.signature(PRVRDataModule).parameters]
    if parser.of_class:
        of_data, where = [], f"{parser.of_class} has no setting "
    else:
        where += "unknown key "
    names = sorted(known - groups) + of_data
    near = (
        sorted((name for name in names if name.startswith(key)), key=len)
        or [name for name in names if name.rpartition(".")[2] == key]
        or difflib.get_close_matches(key, names, n=1, cutoff=0.8 if parser.of_class else 0.6)
    )
    raise UserError(f"{where}{key}" + (f" (did you mean {near[0]}?)" if near else ""))


def _known_keys(parser: Any) -> set[str]:
    options = {name.lstrip("-").rstrip("+") for name in parser._option_string_actions}
    return {name for name in options if not name.endswith(".help")}


def setting_keys(parser: Any, content: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the names of a configuration's settings; a class counts as one setting."""
    groups = {name.rpartition(".")[0] for name in _known_keys(parser)}
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name in groups:
            yield from setting_keys(parser, value, f"{name}.")
        else:
            yield name


def namespace_items(value: Any) -> dict[str, Any]:
    """Return a jsonargparse namespace as a dictionary."""
    return value.as_dict() if hasattr(value, "as_dict") else dict(value)
