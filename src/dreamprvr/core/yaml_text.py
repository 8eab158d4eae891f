"""Read YAML strictly: one rule for configuration files, options and the records of runs.

A key that occurs twice is refused, since all but the last would be lost silently. So are values
that are nested too deeply, and aliases that stand for very many values.
"""

from typing import Any

import yaml
from jsonargparse import get_loader, set_loader
from yaml.events import CollectionEndEvent, CollectionStartEvent
from yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode

from dreamprvr.core.errors import UserError

YAML_BYTES = 2**20
"""Bytes of the largest YAML file that is read: 1 MiB."""
DEPTH = 50
"""Largest number of levels of values within values."""
VALUES = 100_000
"""Largest number of values in a text; an alias counts as the values that it stands for."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_lenient = get_loader("yaml")


def _parse(text: str, **options: Any) -> Any:
    try:
        return _lenient(text, **options)
    except TypeError:  # jsonargparse joins a single key that has no value with text
        raise yaml.YAMLError("its only key is not text") from None


def load_yaml(text: str, name: str = "") -> Any:
    """Parse YAML as jsonargparse does (1e-4 is a number, a date is text).

    Args:
        text: text to parse.
        name: name of the text for messages.

    Raises:
        UserError: it is not YAML, a key occurs twice, or it is too large with its aliases
            written out.
    """
    try:
        check_yaml(text, name)
        return _parse(text)
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{name} is not YAML: {_reason(error)}") from None


def _reason(error: Exception) -> str:
    """Say why a text is not YAML, and in which place."""
    place = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or " ".join(str(error).split())
    return f"{problem}, line {place.line + 1}, column {place.column + 1}" if place else problem


def check_yaml(text: str, name: str = "") -> None:
    """Refuse text of which parsing would lose something or take too long.

    Args:
        text: text to check.
        name: name of the text for messages.

    Raises:
        UserError: the message names the line.
        yaml.YAMLError: it is not YAML.
    """
    prefix = f"{name}, " if name else ""
    depth = 0
    for number, event in enumerate(yaml.parse(text, Loader=_Loader)):
        if isinstance(event, CollectionStartEvent):
            depth += 1
        elif isinstance(event, CollectionEndEvent):
            depth -= 1
        if depth > DEPTH or number > VALUES:
            limit = f"{DEPTH} levels deep" if depth > DEPTH else f"{VALUES:,} values"
            raise UserError(f"{prefix}line {event.start_mark.line + 1}: YAML is read up to {limit}")
    node = yaml.compose(text, Loader=_Loader)
    if isinstance(node, CollectionNode) and _size(node, prefix, {}) > VALUES:
        raise UserError(f"{prefix}its aliases stand for more than {VALUES:,} values")


def _size(node: Node, prefix: str, known: dict[int, int]) -> int:
    """Count the values of a node with its aliases written out.

    Args:
        node: node to count; its depth is limited.
        prefix: beginning of messages.
        known: sizes by id of nodes that were counted before; 0 for those that are being counted.
    """
    if id(node) in known:
        if not known[id(node)]:
            raise UserError(f"{prefix}line {node.start_mark.line + 1}: an alias within itself")
        return known[id(node)]
    if isinstance(node, ScalarNode):
        # jsonargparse parses text that stands for a list once more
        if "&" in node.value and "*" in node.value:
            _check_within(node, prefix)
        return 1
    known[id(node)] = 0
    if isinstance(node, MappingNode):
        _refuse_twice(node, prefix)
        parts = [part for pair in node.value for part in pair]
    else:
        assert isinstance(node, CollectionNode)
        parts = node.value
    known[id(node)] = 1 + sum(_size(part, prefix, known) for part in parts)
    return known[id(node)]


def _refuse_twice(node: MappingNode, prefix: str) -> None:
    lines: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        line = key.start_mark.line + 1
        name = (key.tag, key.value) if isinstance(key, ScalarNode) else ("", str(id(key)))
        if name in lines and key.tag != "tag:yaml.org,2002:merge":
            raise UserError(
                f"{prefix}line {line}: {key.value} stands twice (first in line {lines[name]}), "
                "and only one could count: join the two"
            )
        lines[name] = line


def _check_within(node: ScalarNode, prefix: str) -> None:
    where = f"{prefix}line {node.start_mark.line + 1}, within text"
    try:
        check_yaml(node.value, where)
    except yaml.YAMLError:
        return


def _strictly(text: str, **options: Any) -> Any:
    check_yaml(text)
    return _parse(text, **options)


set_loader("yaml", _strictly, exceptions=(yaml.YAMLError,))  # files named by any option
