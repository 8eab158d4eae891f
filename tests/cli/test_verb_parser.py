from pathlib import Path

import pytest
from cli.running import refused

from dreamprvr.cli.trainer_cli import PRVRCLI
from dreamprvr.cli.verb_parser import VerbParser
from dreamprvr.core.errors import UserError


@pytest.fixture
def parser() -> VerbParser:
    parser = VerbParser("data simulate", "An example.")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--annotations", nargs="+", default=[])
    parser.add_argument("--seed", type=int, default=0)
    return parser


@pytest.mark.parametrize(
    ("words", "own", "rest"),
    [
        ("", {}, ""),
        ("in", {"folder": Path("in")}, ""),
        ("--config in", {}, "--config in"),
        ("--config=c in", {"folder": Path("in")}, "--config=c"),
        ("-c c in --data.root d", {"folder": Path("in")}, "-c c --data.root d"),
        ("--data.root d -o out in", {"output": Path("out"), "folder": Path("in")}, "--data.root d"),
        ("--output=- --x -1 --seed -1", {"output": Path("-"), "seed": -1}, "--x -1"),
        ("-o out -- -x", {"output": Path("out"), "folder": Path("-x")}, ""),
        ("--data D -- --seed", {"folder": Path("--seed")}, "--data D"),
        ("-- in", {"folder": Path("in")}, ""),
        ("-o out -- -obc.mp4", {"output": Path("out"), "folder": Path("-obc.mp4")}, ""),
        ("-o out ./-obc.mp4", {"output": Path("out"), "folder": Path("./-obc.mp4")}, ""),
        ("--annotations a b --data D", {"annotations": ["a", "b"]}, "--data D"),
    ],
)
def test_values_stay_with_their_options(
    parser: VerbParser, words: str, own: dict[str, object], rest: str
) -> None:
    found, left = parser.split(words.split())
    assert left == rest.split()
    empty = {"folder": None, "output": None, "annotations": [], "seed": 0}
    assert vars(found) == {**empty, **own}


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("--annot", "--annotations"), ("--out=x", "--output"), ("--anotations", "--annotations"),
        ("--see", "--seed"), ("--output_", "--output"), ("--hel", "--help"),
    ],
)  # fmt: skip
def test_misspelt_and_abbreviated_options_name_the_nearest(
    parser: VerbParser, word: str, near: str
) -> None:
    with pytest.raises(UserError) as caught:
        parser.split([word, "a"])
    name = word.partition("=")[0]
    assert str(caught.value) == (
        f"lightning data simulate: unknown option {name} (did you mean {near}?)"
    )


def test_bad_values_and_words_too_many(parser: VerbParser) -> None:
    with pytest.raises(UserError, match="argument --seed: invalid int value: 'x'; see lightning "):
        parser.split(["--seed", "x"])
    with pytest.raises(UserError, match="unrecognized arguments: b"):
        parser.split(["a", "--config", "c", "b"])


def test_where_there_are_no_other_options(parser: VerbParser) -> None:
    assert parser.only(["in", "--seed", "2"]).seed == 2
    with pytest.raises(UserError, match="lightning data simulate: unknown option --config"):
        parser.only(["--config", "x"])


def test_no_option_of_fit_is_taken_for_a_misspelt_one(parser: VerbParser) -> None:
    for name in ("--durations", "--encoder", "--hold_out", "--rows_per_second"):
        parser.add_argument(name)
    fit = PRVRCLI(run=False, args=["--config", "tvr.yaml"]).parser
    for option in fit._option_string_actions:
        if option not in ("-h", "--help"):
            assert parser.split([option])[1] == [option]


def test_abbreviations_are_refused_by_the_program() -> None:
    assert refused("data", "simulate", "--annot", "a.json") == (
        "lightning data simulate: unknown option --annot (did you mean --annotations?)"
    )


@pytest.mark.parametrize("words", [["-obc.mp4", "a.mp4"], ["a.mp4", "-o=b"], ["-obc.mp4"]])
def test_an_option_joined_to_its_value_may_be_a_file(words: list[str]) -> None:
    word = next(word for word in words if word.startswith("-o") and len(word) > 2)
    assert refused("extract", *words) == (
        f"lightning extract: {word} may be an option or a file: write -o {word[2:]} for the "
        f"option, or ./{word} for a file of that name"
    )
