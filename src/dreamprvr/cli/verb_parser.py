"""Parses the verbs that train nothing: a few options of their own, and all those of `fit`."""

import argparse
import difflib
import re
from typing import NoReturn

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import shorten

_OPTION = re.compile(r"-(?!\d|$)")  # neither a negative number nor a lone dash


class VerbParser(argparse.ArgumentParser):
    """Knows a verb's own options, and leaves those of `fit` to be parsed by `configured`.

    Args:
        verb: e.g. "data check".
        description: what the verb does, for its help.
        configured: whether the options of `fit` are allowed as well.
    """

    def __init__(self, verb: str, description: str, configured: bool = True) -> None:
        further = "Further options: --config FILE, --data.root DIR, and all others of `fit`."
        super().__init__(
            prog=f"lightning {verb}", description=description,
            epilog=further if configured else None, allow_abbrev=False,
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        """Raise the message as one line."""
        raise UserError(f"{self.prog}: {shorten(message, 300)}; see {self.prog} --help")

    def split(self, arguments: list[str]) -> tuple[argparse.Namespace, list[str]]:
        """The verb's own options, parsed, and the words that are left for `fit`'s parser.

        argparse's `parse_known_args` would take the value of an option that it does not know for
        a positional argument. Words after "--" are no options, whatever they begin with.

        Raises:
            UserError: an own option is misspelt, missing or has a bad value.
        """
        own: list[str] = []
        rest: list[str] = []
        value_goes_to = own
        end = arguments.index("--") if "--" in arguments else len(arguments)
        for word in arguments[:end]:
            if not _OPTION.match(word):
                value_goes_to.append(word)
                value_goes_to = own
            elif self._is_own(word):
                self._refuse_joined(word)
                own.append(word)
                value_goes_to = own
            else:
                self._refuse_misspelt(word.partition("=")[0])
                rest.append(word)
                value_goes_to = own if "=" in word else rest
        return self.parse_args(own + arguments[end:]), rest

    def only(self, arguments: list[str]) -> argparse.Namespace:
        """The verb's own options where there may be no others."""
        options, rest = self.split(arguments)
        self.refuse(rest)
        return options

    def refuse(self, rest: list[str]) -> None:
        """Raise if words are left that nobody parses."""
        if rest:
            raise UserError(f"{self.prog}: unknown option {shorten(rest[0])}")

    def _is_own(self, word: str) -> bool:
        name = word.partition("=")[0] if word.startswith("--") else word[:2]
        return name in self._option_string_actions

    def _refuse_joined(self, word: str) -> None:
        """Refuse -oFILE for -o FILE: it may as well be the name of a file."""
        if not word.startswith("--") and len(word) > 2:
            raise UserError(
                f"{self.prog}: {word} may be an option or a file: write {word[:2]} {word[2:]} for "
                f"the option, or ./{word} for a file of that name"
            )

    def _refuse_misspelt(self, option: str) -> None:
        known = [name for name in self._option_string_actions if name.startswith("--")]
        near = [name for name in known if name.startswith(option)]
        near += difflib.get_close_matches(option, known, n=1, cutoff=0.8)
        if near:
            raise UserError(
                f"{self.prog}: unknown option {shorten(option)} (did you mean {near[0]}?)"
            )
