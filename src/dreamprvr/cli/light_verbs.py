"""Finds the verbs that train nothing."""

from collections.abc import Callable

from dreamprvr.cli.data_verbs import baselines, check_data, convert
from dreamprvr.cli.datasets_verb import list_datasets
from dreamprvr.cli.extract_text_verb import extract_words
from dreamprvr.cli.extract_verb import extract_videos
from dreamprvr.cli.import_verb import import_published
from dreamprvr.cli.index_verb import index_features
from dreamprvr.cli.library_verb import manage_library
from dreamprvr.cli.search_verb import search_library
from dreamprvr.cli.serve_verb import serve_library
from dreamprvr.cli.simulate_verb import simulate_data
from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote

VERBS: dict[str, Callable[[list[str]], int]] = {
    "data check": check_data,
    "data convert": convert,
    "data simulate": simulate_data,
    "data baselines": baselines,
    "datasets": list_datasets,
    "import-checkpoint": import_published,
    "extract": extract_videos,
    "extract-text": extract_words,
    "index": index_features,
    "search": search_library,
    "library": manage_library,
    "serve": serve_library,
}


def run_light_verb(arguments: list[str]) -> int:
    """Run a verb and return its exit code.

    Raises:
        UserError: there is no such verb, or it was given bad input.
    """
    name, rest = arguments[0], arguments[1:]
    if name == "data" and rest and not rest[0].startswith("-"):
        name, rest = f"data {rest[0]}", rest[1:]
    if name not in VERBS:
        raise UserError(f"no verb {quote(name)}; `lightning --help` lists them")
    return VERBS[name](rest)
