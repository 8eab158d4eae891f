"""The verbs that train nothing. Each is a function: its signature is the verb's command line."""

import difflib
import inspect
import re
from argparse import Action
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

from jsonargparse import ArgumentParser

from dreamprvr.cli import (
    compare,
    data_verbs,
    feature_verbs,
    import_verb,
    library_verbs,
    up_verb,
)
from dreamprvr.cli.main import TRAINER_VERBS
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import meant, message_line, quote, shorten

FIT_OPTIONS = "fit_options"
"""Parameter that takes the options of `fit`, in the functions of verbs that allow them."""
FURTHER = "Further options: --config FILE, --data.root DIR, and all others of `fit`."

VERBS: dict[str, Callable[..., int]] = {
    "data check": data_verbs.check_data,
    "data convert": data_verbs.convert,
    "data simulate": data_verbs.simulate_data,
    "data baselines": data_verbs.baselines,
    "datasets": data_verbs.list_datasets,
    "models": data_verbs.list_models,
    "compare": compare.compare_models,
    "import-checkpoint": import_verb.import_published,
    "up": up_verb.bring_up,
    "extract": feature_verbs.extract_videos,
    "extract-text": feature_verbs.extract_words,
    "index": library_verbs.index_features,
    "search": library_verbs.search_library,
    "library": library_verbs.manage_library,
    "serve": library_verbs.serve_library,
}

_OPTION = re.compile(r"-(?!\d|$)")  # neither a negative number nor a lone dash
_SHORT = {"output": "-o", "k": "-k"}


def run_verb(words: list[str]) -> int:
    """Run a verb and return its exit code.

    Args:
        words: the command line: one or two words of the verb, then its arguments.

    Raises:
        UserError: there is no such verb, or it was given bad input.
    """
    name, rest = words[0], words[1:]
    if name == "data" and rest and not rest[0].startswith("-"):
        name, rest = f"data {rest[0]}", rest[1:]
    group = {verb: run for verb, run in VERBS.items() if verb.startswith(f"{name} ")}
    if group and rest in ([], ["-h"], ["--help"]):
        for verb, run in group.items():
            print(f"lightning {verb:<16}{(inspect.getdoc(run) or '').partition(chr(10))[0]}")
        return 0
    if group:
        raise UserError(f"{name} alone is no verb: give one of {', '.join(group)}")
    if name not in VERBS:
        near = meant(name, [*VERBS, *sorted(TRAINER_VERBS)])
        raise UserError(f"no verb {quote(name)}{near}; `lightning --help` lists them")
    function = VERBS[name]
    return function(**VerbParser(name, function).values(rest))


class VerbParser(ArgumentParser):
    """Reads the arguments of a function from the words of a command line.

    Parameters before the `*` of the signature are positional, those after it are options. The
    texts of --help are those of the docstring. jsonargparse would read a list or a flag from one
    word of JSON, so `add_argument` gives these the usual form: a list of paths takes several words,
    a list of texts is an option that is repeated, and a flag takes no word.

    Args:
        verb: name of the verb, such as "data check".
        function: runs the verb.
    """

    def __init__(self, verb: str, function: Callable[..., int]) -> None:
        self._parameters = inspect.signature(function).parameters
        self._takes_fit_options = FIT_OPTIONS in self._parameters
        super().__init__(
            prog=f"lightning {verb}",
            description=(inspect.getdoc(function) or "").partition("\n\nArgs:")[0],
            epilog=FURTHER if self._takes_fit_options else None,
            allow_abbrev=False,
            parser_mode="json",  # as YAML, a path would have to be UTF-8
        )
        self.add_function_arguments(
            function, as_group=False, as_positional=True, skip={FIT_OPTIONS}
        )

    def add_argument(self, *names: str, **settings: Any) -> Action:
        """Add the argument of a parameter, or --help."""
        name = names[0].lstrip("-")
        parameter = self._parameters.get(name)
        if parameter is None:
            return super().add_argument(*names, **settings)
        hint = _type_of(parameter)
        several = get_origin(hint) is list
        item = get_args(hint)[0] if several else hint
        required = parameter.default is parameter.empty
        options: dict[str, Any] = {"help": settings["help"], "type": item}
        if parameter.kind is not parameter.KEYWORD_ONLY:  # its default, if any, is None
            if several or not required:
                options["nargs"] = "?" if not several else "+" if required else "*"
            return super().add_argument(name, **options)
        if several and item is Path:
            options["nargs"] = "+"
        elif several or item is bool:
            del options["type"]
            options["action"] = "append" if several else "store_true"
        options |= {"required": True} if required else {"default": parameter.default}
        short = [_SHORT[name]] if name in _SHORT else []
        return super().add_argument(*short, f"--{name}", **options)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise the message as one line."""
        line = shorten(message_line(message), 300)
        raise UserError(f"{self.prog}: {line}; see {self.prog} --help") from ex

    def values(self, words: list[str]) -> dict[str, Any]:
        """Return the value of each parameter.

        Args:
            words: the command line after the verb.

        Raises:
            UserError: an option is unknown or missing, or has a bad value.
        """
        own, rest = self._split(words)
        if self._takes_fit_options:
            return {**self.parse_args(own).as_dict(), FIT_OPTIONS: rest}
        self._refuse(rest)
        return self.parse_args(own).as_dict()

    def _split(self, words: list[str]) -> tuple[list[str], list[str]]:
        """Split a verb's own words from those that are left for the parser of `fit`.

        That parser needs Lightning, which takes seconds to import, and argparse would take the
        value of an option that it does not know for a positional argument. Words after "--" are no
        options, whatever they begin with.
        """
        own: list[str] = []
        rest: list[str] = []
        value_goes_to = own
        end = words.index("--") if "--" in words else len(words)
        for word in words[:end]:
            if not _OPTION.match(word):
                value_goes_to.append(word)
                value_goes_to = own
            elif self._is_own(word):
                own.append(word)
                value_goes_to = own
            else:
                self._refuse_misspelt(word.partition("=")[0])
                rest.append(word)
                value_goes_to = own if "=" in word else rest
        return own + words[end:], rest

    def _is_own(self, word: str) -> bool:
        """Return whether a word is an option of this verb; refuse -oFILE for -o FILE."""
        if word.startswith("--"):
            return word.partition("=")[0] in self._option_string_actions
        short = word[:2]
        if short in self._option_string_actions and word != short:
            raise UserError(
                f"{self.prog}: {word} may be an option or a file: write {short} {word[2:]} for "
                f"the option, or ./{word} for a file of that name"
            )
        return short in self._option_string_actions

    def _refuse_misspelt(self, option: str) -> None:
        known = [name for name in self._option_string_actions if name.startswith("--")]
        near = [name for name in known if name.startswith(option)]
        near += difflib.get_close_matches(option, known, n=1, cutoff=0.8)
        if near:
            raise UserError(
                f"{self.prog}: unknown option {shorten(option)} (did you mean {near[0]}?)"
            )

    def _refuse(self, rest: list[str]) -> None:
        """Raise if words are left that nobody parses."""
        if rest:
            raise UserError(
                f"{self.prog}: unknown option {shorten(rest[0])} (put -- before names that begin "
                "with a dash)"
            )


def _type_of(parameter: inspect.Parameter) -> Any:
    """Return the type of a parameter; None is a default at most, and no word means it."""
    hint = parameter.annotation
    return get_args(hint)[0] if type(None) in get_args(hint) else hint
