"""Each verb that takes a checkpoint refuses a broken one in one line, and writes nothing.

What is refused, kind by kind, is tested in `tests/training/test_checkpoint.py` and
`tests/training/test_training_state.py`; here, that every verb reads through the same door.
"""

import math
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from cli.outcomes import CONFIG, best
from cli.running import refused, run
from core.test_torch_file import deflated
from search.checkpoints import checkpoint
from search.libraries import features, video
from training.test_checkpoint import CHANGES, rewritten

VERBS: dict[str, tuple[str, ...]] = {
    "test": ("test", *CONFIG, "--ckpt_path"),
    "validate": ("validate", *CONFIG, "--ckpt_path"),
    "predict": ("predict", *CONFIG, "--ckpt_path"),
    "resume": ("fit", *CONFIG, "--ckpt_path"),
    "fine-tune": ("fit", *CONFIG, "--init_from"),
    "index": ("index", "features.hdf5", "-o", "library", "--ckpt_path"),
}
WEIGHT = "network.frame_projection.linear.weight"


def flipped(path: Path) -> None:
    """One bit of a weight; torch itself reads such a file without a word."""
    content = bytearray(path.read_bytes())
    weight = torch.load(path, weights_only=True)["state_dict"][WEIGHT]
    place = content.index(weight.numpy().tobytes())
    content[place] ^= 4
    path.write_bytes(content)


def not_a_number(path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["state_dict"][WEIGHT][0, 0] = math.nan

    rewritten(path, change)


def huge(path: Path) -> None:
    rewritten(path, CHANGES["many blocks"][0])


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


KINDS: dict[str, tuple[Callable[[Path], object], str]] = {
    "compressed": (deflated, "is damaged or not a checkpoint: compressed"),
    "one bit": (flipped, "is damaged or not a checkpoint: record .* has another checksum"),
    "cut short": (cut, "is damaged or not a checkpoint: "),
    "not a number": (not_a_number, "1 weights are not finite: frame_projection.linear.weight"),
    "huge": (huge, "denoiser_blocks 1000000 is more than any weight has"),
    "pipe": (pipe, "is a pipe: name a regular file"),
}


def everything(folder: Path) -> dict[str, int]:
    return {str(path): path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_refuses_it_and_writes_nothing(
    trained: Path, tmp_path: Path, verb: str, kind: str
) -> None:
    damage, message = KINDS[kind]
    path = tmp_path / "broken.ckpt"
    shutil.copy(best(trained), path)
    features(tmp_path / "features.hdf5", [video("yard", dog=7)])
    damage(path)
    before, start = everything(tmp_path), time.process_time()
    line = refused(*VERBS[verb], "broken.ckpt")
    assert time.process_time() - start < 10
    assert line.startswith("checkpoint broken.ckpt")
    assert re.search(message, line), line
    assert everything(tmp_path) == before


@pytest.mark.parametrize("kind", KINDS)
def test_a_librarys_own_model(tmp_path: Path, kind: str) -> None:
    features(tmp_path / "features.hdf5", [video("yard", dog=7), video("kitchen", pan=4)])
    checkpoint(tmp_path / "a.ckpt")
    assert run("index", "features.hdf5", "-o", "library", "--ckpt_path", "a.ckpt").code == 0
    assert "yard" in run("search", "library", "dog").out
    damage, message = KINDS[kind]
    damage(tmp_path / "library" / "model.ckpt")
    before = everything(tmp_path)
    line = refused("search", "library", "dog")
    assert "library/model.ckpt" in line
    assert re.search(message if kind != "pipe" else "neither a file nor a folder", line), line
    assert everything(tmp_path).keys() == before.keys()


def test_a_librarys_model_can_be_evaluated_but_not_resumed(trained: Path, tmp_path: Path) -> None:
    from dreamprvr.search.model import write_model

    write_model(best(trained), tmp_path / "model.ckpt")
    whole = run("test", *CONFIG, "--ckpt_path", best(trained))
    kept = run("test", *CONFIG, "--ckpt_path", "model.ckpt")
    assert (whole.code, kept.code) == (0, 0), kept
    first, second = (re.findall(r"\d+\.\d", result.out) for result in (whole, kept))
    assert first == second
    assert len(first) >= 5  # R@1 to SumR
    line = refused("fit", *CONFIG, "--ckpt_path", "model.ckpt")
    assert "holds weights only, no training to resume: use --init_from" in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c["optimizer_states"].clear(), "optimizer_states is not a list of 1"),
        (lambda c: c["loops"].update(fit_loop=3), "loops.fit_loop is not a dictionary"),
        (lambda c: c.update(global_step="x"), "global_step is 'x'"),
    ],
)
def test_a_training_that_cannot_be_resumed_is_refused_and_can_be_tested(
    trained: Path, tmp_path: Path, change: Callable[[dict[str, Any]], Any], message: str
) -> None:
    shutil.copy(trained / "checkpoints" / "last.ckpt", "broken.ckpt")
    rewritten(Path("broken.ckpt"), change)
    before = everything(tmp_path)
    line = refused("fit", *CONFIG, "--ckpt_path", "broken.ckpt")
    assert message in line
    assert everything(tmp_path) == before
    assert run("predict", *CONFIG, "--ckpt_path", "broken.ckpt").code == 0
