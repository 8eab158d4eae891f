import json
import math
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import yaml
from cli.running import GOLDEN, Golden, Result, Tiny, refused, run, write_config
from shared import REFERENCE, needs_reference

from data_modules.testing import write_tiny
from dreamprvr.gallery import Gallery
from dreamprvr.model.network import DreamPRVR
from dreamprvr.module import PRVRModule
from dreamprvr.table import COLUMNS

PUBLISHED = REFERENCE / "published_format.ckpt"
CONFIG = ("--config", "tiny.yaml")


def state(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["state_dict"]


def best(run_folder: Path) -> Path:
    return run_folder / "checkpoints" / "best.ckpt"


def losses(run_folder: Path) -> pd.DataFrame:
    table = pd.read_csv(run_folder / "metrics.csv")
    return table[[name for name in table if name.startswith(("loss", "train/", "val/"))]]


def answers(data: Tiny, network: DreamPRVR) -> tuple[torch.Tensor, list[str], list[str]]:
    """Scores (Q, V) computed without the command line, with the ids of queries and videos."""
    gallery = Gallery(network.eval())
    videos, queries = data.test_dataloader()
    with torch.inference_mode():
        for batch in videos:
            gallery.add(batch)
        scores = torch.cat([gallery.ask(batch).score for batch in queries])
    table = data.annotations("test")
    return scores, table.queries["query_id"].tolist(), table.videos["video_id"].tolist()


def tiny(dataset: type[Tiny] = Tiny, frames: int = 8, clips: int = 4) -> Tiny:
    return dataset("data", num_workers=0, max_frames=frames, num_clips=clips)


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# The four verbs


def test_fit_fills_the_run_folder(trained: Path, fit_output: Result) -> None:
    names = {str(path.relative_to(trained)) for path in trained.rglob("*") if path.is_file()}
    kept = {"checkpoints/best.ckpt", "checkpoints/last.ckpt"}
    assert names == {"config.yaml", "hparams.yaml", "metrics.csv"} | kept
    header, row, where = fit_output.out.strip().splitlines()[-3:]
    assert header.split() == list(COLUMNS)
    assert row.startswith("validation, epoch ")
    assert where.startswith("best checkpoint: ")
    assert where.endswith("best.ckpt")
    table = pd.read_csv(trained / "metrics.csv")
    assert {"loss", "train/total", *(f"val/{name}" for name in COLUMNS)} <= set(table)
    assert table["val/SumR"].notna().sum() == 2


def test_best_is_the_epoch_of_the_highest_validation_sumr(trained: Path) -> None:
    sums = pd.read_csv(trained / "metrics.csv")["val/SumR"].dropna().tolist()
    assert torch.load(best(trained), weights_only=True)["epoch"] == sums.index(max(sums))
    assert torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)["epoch"] == 1


def test_the_saved_configuration_trains_again(trained: Path) -> None:
    saved = yaml.safe_load((trained / "config.yaml").read_text())
    assert saved["trainer"]["max_epochs"] == 2
    assert saved["model"]["network"]["hidden_size"] == 8
    assert run("test", "--config", trained / "config.yaml", "--ckpt_path", best(trained)).code == 0


@pytest.mark.parametrize(("verb", "name"), [("validate", "validation"), ("test", "test")])
def test_evaluation_prints_the_table_and_writes_metrics(
    trained: Path, verb: str, name: str
) -> None:
    result = run(verb, *CONFIG, "--ckpt_path", best(trained))
    assert result.code == 0, result
    found = json.loads((trained / "metrics.json").read_text())
    assert list(found) == list(COLUMNS)
    lines = result.out.strip().splitlines()
    row = next(line for line in lines if line.startswith(f"{name} "))
    assert [float(value) for value in row.split()[1:]] == [round(v, 1) for v in found.values()]
    assert lines[lines.index(row) - 1].split() == list(COLUMNS)
    assert sorted(path.name for path in (trained.parent).iterdir()) == ["version_0"]
    # val and test are the same files
    logged = pd.read_csv(trained / "metrics.csv")["val/SumR"].max()
    assert found["SumR"] == pytest.approx(logged, abs=1e-3)


def test_metrics_equal_a_direct_computation(trained: Path) -> None:
    assert run("test", *CONFIG, "--ckpt_path", best(trained)).code == 0
    found = json.loads((trained / "metrics.json").read_text())
    scores, queries, videos = answers(
        tiny(), PRVRModule.load_from_checkpoint(best(trained), map_location="cpu").network
    )
    truth = [videos.index(query.split("#")[0]) for query in queries]
    first = (scores.argmax(dim=1) == torch.tensor(truth)).float().mean() * 100
    assert found["R@1"] == pytest.approx(float(first), abs=1e-3)
    assert found["R@5"] == found["R@100"] == 100  # four videos
    assert found["SumR"] == pytest.approx(found["R@1"] + 300, abs=1e-3)


