import json
import subprocess
import sys

import pytest
from cli.running import refused

from dreamprvr.cli import light_verbs
from dreamprvr.cli.light_verbs import VERBS, run_light_verb

HEAVY = {"torch", "lightning", "jsonargparse", "transformers", "pandas", "h5py", "wandb"}


def test_a_verb_gets_the_words_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []
    for name in VERBS:
        monkeypatch.setitem(light_verbs.VERBS, name, lambda words: seen.append(words) or len(seen))
    assert run_light_verb(["data", "check", "--config", "data"]) == 1
    assert run_light_verb(["import-checkpoint"]) == 2
    assert seen == [["--config", "data"], []]


@pytest.mark.parametrize(
    ("words", "name"),
    [(["data"], "data"), (["data", "--config"], "data"), (["data", "chek", "x"], "data chek"),
     (["check"], "check"), (["datasets "], "datasets ")],
)  # fmt: skip
def test_an_unknown_verb(words: list[str], name: str) -> None:
    assert refused(*words) == f"no verb {name!r}; `lightning --help` lists them"


@pytest.mark.parametrize(
    "words", [["datasets"], *([*name.split(), "--help"] for name in VERBS)], ids=" ".join
)
def test_help_and_the_list_of_data_sets_import_nothing_large(words: list[str]) -> None:
    program = f"""
import json, sys
from dreamprvr.cli.main import main
sys.argv = ["lightning", *{words!r}]
try:
    main()
except SystemExit:
    pass
print(json.dumps(sorted({{name.split(".")[0] for name in sys.modules}})))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    assert len(lines) > 2
    assert HEAVY.intersection(json.loads(lines[-1])) == set()
