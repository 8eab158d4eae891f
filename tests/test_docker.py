"""The Dockerfile, as far as it can be checked without Docker."""

import json
import re
from pathlib import Path

from dreamprvr.cli.verbs import VERBS, VerbParser

ROOT = Path(__file__).resolve().parents[1]
LINES = [
    line
    for line in (ROOT / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    if line and not line.startswith("#")
]


def instructions(name: str) -> list[str]:
    return [line.removeprefix(f"{name} ") for line in LINES if line.startswith(f"{name} ")]


def copied() -> set[str]:
    return {source for line in instructions("COPY") for source in line.split()[:-1]}


def test_what_is_copied_exists_and_is_sent() -> None:
    assert all((ROOT / source).exists() for source in copied())
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*"
    assert {line.removeprefix("!") for line in ignored if line.startswith("!")} == copied()


def test_what_the_package_needs_is_copied() -> None:
    setup = (ROOT / "setup.cfg").read_text()
    named = set(re.findall(r"^(?:long_description = file: |license_files = )(\S+)", setup, re.M))
    folders = {"src", "data_modules", "configs"}  # of package_dir
    assert all(f"= {folder}" in setup for folder in folders)
    assert copied() >= {*named, *folders, "setup.cfg", "pyproject.toml", "constraints.txt"}


def test_the_command_is_a_verb_with_its_options() -> None:
    (entry,), (command,) = map(instructions, ("ENTRYPOINT", "CMD"))
    assert json.loads(entry) == ["lightning"]
    verb, *words = json.loads(command)
    values = VerbParser(verb, VERBS[verb]).values(words)
    assert (values["videos"], values["output"], values["watch"]) == (
        ["/videos"],
        Path("/data"),
        True,
    )


def test_it_runs_as_a_user_and_the_volume_is_its_own() -> None:
    (user,) = instructions("USER")
    made = " ".join(instructions("RUN"))
    assert f" {user} " in made
    assert f"chown {user} /videos /data" in made
    assert all(
        value.startswith("/data/") for value in re.findall(r"=(\S+)", instructions("ENV")[0])
    )


def test_torch_may_come_from_another_index() -> None:
    assert instructions("ARG") == ["TORCH_INDEX="]
    installed = instructions("RUN")[0]
    assert 'if [ -n "$TORCH_INDEX" ]; then' in installed
    assert installed.endswith("pip install --no-cache-dir --constraint constraints.txt '.[search]'")


def test_docker_stop_is_ctrl_c() -> None:
    assert instructions("STOPSIGNAL") == ["SIGINT"]
