"""PRVRModule with Lightning's own trainer, without the command line."""

from functools import partial
from pathlib import Path
from typing import Any, cast

import h5py
import pytest
import torch
from cli.running import Tiny
from lightning import Trainer
from recorder import QUIET, Recorder, module, trainer
from torch import Tensor
from torch.utils.data import DataLoader

from data_modules.testing import write_tiny
from dreamprvr.core.errors import UserError
from dreamprvr.models.dreamprvr import DreamPRVR, ObjectiveConfig
from dreamprvr.training.checkpoint import read_checkpoint
from dreamprvr.training.compilation import compile_step
from dreamprvr.training.module import PRVRModule
from dreamprvr.training.optimizer import warmup_factor

pytestmark = QUIET


@pytest.fixture
def data(tmp_path: Path) -> Tiny:
    """7 training videos, so 3 steps an epoch; a gallery of 14, in batches of 3."""
    write_tiny(Tiny, tmp_path, train=7, val=14)
    return Tiny(
        tmp_path, batch_size=3, eval_batch_size=3, query_batch_size=4, num_workers=0,
        max_frames=8, num_clips=4,
    )  # fmt: skip


@pytest.fixture
def recorded(data: Tiny) -> Recorder:
    recorder = Recorder()
    objective = ObjectiveConfig(hard_negatives_from=2, hard_pool=1)
    trainer(recorder, max_epochs=4).fit(module(objective=objective, warmup=0.25), data)
    return recorder


def predicted(runner: Trainer, model: PRVRModule, data: Tiny) -> list[Any]:
    """Answers to the batches of the gallery (None), and to those of the queries."""
    return cast(list[Any], runner.predict(model, data))


def test_a_step_logs_every_term_of_the_objective(recorded: Recorder) -> None:
    assert len(recorded.expected) == 4 * 3
    for logged, expected in zip(recorded.logged, recorded.expected, strict=True):
        found = {name: logged[f"train/{name}"] for name in expected if name != "total"}
        assert found | {"total": logged["loss"]} == expected
    assert len({step["total"] for step in recorded.expected}) == 12