def test_predict_lines(trained: Path) -> None:
    result = run("predict", *CONFIG, "--ckpt_path", best(trained), "--output", "out/hits.jsonl")
    assert result.code == 0, result
    assert "written to out/hits.jsonl" in result.out
    assert [path.name for path in Path("out").iterdir()] == ["hits.jsonl"]
    lines = read_lines(Path("out/hits.jsonl"))
    module = PRVRModule.load_from_checkpoint(best(trained), map_location="cpu")
    scores, queries, videos = answers(tiny(), module.network)
    assert [line["query_id"] for line in lines] == queries
    for line, row in zip(lines, scores, strict=True):
        hits = line["hits"]
        values = [hit["score"] for hit in hits]
        assert values == sorted(values, reverse=True)
        assert hits[0]["video_id"] == videos[int(row.argmax())]
        assert {hit["video_id"] for hit in hits} == set(videos)
        for hit in hits:
            place = videos.index(hit["video_id"])
            assert hit["score"] == pytest.approx(float(row[place]), abs=1e-5)
            assert 0 <= hit["clip"] < 4
            assert 0 <= hit["frame"] < 8
            if place:
                share = 10.0 * place / 4
                assert hit["start"] == pytest.approx(hit["clip"] * share)
                assert hit["end"] == pytest.approx((hit["clip"] + 1) * share)
            else:
                assert set(hit) == {"video_id", "score", "clip", "frame"}


def test_predict_parquet_holds_the_same_and_top_k_is_respected(trained: Path) -> None:
    shared = ("predict", *CONFIG, "--ckpt_path", best(trained), "--top_k", "2", "--output")
    assert run(*shared, "hits.parquet").code == 0
    assert run(*shared, "hits.jsonl").code == 0
    lines = read_lines(Path("hits.jsonl"))
    table = pd.read_parquet("hits.parquet")
    assert list(table) == ["query_id", "hits"]
    assert table["query_id"].tolist() == [line["query_id"] for line in lines]
    for hits, line in zip(table["hits"], lines, strict=True):
        assert len(hits) == len(line["hits"]) == 2
        for ours, theirs in zip(hits, line["hits"], strict=True):
            for key in ("video_id", "clip", "frame"):
                assert ours[key] == theirs[key]
            assert ours["score"] == pytest.approx(theirs["score"], abs=1e-6)
            if "start" in theirs:
                assert (ours["start"], ours["end"]) == (theirs["start"], theirs["end"])
            else:
                assert ours["start"] is None or math.isnan(ours["start"])


def test_predict_refuses_another_suffix(trained: Path) -> None:
    line = refused("predict", *CONFIG, "--ckpt_path", best(trained), "--output", "hits.csv")
    assert ".jsonl or .parquet" in line
    assert not Path("hits.csv").exists()


# Repeating and resuming


def test_same_seed_same_losses_and_weights(trained: Path) -> None:
    first = trained.rename(trained.parent / "first")
    assert run("fit", *CONFIG).code == 0
    pd.testing.assert_frame_equal(losses(first), losses(trained), check_exact=True)
    assert len(losses(trained)) > 4
    last = "checkpoints/last.ckpt"
    assert all(torch.equal(v, state(trained / last)[k]) for k, v in state(first / last).items())


def test_another_seed_gives_other_losses(trained: Path) -> None:
    assert run("fit", *CONFIG, "--seed_everything", "1", "--trainer.max_epochs", "1").code == 0
    other = losses(trained.parent / "version_1")["loss"].dropna().tolist()
    assert other[0] != losses(trained)["loss"].dropna().tolist()[0]


def test_resuming_after_ctrl_c_equals_an_uninterrupted_run(trained: Path) -> None:
    whole = trained.rename(trained.parent.parent / "whole")
    Path("interrupt.yaml").write_text(
        "trainer: {callbacks: [{class_path: cli.running.Interrupt}]}\n"
    )
    stopped = run("fit", *CONFIG, "--config", "interrupt.yaml")
    assert stopped.code not in (0, 2), stopped
    assert "Traceback" not in stopped.out + stopped.err
    last = trained / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["epoch"] == 0
    before = (trained / "metrics.csv").read_text()

    resumed = run("fit", *CONFIG, "--ckpt_path", last)
    assert resumed.code == 0, resumed
    assert [path.name for path in trained.parent.iterdir()] == ["version_0"]
    assert (trained / "metrics-1.csv").read_text() == before
    for name in ("last.ckpt", "best.ckpt"):
        theirs = state(trained / "checkpoints" / name)
        for key, value in state(whole / "checkpoints" / name).items():
            assert torch.equal(value, theirs[key]), f"{name}: {key}"
    second = losses(whole)["loss"].dropna().tolist()[-3:]
    assert losses(trained)["loss"].dropna().tolist()[-3:] == second


