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
from cli.running import Result, launch

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
def data(tmp_path: Path) -> tuple[str, ...]:
    """Options that name the benchmark, whose files lie in `data/`."""
    features = FeatureSet(
        "FeatureData/slowfast", "TextData/bert_kitchen_query_feat.hdf5", video_dim=48, text_dim=24
    )
    write_tiny_benchmark(tmp_path / "data", "kitchen", features)
    return "--data=Kitchen", "--data.root", "data"


def dreamprvr(site: Path, *arguments: str) -> Result:
    """Run the program where the package is installed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        return launch(*arguments)


def test_it_is_listed_once_it_is_installed(site: Path):
    def listed(environment: dict[str, str]) -> str:
        command = [sys.executable, "-m", "dreamprvr", "datasets"]
        return subprocess.run(command, env=environment, stdout=-1, text=True, check=True).stdout

    assert "kitchen" not in listed({**os.environ})
    lines = listed({**os.environ, "PYTHONPATH": str(site)}).splitlines()
    (line,) = [line for line in lines if line.startswith("kitchen")]
    assert "prvr_kitchen.Kitchen" in line
    assert "Cooking videos" in line


REGISTERS = {"network.registers": "prvr_kitchen.LastClips"}
ALL_PARTS = {
    "network.registers": '{"class_path": "prvr_kitchen.LastClips", "init_args": {"factor": 2.0}}',
    "network.query_encoder": "prvr_kitchen.MeanWords",
    "network.gaussian_encoder": "prvr_kitchen.TwoLayers",
    "network.aggregation": "prvr_kitchen.EvenBranches",
    "objective.extra": '{"long": "prvr_kitchen.LongQueries"}',
}


@pytest.mark.parametrize(
    ("name", "parts"), [("prvr_kitchen.Kitchen", REGISTERS), ("Kitchen", ALL_PARTS)]
)
def test_it_trains_and_is_tested_with_parts_of_its_own(
    site: Path, data: tuple[str, ...], tmp_path: Path, name: str, parts: dict[str, str]
):
    shared = (
        f"--data={name}", *data[1:], "--data.num_workers", "0", "--trainer.accelerator", "cpu",
    )  # fmt: skip
    options = [word for name, part in parts.items() for word in (f"--model.{name}", part)]
    done = dreamprvr(
        site, "fit", *shared, "--model.network.hidden_size", "16", "--trainer.max_epochs", "1",
        "--trainer.log_every_n_steps", "1", *options,
    )  # fmt: skip
    assert done.code == 0, done.err
    run = tmp_path / "runs" / "kitchen" / "version_0"
    configuration = (run / "config.yaml").read_text()
    assert "prvr_kitchen.Kitchen" in configuration
    assert "prvr_kitchen.LastClips" in configuration
    metrics = (run / "metrics.csv").read_text()
    assert "val/SumR" in metrics.splitlines()[0]
    assert "train/clip_nce" in metrics
    assert "train/kl" not in metrics
    assert ("train/long" in metrics) == (parts == ALL_PARTS)
    ckpt = str(run / "checkpoints" / "last.ckpt")
    tested = dreamprvr(site, "test", *shared, "--ckpt_path", ckpt)
    assert tested.code == 0, tested.err
    assert "SumR" in tested.out
    assert launch("test", *shared, "--ckpt_path", ckpt).code == 2


def test_a_part_that_is_none_is_refused(site: Path, data: tuple[str, ...]):
    for part, reason in (
        ("prvr_kitchen.Kitchen", "prvr_kitchen.Kitchen is no RegisterSampler"),
        ("nowhere.X", "there is no class nowhere.X"),
    ):
        done = dreamprvr(site, "fit", *data, "--model.network.registers", part)
        assert done.code == 2, done.err
        (line,) = [each for each in done.err.splitlines() if not each.startswith("Seed set")]
        assert reason in line


def test_it_is_checked(site: Path, data: tuple[str, ...]):
    sound = dreamprvr(site, "data", "check", *data)
    assert sound.code == 0, sound.out + sound.err
    assert "train   6 / 6 videos" in sound.out
    Path("data/kitchen/TextData/kitchentest.caption.txt").unlink()
    broken = dreamprvr(site, "data", "check", *data)
    assert broken.code == 1, broken.err
    assert "missing captions: expected at" in broken.out
    assert "test    cannot be read" in broken.out


def test_without_the_package_the_name_is_unknown(data: tuple[str, ...]):
    done = launch("fit", *data)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert "Kitchen" in done.err