def test_other_steps_cost_no_logging(data: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what loggers take is handed over, and each epoch's last loss."""
    model, steps = module(), []
    monkeypatch.setattr(
        model, "log_dict", lambda values, **_: steps.append((model.global_step, set(values)))
    )
    trainer(log_every_n_steps=4, limit_val_batches=0, max_epochs=2).fit(model, data)
    assert [step for step, names in steps if "train/kl" in names] == [2, 3, 5]


def test_hard_negatives_start_at_their_epoch(recorded: Recorder) -> None:
    assert recorded.hard == [False] * 6 + [True] * 6


def test_the_schedule_advances_at_each_step(recorded: Recorder) -> None:
    expected = [2.5e-4 * warmup_factor(step, 12, 0.25) for step in range(12)]
    assert recorded.rates == pytest.approx(expected)
    assert recorded.rates[0] == 0
    assert max(recorded.rates) == recorded.rates[3]


def full_scores(module: PRVRModule, data: Tiny) -> tuple[Tensor, list[int]]:
    """Scores (Q, V) of each query with each video by itself, and the true video of each query."""
    module.eval()
    videos, queries = (loader.dataset for loader in data.test_dataloader())
    gallery, asked = data.test_dataloader()
    score = torch.zeros(len(queries), len(videos))
    with torch.no_grad():
        for q in range(len(queries)):
            words = asked.collate_fn([queries[q]])
            for v in range(len(videos)):
                video = gallery.collate_fn([videos[v]])
                score[q, v] = module.network(*words[1:3], *video[1:])
    return score, [int(positive) for (positive,) in queries.positives]


@pytest.mark.parametrize("verb", ["validate", "test"])
def test_recall_equals_the_slow_reference(data: Tiny, verb: str) -> None:
    model, runner = module(), trainer()
    found = getattr(runner, verb)(model, data, verbose=False)[0]
    scores, true = full_scores(model, data)
    ranks = []
    for row, video in zip(scores.tolist(), true, strict=True):
        order = sorted(range(len(row)), key=lambda v: -row[v])
        ranks.append(1 + order.index(video))
    assert len(set(ranks)) > 5
    name = {"validate": "val"}.get(verb, verb)
    expected = {f"R@{k}": 100 * sum(r <= k for r in ranks) / len(ranks) for k in (1, 5, 10, 100)}
    expected["SumR"] = sum(expected.values())
    for key, value in expected.items():
        assert found[f"{name}/{key}"] == pytest.approx(value, rel=1e-5)
    assert expected["R@1"] < expected["R@5"] < expected["R@10"] < expected["R@100"] == 100


class Sampled(Tiny):
    """A data set whose loaders leave out a video, or a caption."""

    left_out = 0

    def _evaluation_loaders(self, split: Any, share: Any = None) -> list[DataLoader[Any]]:
        loaders = super()._evaluation_loaders(split, share)
        whole = loaders[self.left_out]
        loaders[self.left_out] = DataLoader(
            dataset=whole.dataset, sampler=range(1, len(whole.dataset)), batch_size=3,  # type: ignore[arg-type]
            collate_fn=whole.collate_fn,
        )  # fmt: skip
        return loaders


@pytest.mark.parametrize("left_out", [0, 1])
@pytest.mark.parametrize(("verb", "split"), [("validate", "val"), ("test", "test")])
def test_a_sampler_of_a_data_set_makes_a_part(
    data: Tiny, tmp_path: Path, verb: str, split: str, left_out: int
) -> None:
    sampled = Sampled(tmp_path, num_workers=0, max_frames=8, num_clips=4)
    sampled.left_out = left_out
    captions = len(data.annotations(split).queries)
    model = module()
    found = getattr(trainer(), verb)(model, sampled, verbose=False)[0]
    assert f"{split}_partial/SumR" in found
    assert f"{split}/SumR" not in found
    assert model.coverage is not None
    assert (model.coverage.videos, model.coverage.all_videos) == (14 - (left_out == 0), 14)
    assert model.coverage.all_captions == captions
    assert model.coverage.captions < captions


def test_loaders_without_a_data_module_are_counted_too(data: Tiny) -> None:
    loaders = data.test_dataloader()
    assert "test/SumR" in trainer().test(module(), loaders, verbose=False)[0]
    cut = trainer(limit_test_batches=2).test(module(), data.test_dataloader(), verbose=False)[0]
    assert "test_partial/SumR" in cut
    assert "test/SumR" not in cut


@pytest.mark.parametrize("top_k", [1, 3, 14, 100])
def test_predict_gives_the_best_of_all(data: Tiny, top_k: int) -> None:
    model = module(top_k=top_k)
    gallery, batches = predicted(trainer(), model, data)
    assert set(gallery) == {None}
    scores, _ = full_scores(model, data)
    order = scores.argsort(dim=1, descending=True)[:, :top_k]
    video = torch.cat([hits.video for hits in batches])
    assert torch.equal(video, order)
    score = torch.cat([hits.score for hits in batches])
    torch.testing.assert_close(score, scores.gather(1, order))
    assert torch.cat([hits.query for hits in batches]).tolist() == list(range(len(scores)))


def test_predictions_hold_nothing_of_an_earlier_gallery(data: Tiny) -> None:
    model, runner = module(), trainer()
    first, second = (predicted(runner, model, data)[1] for _ in range(2))
    for ours, theirs in zip(first, second, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_no_registers(data: Tiny) -> None:
    recorder = Recorder()
    model = module(network={"num_registers": 0})
    runner = trainer(recorder)
    runner.fit(model, data)
    assert len(recorder.logged) == 6
    assert not {"train/kl", "train/diffusion"} & set(recorder.logged[-1])
    assert not any("register" in name for name in model.state_dict())
    assert runner.callback_metrics["val/R@100"] == 100
    assert runner.test(model, data, verbose=False)[0]["test/R@100"] == 100


def test_mixed_precision_is_close_and_keeps_float32_weights(data: Tiny) -> None:
    recorder, model = Recorder(), module()
    runner = trainer(recorder, precision="bf16-mixed")
    runner.fit(model, data)
    exact = [step["total"] for step in recorder.expected]  # hooks run outside autocast
    found = [step["loss"] for step in recorder.logged]
    assert found == pytest.approx(exact, rel=0.02)
    assert found != exact
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert runner.test(model, data, verbose=False)[0]["test/R@100"] == 100
    assert predicted(runner, model, data)[1][0].score.dtype == torch.float32


def test_double_precision(data: Tiny) -> None:
    model, runner = module(), trainer(precision="64-true")
    runner.fit(model, data)
    assert {value.dtype for value in model.parameters()} == {torch.float64}
    assert runner.test(model, data, verbose=False)[0]["test/R@100"] == 100


# Checkpoints and bad input


@pytest.fixture
def saved(data: Tiny, tmp_path: Path) -> tuple[PRVRModule, Path]:
    """A module that is trained with settings unlike the defaults, and its checkpoint."""
    model = module(
        network={"num_registers": 1, "padded_frames": "ignore"},
        objective=ObjectiveConfig(margin=0.35, hard_negatives_from=1), warmup=0.5, top_k=3,
    )  # fmt: skip
    runner = trainer(max_epochs=1)
    runner.fit(model, data)
    runner.save_checkpoint(tmp_path / "a.ckpt")
    return model, tmp_path / "a.ckpt"


def test_a_checkpoint_brings_its_settings(saved: tuple[PRVRModule, Path]) -> None:
    model, path = saved
    loaded = PRVRModule.load_from_checkpoint(path)
    assert loaded.network.config == model.network.config
    assert loaded.network.objective_config == model.network.objective_config
    assert loaded.network.padding == "ignore"
    assert (loaded.warmup, loaded.top_k) == (0.5, 3)
    assert loaded.hparams == model.hparams
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_a_checkpoint_of_other_sizes_is_refused(data: Tiny, saved: tuple[PRVRModule, Path]) -> None:
    _, path = saved
    line = "the checkpoint belongs to another configuration .*of another size: network"
    with pytest.raises(UserError, match=line):
        trainer().test(module(network={"hidden_size": 12}), data, ckpt_path=path)
    with pytest.raises(UserError, match=r"extra: network\.register_sampler"):
        trainer().test(module(network={"num_registers": 0}), data, ckpt_path=path)


@pytest.mark.parametrize("warmup", [-0.01, 1.01, float("nan")])
def test_a_warm_up_that_is_no_share_is_refused(warmup: float) -> None:
    with pytest.raises(UserError, match=f"training.warmup is {warmup}; .*from 0 to 1"):
        module(warmup=warmup)


@pytest.mark.parametrize("warmup", [0.0, 1.0])
def test_the_whole_range_of_warm_ups_trains(data: Tiny, warmup: float) -> None:
    recorder = Recorder()
    trainer(recorder).fit(module(warmup=warmup), data)
    assert len(recorder.rates) == 6
    assert (recorder.rates[0] > recorder.rates[-1]) == (warmup == 0)


@pytest.mark.slow
# of torch's own tracer, about tensors of its own
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_compiled_it_trains_and_evaluates_the_same(
    data: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = Tiny(  # batches of few sizes
        tmp_path, batch_size=3, eval_batch_size=7, query_batch_size=100, num_workers=0,
        max_frames=8, num_clips=4,
    )  # fmt: skip
    chances = {
        "dropout": 0.0, "input_dropout": 0.0, "text_perturbation": 0.0,
        "gaussian_widths": (1.0,), "diffusion_steps": 1,
    }  # fmt: skip
    compile_eagerly = partial(compile_step, backend="eager")
    monkeypatch.setattr("dreamprvr.training.module.compile_step", compile_eagerly)
    found = []
    for compiled in (True, False):
        model = module(network=chances, compile=compiled, warmup=0.0)
        runner = trainer(max_epochs=1, limit_train_batches=1, limit_val_batches=0)
        runner.fit(model, large)
        found.append((model.state_dict(), runner.test(model, large, verbose=False)))
    assert found[0][0].keys() == found[1][0].keys()
    for name, weight in found[1][0].items():
        torch.testing.assert_close(found[0][0][name], weight, rtol=0, atol=1e-5)
    assert found[0][1] == found[1][1]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


@pytest.mark.parametrize(("precision", "half"), [("32-true", False), ("bf16-mixed", True)])
def test_compilation_knows_the_precision(
    precision: str, half: bool, data: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = []
    monkeypatch.setattr(
        "dreamprvr.training.module.compile_step", lambda *_, **given: told.append(given)
    )
    runner = trainer(precision=precision, max_epochs=1, limit_train_batches=1, limit_val_batches=0)
    runner.fit(module(compile=True), data)
    assert told == [{"half": half, "fused": False}]


def test_fused_attention_alone_is_refused() -> None:
    with pytest.raises(UserError, match=r"^training\.fused_attention needs training\.compile"):
        module(fused_attention=True)


@pytest.mark.parametrize("fingerprint", ["", "abc"])
def test_a_checkpoint_records_its_features(data: Tiny, tmp_path: Path, fingerprint: str) -> None:
    if fingerprint:
        with h5py.File(data.folder / data.feature_set.video / "feature.hdf5", "r+") as file:
            file.attrs["fingerprint"] = fingerprint
    runner = trainer(max_epochs=1)
    runner.fit(module(), data)
    runner.save_checkpoint(tmp_path / "a.ckpt", weights_only=False)
    found = read_checkpoint(tmp_path / "a.ckpt")["hyper_parameters"]
    assert found.get("feature_fingerprint", "") == fingerprint
    PRVRModule.load_from_checkpoint(tmp_path / "a.ckpt")


def test_fewer_than_one_rescored_video_is_refused() -> None:
    with pytest.raises(UserError, match=r"training\.rescored is 0; at least 1 video"):
        PRVRModule(DreamPRVR(6, 5), rescored=0)
