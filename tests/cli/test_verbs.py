import json
import subprocess
import sys
from pathlib import Path

import pytest
from cli.running import refused

from dreamprvr.cli.trainer_cli import PRVRCLI
from dreamprvr.cli.verbs import FIT_OPTIONS, VERBS, VerbParser, run_verb
from dreamprvr.core.errors import UserError

HEAVY = {"torch", "lightning", "transformers", "pandas", "h5py", "wandb"}
# read as YAML or JSON, none of them would be what it is
WORDS = ["[1, 2]", "null", "1e3", "true", "{a: b}", '"a"', "'a'", "!!python/name:os.system", "@a",
         "~", "", " a ", "-", "-1", "$HOME", "a\udcff", "&a [*a]", "01"]  # fmt: skip

OTHERS = ("-h", "--help", "--print_shtab")  # options that every parser has


def example(
    folder: Path | None = None,
    *,
    output: Path | None = None,
    annotations: list[Path] | None = None,
    where: list[str] | None = None,
    seed: int = 0,
    share: float | None = None,
    fast: bool = False,
    fit_options: list[str],
) -> int:
    """Do something.

    It takes a while.

    Args:
        folder: folder to look into.
        output: file to write.
        annotations: files to read.
        where: condition.
        seed: number to begin with.
        share: part of the whole.
        fast: take less time.
        fit_options: options of `fit`.
    """
    return 0


EMPTY = {"folder": None, "output": None, "annotations": None, "where": None, "seed": 0,
         "share": None, "fast": False}  # fmt: skip


@pytest.fixture(scope="module")
def parser() -> VerbParser:
    return VerbParser("data example", example)


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
        ("--annotations a b --data D", {"annotations": [Path("a"), Path("b")]}, "--data D"),
        ("--where a=1 in --where b=2", {"where": ["a=1", "b=2"], "folder": Path("in")}, ""),
        ("--fast in --share 1e-1", {"fast": True, "folder": Path("in"), "share": 0.1}, ""),
    ],
)
def test_values_stay_with_their_options(
    parser: VerbParser, words: str, own: dict[str, object], rest: str
) -> None:
    assert parser.values(words.split()) == {**EMPTY, **own, "fit_options": rest.split()}


@pytest.mark.parametrize("word", WORDS)
def test_words_stay_as_they_are(parser: VerbParser, word: str) -> None:
    values = parser.values(["--where", word, "-o", word, "--annotations", word, "x", "--", word])
    assert values["where"] == [word]
    assert values["output"] == Path(word)
    assert values["annotations"] == [Path(word), Path("x")]
    assert values["folder"] == Path(word)
    search = VerbParser("search", VERBS["search"]).values(["library", "--", word])
    assert search["query"] == word
    library = VerbParser("library", VERBS["library"])
    assert library.values(["delete", "x", word, word])["what"] == [word, word]
    if word:
        assert library.values(["delete", "x", "--", word, "-x"])["what"] == [word, "-x"]


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
        parser.values([word, "a"])
    name = word.partition("=")[0]
    assert str(caught.value) == (
        f"lightning data example: unknown option {name} (did you mean {near}?)"
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--seed", "x"],
            'lightning data example: .*"seed": Expected a <class .int.>. Got value: x',
        ),
        (["--seed", "9" * 5000], r"\"seed\": Exceeds the limit \(4300 digits"),
        (["--seed=1.5"], r"Expected a <class 'int'>. Got value: 1\.5"),
        (["--share", "null"], "Expected a <class 'float'>. Got value: "),
        (["--seed"], "argument --seed: expected one argument"),
        (["a", "--config", "c", "b"], "nrecognized arguments: b"),
        (["--fast=yes"], "argument --fast: ignored explicit argument 'yes'"),
        (["--seed+=1"], r"unknown option --seed\+ \(did you mean --seed\?\)"),
    ],
)
def test_bad_values_and_words_too_many(parser: VerbParser, words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        parser.values(words)
    assert "\n" not in str(caught.value)


def test_help_is_the_docstring(parser: VerbParser) -> None:
    text = " ".join(parser.format_help().split())
    assert "Do something. It takes a while." in text
    assert "[-o OUTPUT]" in text
    assert "--fast take less time." in text
    assert "Further options: --config FILE" in text
    assert "fit_options" not in text
    assert "Args:" not in text


@pytest.mark.parametrize("verb", VERBS)
def test_every_argument_is_described(verb: str) -> None:
    described = VerbParser(verb, VERBS[verb])
    assert described.description
    assert [action.dest for action in described._actions if not action.help] == []


def test_no_option_of_fit_is_taken_for_a_misspelt_one() -> None:
    fit = PRVRCLI(run=False, args=["--config", "tvr.yaml"]).parser
    for name, function in VERBS.items():
        parser = VerbParser(name, function)
        for option in fit._option_string_actions if parser._takes_fit_options else ():
            if option in OTHERS or (name, option) == ("compare", "--model"):  # it has --models
                continue
            assert parser.values([*_required(parser), option])["fit_options"] == [option]


def _required(parser: VerbParser) -> list[str]:
    words = []
    for name, parameter in parser._parameters.items():
        if parameter.default is parameter.empty and name != FIT_OPTIONS:
            words += ["x"] if parameter.kind is not parameter.KEYWORD_ONLY else [f"--{name}", "x"]
    return words


def test_a_verb_without_options_refuses_one() -> None:
    assert refused("datasets", "--all") == (
        "lightning datasets: unknown option --all (put -- before names that begin with a dash)"
    )


@pytest.mark.parametrize("words", [["-obc.mp4", "a.mp4"], ["a.mp4", "-o=b"], ["-obc.mp4"]])
def test_an_option_joined_to_its_value_may_be_a_file(words: list[str]) -> None:
    word = next(word for word in words if word.startswith("-o") and len(word) > 2)
    assert refused("extract", *words) == (
        f"lightning extract: {word} may be an option or a file: write -o {word[2:]} for the "
        f"option, or ./{word} for a file of that name"
    )


def test_a_verb_gets_the_words_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, object]] = []

    def check(*, fit_options: list[str]) -> int:
        seen.append({"fit_options": fit_options})
        return 3

    monkeypatch.setitem(VERBS, "data check", check)
    assert run_verb(["data", "check", "--config", "data"]) == 3
    assert seen == [{"fit_options": ["--config", "data"]}]


