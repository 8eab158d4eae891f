"""jsonargparse's messages, in one clear line each."""

import difflib
import re
from collections.abc import Callable, Iterable

from dreamprvr.core.text import shorten

DATASETS = "`lightning datasets` lists those that are installed"
LONGEST = 700  # characters: a message may quote a whole value
NO_DATA = "no data set: give --config FILE (say --config tvr.yaml) or --data CLASS"

_KEY = r"['\"]?([\w.]+)['\"]?"
_UNKNOWN_KEYS = (
    rf"[Uu]nrecognized arguments: --{_KEY}",
    rf"does not accept option {_KEY}",
    rf"Option {_KEY} is not accepted",
    rf"[Kk]ey {_KEY} is not expected",
    rf"No action for key {_KEY}",
)
_CLASS_KEYS = ("class_path", "init_args")


def _nested(found: re.Match[str]) -> str:
    """An unknown argument of a class, said by the parser of that class: add where it belongs."""
    owner, key, near = found.groups()
    # on the command line init_args may be left out
    prefix = owner if "NestedArg(" in found.string else f"{owner}.init_args"
    if not near and (keys := difflib.get_close_matches(key.split(".")[0], _CLASS_KEYS, n=1)):
        prefix, near = owner, keys[0]
    return f"unknown key {prefix}.{key}" + (f" (did you mean {prefix}.{near}?)" if near else "")


_RULES: tuple[tuple[str, Callable[[re.Match[str]], str]], ...] = (
    (
        r"Parser key \"([\w.]+)\": .*?unknown key ([\w.]+)(?: \(did you mean ([\w.]+)\?\))?",
        _nested,
    ),
    (
        r"Import path (\S+) does not correspond to a subclass of PRVRDataModule",
        lambda m: f"data: {m[1]} is not a data set (a subclass of PRVRDataModule); {DATASETS}",
    ),
    (
        r"Import path does not correspond to a subclass of PRVRDataModule.*Given value: (\S+)",
        lambda m: f"data: {m[1]} is not a data set (a subclass of PRVRDataModule); {DATASETS}",
    ),
    (
        r"Parser key \"data\": .*Expected a dot import path string: (\S+)",
        lambda m: f"data: there is no data set {m[1]}; {DATASETS}",
    ),
    (
        r"Parser key \"([\w.]+)\": .*Expected a dot import path string: (\S+)",
        lambda m: f"{m[1]}: there is no class {m[2]}",
    ),
    (
        r"Parser key \"([\w.]+)\": .*class_path '([\w.]+)': "
        r"the following arguments are required: (\w+(?:, \w+)*)",
        lambda m: f"{m[1]}: {m[2]} must be given {m[3]}",
    ),
    (r"arguments are required: (?:\w+\.)?data$", lambda m: NO_DATA),
    (r"[Kk]ey ['\"](?:\w+\.)?data['\"] is required", lambda m: NO_DATA),
    (
        # as with unknown keys, the parser of a class says what it knows
        r"Parser key \"([\w.]+)\": .*(?:class_path \S+|callable class:) (\w+: .* is no \w+)",
        lambda m: f"{m[1]}.{m[2]}",
    ),
    (
        r"Parser key \"([\w.]+)\": Expected a <class '(\w+)'>\. Got value: (.*)$",
        lambda m: f"{m[1]}: {m[3]} is no {m[2]}",
    ),
    (
        r"Parser key \"data\": Does not validate.*? Errors: - (.*?) "
        r"- Expected a <class 'NoneType'>",
        lambda m: f"data: {m[1]}",
    ),
    (
        r"Parser key \"([\w.]+)\": Does not validate against any of the Union subtypes.*?"
        r"Subtypes: (\[.*?\]) .*Given value: (.*)$",
        lambda m: f"{m[1]}: {m[3]} is not one of the types {_type_names(m[2])}",
    ),
)


def clear(message: str, known_keys: Iterable[str]) -> str:
    """One line that says what is wrong and what to do.

    Args:
        message: of jsonargparse.
        known_keys: all keys there are, to name the nearest to one that there is not.
    """
    return shorten(_clear(" ".join(message.split()), known_keys), LONGEST)


def _clear(line: str, known_keys: Iterable[str]) -> str:
    for pattern in _UNKNOWN_KEYS:
        if found := re.search(pattern, line):
            return _unknown(found[1], sorted(set(known_keys)))
    for pattern, say in _RULES:
        if found := re.search(pattern, line):
            return say(found)
    return line


def _unknown(key: str, known: list[str]) -> str:
    """Nearest are those that the key abbreviates; one of the data set may lack its prefix."""
    near = (
        sorted((name for name in known if name.startswith(key)), key=len)
        or difflib.get_close_matches(key, known, n=1)
        or difflib.get_close_matches(
            f"data.{key}", [name for name in known if name.startswith("data.")], n=1
        )
    )
    return f"unknown key {key}" + (f" (did you mean {near[0]}?)" if near else "")


def _type_names(listed: str) -> str:
    return ", ".join(re.findall(r"'(?:[\w.]*\.)?(\w+)'", listed)) or listed
