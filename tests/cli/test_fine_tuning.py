import shutil
from pathlib import Path

import pytest
import torch
from cli.outcomes import CONFIG, PUBLISHED, answers, best, read_lines, state, tiny
from cli.running import GOLDEN, Golden, refused, run, write_config
from shared import needs_reference

from data_modules.testing import write_tiny


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    write_tiny(Golden, tmp_path / "data")
    result = run(
        "import-checkpoint", PUBLISHED, "-o", "ours.ckpt", "--data", GOLDEN, "--data.root", "data",
        "--model.network.text_perturbation", "0",
    )  # fmt: skip
    assert result.code == 0, result
    assert "written to ours.ckpt" in result.out
    assert "hidden_size is 32 in the file, 384 in the configuration" in result.out
    return tmp_path / "ours.ckpt"


@needs_reference
def test_an_imported_checkpoint_scores_as_the_golden_network(imported: Path) -> None:
    import golden

    shared = ("--config", write_config(Path.cwd(), Golden), "--ckpt_path", imported)
    result = run("predict", *shared, "--output", "hits.jsonl")
    assert result.code == 0, result
    assert "network.hidden_size is 32, as in the checkpoint (8 is configured)" in result.out
    network = golden.network()
    network.load_state_dict(golden.group("after"))
    scores, queries, videos = answers(tiny(Golden, 128, 32), network)
    for line, row, query in zip(read_lines(Path("hits.jsonl")), scores, queries, strict=True):
        assert line["query_id"] == query
        found = {hit["video_id"]: hit["score"] for hit in line["hits"]}
        assert [found[video] for video in videos] == pytest.approx(row.tolist(), abs=1e-5)
    assert run("test", *shared).code == 0


@needs_reference
def test_fine_tuning_starts_from_the_imported_weights(imported: Path) -> None:
    config = write_config(Path.cwd(), Golden, epochs=1)
    shared = ("fit", "--config", config, "--init_from", imported)
    still = ("--training.optimizer", "BertAdam", "--training.optimizer.lr", "0")
    assert run(*shared, *still).code == 0
    weights = state(imported)
    unmoved = state(Path("runs/version_0/checkpoints/last.ckpt"))
    assert unmoved.keys() == weights.keys()
    assert all(torch.equal(value, unmoved[key]) for key, value in weights.items())
    assert run(*shared).code == 0
    last = Path("runs/version_1/checkpoints/last.ckpt")
    moved = state(last)
    assert any(not torch.equal(value, moved[key]) for key, value in weights.items())
    assert run("test", "--config", config, "--ckpt_path", last).code == 0


@needs_reference
def test_imported_weights_are_no_training_to_resume(imported: Path) -> None:
    line = refused("fit", "--config", write_config(Path.cwd(), Golden), "--ckpt_path", imported)
    assert "use --init_from" in line


def test_init_from_a_file_that_is_not_there(tmp_path: Path) -> None:
    line = refused("fit", "--config", write_config(tmp_path), "--init_from", "no.ckpt")
    assert line == "checkpoint no.ckpt is missing"


def test_init_from_of_other_feature_sizes(trained: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "data")
    config = write_config(tmp_path, Golden)
    line = refused("fit", "--config", config, "--init_from", best(trained))
    assert "the checkpoint belongs to another configuration" in line


def test_init_from_adds_a_part_to_the_model(trained: Path) -> None:
    """TRACE's second stage begins from a model without its score."""
    config, first = write_config(Path.cwd()), best(trained)
    Path("trace.yaml").write_text(
        "model: {init_args: {network: {rescorer: dreamprvr.models.trace.TraceScorer}}}\n"
    )
    shared = ("--config", config, "--config", "trace.yaml")
    result = run("fit", *shared, "--init_from", first)
    assert result.code == 0, result
    assert "network.rescorer is added to the checkpoint's model, with new weights" in result.out
    assert "4 weights are new: network.rescorer.query.weight" in result.out
    before, after = state(first), state(trained.parent / "version_1/checkpoints/last.ckpt")
    assert after.keys() - before.keys() == {
        f"network.rescorer.{name}.weight" for name in ("query", "anchor", "key", "value")
    }
    assert all(torch.equal(value, after[name]) for name, value in before.items())  # first epochs
    assert (
        run("test", *shared, "--ckpt_path", trained.parent / "version_1/checkpoints/last.ckpt").code
        == 0
    )
    line = refused(
        "fit",
        *shared,
        "--ckpt_path",
        first,
        "--model.network.rescorer",
        "dreamprvr.models.trace.TraceScorer",
    )
    assert line.startswith("--model.network.rescorer")


def test_a_training_is_begun_or_gone_on_with(trained: Path) -> None:
    """Of two options one would count for nothing; a run's config.yaml may hold the other."""
    checkpoint = str(best(trained))
    both = ("--ckpt_path", checkpoint, f"--init_from={checkpoint}")
    line = refused("fit", *CONFIG, *both)
    assert line.startswith("--ckpt_path goes on with a training, --init_from begins one: give one")
    Path("from.yaml").write_text(f"init_from: {checkpoint}\n")
    result = run("fit", *CONFIG, "--config", "from.yaml", "--ckpt_path", checkpoint)
    assert result.code == 0, result
    assert [path.name for path in trained.parent.iterdir()] == ["version_0"]