@pytest.mark.parametrize(
    ("words", "name", "near"),
    [
        (["data", "chek", "x"], "data chek", "data check"), (["--version"], "--version", None),
        (["datasets "], "datasets ", "datasets"),
        (["model"], "model", "models"), (["modles"], "modles", "models"), (["fitt"], "fitt", "fit"),
    ],
)  # fmt: skip
def test_an_unknown_verb(words: list[str], name: str, near: str | None) -> None:
    meant = f" (did you mean {near}?)" if near else ""
    assert refused(*words) == f"no verb {name!r}{meant}; `lightning --help` lists them"
    line = "data alone is no verb: give one of data check, data convert, data simulate, data base"
    assert refused("data", "--config").startswith(line)


@pytest.mark.parametrize("words", [["data"], ["data", "--help"]])
def test_the_verbs_of_a_group_are_listed(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_verb(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [" ".join(line.split()[1:3]) for line in lines] == [
        verb for verb in VERBS if verb.startswith("data ")
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["compare"], "lightning compare: the following arguments are required: models; see"),
        (
            ["compare", "--models", "a", "--seeds", "two"],
            "Expected a <class 'int'>. Got value: two",
        ),
    ],
)
def test_missing_options_and_bad_numbers_are_refused(words: list[str], said: str) -> None:
    assert said in refused(*words)


def test_help_imports_nothing_large() -> None:
    program = f"""
import contextlib, json, sys
from dreamprvr.cli.main import main
for words in [[*name.split(), "--help"] for name in {list(VERBS)}]:
    sys.argv = ["lightning", *words]
    with contextlib.suppress(SystemExit):
        main()
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert sum(line.startswith("usage: lightning ") for line in lines) == len(VERBS)
    assert HEAVY.intersection(json.loads(lines[-1])) == set()


def test_a_folder_that_is_no_library_is_refused_without_torch() -> None:
    program = """
import contextlib, sys
from dreamprvr.cli.main import main
for words in (["search", "nowhere", "a dog"], ["library", "list", "nowhere"]):
    sys.argv[1:] = words
    with contextlib.suppress(SystemExit):
        main()
print({"torch", "lightning", "pandas"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
    assert done.stderr.count("nowhere is no library") == 2


def test_the_help_of_the_program_needs_no_parser() -> None:
    program = (
        "import sys; from dreamprvr.cli.main import main; sys.argv[1:] = ['--help']; main();"
        "print({name.split('.')[0] for name in sys.modules} & {'jsonargparse', 'yaml', 'numpy'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "set()"
