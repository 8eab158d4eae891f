"""A benchmark that another package brings: installed with pip, used by name, nothing changed here.

`plugin_package/` is that package. pip puts it in a folder of the test's own, which the programs
that follow find through PYTHONPATH.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from data_modules.base import FeatureSet
from data_modules.testing import write_tiny_benchmark

pytestmark = pytest.mark.slow

PACKAGE = Path(__file__).parent / "plugin_package"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which pip installed the package."""
    work = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(PACKAGE, work / "source")  # building writes next to the sources
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, *offline, "--target", str(work / "site"), str(source)], check=True)
    return work / "site"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    features = FeatureSet(
        "FeatureData/slowfast", "TextData/bert_kitchen_query_feat.hdf5", video_dim=48, text_dim=24
    )
    write_tiny_benchmark(tmp_path / "data", "kitchen", features)
    return tmp_path / "data"


def dreamprvr(site: Path | None, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    if site:
        environment["PYTHONPATH"] = str(site)
    command = [sys.executable, "-m", "dreamprvr", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_it_is_listed_once_it_is_installed(site: Path):
    assert "kitchen" not in dreamprvr(None, "datasets").stdout
    listed = dreamprvr(site, "datasets")
    assert listed.returncode == 0, listed.stderr
    line = next(line for line in listed.stdout.splitlines() if line.startswith("kitchen"))
    assert "prvr_kitchen.Kitchen" in line
    assert "Cooking videos" in line


@pytest.mark.parametrize("name", ["Kitchen", "prvr_kitchen.Kitchen"])
def test_it_trains(site: Path, root: Path, tmp_path: Path, name: str):
    done = dreamprvr(
        site, "fit", f"--data={name}", "--data.root", str(root), "--data.num_workers", "0",
        "--model.network.hidden_size", "16", "--trainer.max_epochs", "1",
        "--trainer.accelerator", "cpu",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "kitchen" / "version_0"
    assert list(run.glob("checkpoints/last*.ckpt"))
    assert "val/SumR" in (run / "metrics.csv").read_text().splitlines()[0]
    assert "prvr_kitchen.Kitchen" in (run / "config.yaml").read_text()


REGISTERS = {"network.registers": "prvr_kitchen.LastClips"}
ALL_PARTS = {
    "network.registers": '{"class_path": "prvr_kitchen.LastClips", "init_args": {"factor": 2.0}}',
    "network.query_encoder": "prvr_kitchen.MeanWords",
    "network.gaussian_encoder": "prvr_kitchen.TwoLayers",
    "network.aggregation": "prvr_kitchen.EvenBranches",
    "objective.extra": '{"long": "prvr_kitchen.LongQueries"}',
}


@pytest.mark.parametrize("parts", [REGISTERS, ALL_PARTS], ids=["registers", "all"])
def test_parts_of_its_own_train_and_are_tested(
    site: Path, root: Path, tmp_path: Path, parts: dict[str, str]
):
    shared = ("--data=Kitchen", "--data.root", str(root), "--data.num_workers", "0")
    options = [word for name, part in parts.items() for word in (f"--model.{name}", part)]
    done = dreamprvr(
        site, "fit", *shared, "--model.network.hidden_size", "16", "--trainer.max_epochs", "1",
        "--trainer.accelerator", "cpu", "--trainer.log_every_n_steps", "1", *options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "kitchen" / "version_0"
    assert "prvr_kitchen.LastClips" in (run / "config.yaml").read_text()
    metrics = (run / "metrics.csv").read_text()
    assert "train/clip_nce" in metrics
    assert "train/kl" not in metrics
    assert ("train/long" in metrics) == (parts == ALL_PARTS)
    ckpt = str(run / "checkpoints" / "last.ckpt")
    tested = dreamprvr(site, "test", *shared, "--ckpt_path", ckpt, "--trainer.accelerator", "cpu")
    assert tested.returncode == 0, tested.stderr
    assert "SumR" in tested.stdout
    missing = dreamprvr(None, "test", *shared, "--ckpt_path", ckpt)
    assert missing.returncode == 2


def test_a_part_that_is_none_is_refused(site: Path, root: Path):
    for part, reason in (
        ("prvr_kitchen.Kitchen", "prvr_kitchen.Kitchen is no RegisterSampler"),
        ("nowhere.X", "there is no class nowhere.X"),
    ):
        done = dreamprvr(
            site, "fit", "--data=Kitchen", "--data.root", str(root),
            "--model.network.registers", part,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        (line,) = [each for each in done.stderr.splitlines() if not each.startswith("Seed set")]
        assert reason in line


def test_it_is_checked(site: Path, root: Path):
    command = ("data", "check", "--data=Kitchen", "--data.root", str(root))
    sound = dreamprvr(site, *command)
    assert sound.returncode == 0, sound.stdout + sound.stderr
    assert "train   6 / 6 videos" in sound.stdout
    (root / "kitchen" / "TextData" / "kitchentest.caption.txt").unlink()
    broken = dreamprvr(site, *command)
    assert broken.returncode == 1, broken.stderr
    assert "missing captions: expected at" in broken.stdout
    assert "test    cannot be read" in broken.stdout


def test_without_the_package_the_name_is_unknown(root: Path):
    done = dreamprvr(None, "fit", "--data=Kitchen", "--data.root", str(root))
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Kitchen" in done.stderr