# Fine-tuning, and the published format


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
    still = ("--model.optimizer", "BertAdam", "--model.optimizer.lr", "0")
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


# Refusals


@pytest.mark.parametrize("verb", ["validate", "test", "predict"])
def test_evaluation_needs_a_checkpoint(tmp_path: Path, verb: str) -> None:
    assert refused(verb, "--config", write_config(tmp_path)) == (
        f"{verb} needs trained weights: give --ckpt_path FILE"
    )


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("name", ["nothing.ckpt", "last", "best"])
def test_a_checkpoint_that_is_not_there(tmp_path: Path, verb: str, name: str) -> None:
    line = refused(verb, "--config", write_config(tmp_path), "--ckpt_path", name)
    assert line == f"checkpoint {name}: no such file"


def test_init_from_a_file_that_is_not_there(tmp_path: Path) -> None:
    line = refused("fit", "--config", write_config(tmp_path), "--init_from", "no.ckpt")
    assert line == "checkpoint no.ckpt: no such file"


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_damaged_checkpoint(trained: Path, share: float) -> None:
    content = best(trained).read_bytes()
    Path("half.ckpt").write_bytes(content[: int(share * len(content))])
    line = refused("test", *CONFIG, "--ckpt_path", "half.ckpt")
    assert line == "checkpoint half.ckpt is damaged or not a checkpoint"


def test_a_text_file_is_no_checkpoint(trained: Path) -> None:
    line = refused("test", *CONFIG, "--ckpt_path", "tiny.yaml")
    assert line.startswith("checkpoint tiny.yaml ")


@needs_reference
@pytest.mark.parametrize("option", ["--ckpt_path", "--init_from"])
def test_a_published_file_must_be_imported_first(tmp_path: Path, option: str) -> None:
    shutil.copy(PUBLISHED, "published.ckpt")
    line = refused("fit", "--config", write_config(tmp_path), option, "published.ckpt")
    assert "published.ckpt" in line
    assert "`lightning import-checkpoint`" in line


@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_data_of_other_feature_sizes(trained: Path, tmp_path: Path, verb: str) -> None:
    shutil.rmtree(tmp_path / "data")
    config = write_config(tmp_path, Golden)
    line = refused(verb, "--config", config, "--ckpt_path", best(trained))
    assert "the checkpoint belongs to another configuration" in line
    assert "data of the same feature sizes" in line


def test_init_from_of_other_feature_sizes(trained: Path, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "data")
    config = write_config(tmp_path, Golden)
    line = refused("fit", "--config", config, "--init_from", best(trained))
    assert "the checkpoint belongs to another configuration" in line


# Variants


def test_no_registers(tmp_path: Path) -> None:
    config = write_config(tmp_path, epochs=1, num_registers=0)
    assert run("fit", "--config", config).code == 0
    folder = tmp_path / "runs" / "version_0"
    assert not any("diffusion" in name or "register" in name for name in state(best(folder)))
    assert run("test", "--config", config, "--ckpt_path", best(folder)).code == 0


def test_bfloat16(tmp_path: Path) -> None:
    config = write_config(tmp_path, epochs=1)
    assert run("fit", "--config", config, "--trainer.precision", "bf16-mixed").code == 0
    folder = tmp_path / "runs" / "version_0"
    assert losses(folder)["loss"].dropna().map(math.isfinite).all()
    assert all(value.dtype != torch.bfloat16 for value in state(best(folder)).values())
    loss = losses(folder)["loss"].dropna().tolist()
    assert run("fit", "--config", config).code == 0
    assert loss != losses(tmp_path / "runs" / "version_1")["loss"].dropna().tolist()


def test_tensorboard(tmp_path: Path) -> None:
    config = write_config(tmp_path, epochs=1)
    assert run("fit", "--config", config, "--tensorboard", "true").code == 0
    folder = tmp_path / "runs" / "version_0"
    assert list((folder / "tensorboard").glob("events.out.tfevents.*"))
    assert {"config.yaml", "metrics.csv"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_wandb_by_its_fragment(tmp_path: Path) -> None:
    config = write_config(tmp_path, epochs=1)
    result = run("fit", "--config", config, "--config", "wandb.yaml")
    assert result.code == 0, result
    folder = tmp_path / "runs" / "version_0"
    assert list(folder.glob("wandb/offline-run-*/*.wandb"))
    assert {"config.yaml", "metrics.csv"} <= {path.name for path in folder.iterdir()}
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["version_0"]
