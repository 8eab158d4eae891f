"""datasets: the benchmarks that are installed."""

import ast
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

from dreamprvr.cli.verb_parser import VerbParser

GROUP = "dreamprvr.datasets"


def list_datasets(arguments: list[str]) -> int:
    """Print a line per benchmark: its name, its class, and what the class says of itself."""
    VerbParser("datasets", "List the installed benchmarks.", configured=False).only(arguments)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        print(f"{point.name:<14}{_described(point)}")
    return 0


def _described(point: EntryPoint) -> str:
    # to import one takes Lightning and seconds; ours are known to be sound, so their text will do
    if point.dist is not None and point.dist.name == "dreamprvr":
        path, document = point.value.replace(":", "."), _written_docstring(point)
    else:
        from data_modules.base import load_dataset

        dataset = load_dataset(point)
        if dataset is None:
            return f"{point.value}: broken"
        path, document = f"{dataset.__module__}.{dataset.__name__}", dataset.__doc__
    summary = (document or "").strip().split("\n")[0]
    return f"{path}: {summary}"


def _written_docstring(point: EntryPoint) -> str | None:
    """The docstring of a class as its module's source has it."""
    spec = find_spec(point.module)
    loader: Any = spec.loader if spec else None
    tree = ast.parse(loader.get_source(point.module))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    return ast.get_docstring(classes[point.attr])
