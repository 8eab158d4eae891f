"""The contract of a model as tests: subclass `ModelContract` and name the model.

from dreamprvr.models.testing import ModelContract

class TestMine(ModelContract):
    model = Mine
    small = {"hidden_size": 16, "num_heads": 2}
"""

import inspect
import json
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import PADDED, map_tensors
from dreamprvr.models.registry import build_model, class_path
from dreamprvr.models.scoring import combine, scale_scores, unit_rows, unit_tokens
from dreamprvr.models.settings import read_settings

VIDEO_DIM, TEXT_DIM = 6, 5
CAPTIONS, FRAMES = (2, 3, 1), (8, 3, 1)  # numbers of captions and frames of each video of a batch


class ModelContract:
    """Tests that every model passes.

    Attributes:
        model: class of the model.
        small: settings of the network that make it small. The contract itself sets `num_clips`,
            `max_frames` and `max_words`.
        objective: settings of the loss, if its defaults do not suit a batch of six captions.
    """

    model: ClassVar[type[RetrievalModel]]
    small: ClassVar[Mapping[str, Any]] = {}
    objective: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture
    def made(self) -> RetrievalModel:
        """A small model in float64, so that tests can be strict; all its weights are moved."""
        torch.manual_seed(0)
        lengths = {"num_clips": 4, "max_frames": 8, "max_words": 5}
        network = read_settings(self.model.network_settings, {**self.small, **lengths}, "network")
        loss = read_settings(self.model.objective_settings, self.objective, "objective")
        model = self.model(VIDEO_DIM, TEXT_DIM, network, loss).double().eval()
        generator = torch.Generator().manual_seed(1)
        for parameter in model.parameters():  # so that a test sees the effect of every weight
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.data += 0.3 * noise
        return model

    @pytest.fixture
    def batch(self) -> TrainBatch:
        """Three videos with captions of two to five words."""
        torch.manual_seed(2)
        words = [2 + i % 4 for i in range(sum(CAPTIONS))]
        labels = torch.repeat_interleave(torch.arange(len(CAPTIONS)), torch.tensor(CAPTIONS))
        clips = torch.randn(len(CAPTIONS), 4, VIDEO_DIM, dtype=torch.float64)
        return TrainBatch(
            Videos(torch.arange(len(CAPTIONS)), clips, *_ragged(FRAMES, 8, VIDEO_DIM)),
            Queries(
                torch.arange(len(labels)), *_ragged(words, max(words), TEXT_DIM), labels[:, None]
            ),
            labels,
        )

    def test_the_settings_have_types(self) -> None:
        """The command line reads from the types which settings there are."""
        parameters = inspect.signature(self.model).parameters
        for name in ("network", "objective"):
            assert parameters[name].annotation is not inspect.Parameter.empty, name

    def test_encodings_have_the_stated_form(self, made: RetrievalModel, batch: TrainBatch) -> None:
        """Scales, rows and extras have the shapes of the contract."""
        videos = made.encode_videos(*batch.videos[1:])
        queries = made.encode_queries(*batch.queries[1:3])
        assert tuple(videos.scales) == made.scales
        assert set(made.scale_weights) == set(made.scales) == set(queries.rows)
        for scale in videos.scales.values():
            assert scale.tokens.dim() == 3
            assert len(scale.tokens) == len(CAPTIONS)
            assert scale.mask is None or scale.mask.shape == scale.tokens.shape[:2]
        for rows in queries.rows.values():
            assert rows.vectors.shape[:2] == rows.weights.shape
            assert len(rows.vectors) == sum(CAPTIONS)
        assert all(len(extra) == len(CAPTIONS) for extra in videos.extras.values())
        assert all(len(extra) == sum(CAPTIONS) for extra in queries.extras.values())
        assert set(made.kept) <= set(videos.extras)

    def test_the_score_is_the_sum_of_maxima_rescored(
        self, made: RetrievalModel, batch: TrainBatch
    ) -> None:
        """The model's own call gives the sum of maxima, changed by `rescore`."""
        queries = unit_rows(made.encode_queries(*batch.queries[1:3]))
        videos = unit_tokens(made.encode_videos(*batch.videos[1:]))
        base = combine(scale_scores(queries, videos, made.padding), made.scale_weights)
        expected = made.rescore(queries, videos, base)
        scores = _scores(made, batch)
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-12)
        assert torch.equal(expected, base) != made.rescores
        assert scores.std() > 1e-6

    def test_videos_and_queries_are_encoded_independently(
        self, made: RetrievalModel, batch: TrainBatch
    ) -> None:
        """A video and a query alone get the score that they get among others."""
        whole = _scores(made, batch)
        for video in range(len(CAPTIONS)):
            one = Videos(*(part[video : video + 1] for part in batch.videos))
            alone = _scores(made, batch._replace(videos=one))
            torch.testing.assert_close(alone[:, 0], whole[:, video], rtol=0, atol=1e-10)
        one_query = Queries(*(part[:1] for part in batch.queries))
        alone = _scores(made, batch._replace(queries=one_query))
        torch.testing.assert_close(alone[0], whole[0], rtol=0, atol=1e-10)

    def test_padded_words_change_nothing(self, made: RetrievalModel, batch: TrainBatch) -> None:
        """Padding may hold any numbers."""
        queries = batch.queries
        noise = torch.randn_like(queries.words)  # a constant would vanish in a layer normalisation
        garbage = queries.words + 50 * noise * (1 - queries.word_mask[..., None])
        changed = batch._replace(queries=queries._replace(words=garbage))
        torch.testing.assert_close(_scores(made, changed), _scores(made, batch), rtol=0, atol=1e-10)

    @pytest.mark.parametrize("epoch", [0, 1000])
    def test_the_loss_trains_every_weight(
        self, made: RetrievalModel, batch: TrainBatch, epoch: int
    ) -> None:
        """All terms are finite scalars, and every weight gets a finite gradient."""
        terms = made.train().losses(made.encode_batch(batch), epoch)
        assert "total" in terms
        assert all(term.dim() == 0 and term.isfinite() for term in terms.values())
        terms["total"].backward()
        grouped = {id(p) for group in made.parameter_groups() for p in group["params"]}
        for name, parameter in made.named_parameters():
            if parameter.requires_grad:
                assert id(parameter) in grouped, name
                assert parameter.grad is not None, name
                assert parameter.grad.isfinite().all(), name

    def test_mixed_precision_trains(self, made: RetrievalModel, batch: TrainBatch) -> None:
        """Under autocast all terms are float32, near those in float32, with finite gradients."""
        model, batch = made.float(), map_tensors(_single, batch)
        torch.manual_seed(0)
        expected = model.losses(model.encode_batch(batch), 0)["total"].item()
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16):
            terms = model.losses(model.encode_batch(batch), 0)
        assert all(term.dtype == torch.float32 and term.isfinite() for term in terms.values())
        assert terms["total"].item() == pytest.approx(expected, rel=0.2)
        terms["total"].backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is None or parameter.grad.isfinite().all(), name

    def test_padded_queries_are_in_no_term(self, made: RetrievalModel, batch: TrainBatch) -> None:
        """Padded queries, which a compiled loss needs, change no term without random draws."""
        encoded = made.encode_batch(batch)
        queries = map_tensors(lambda x: torch.cat([x, x[:2]]), encoded.queries)
        labels = torch.cat([encoded.labels, torch.tensor([PADDED, PADDED])])
        padded = encoded._replace(queries=queries, labels=labels)
        torch.manual_seed(0)
        expected = made.losses(encoded, 0)
        torch.manual_seed(0)
        terms = made.losses(padded, 0)
        for name in expected:
            if "triplet" not in name and name != "total":  # triplet terms draw negatives
                torch.testing.assert_close(terms[name], expected[name], rtol=1e-9, atol=1e-12)

    def test_compiled_parts_are_methods_of_the_models_modules(self, made: RetrievalModel) -> None:
        """Each part that torch.compile takes exists and is named once."""
        parts = [part for group in made.compiled_parts() for part in group]
        modules = set(made.modules())
        assert all(module in modules and callable(getattr(module, name)) for module, name in parts)
        assert len(set(parts)) == len(parts)

    def test_settings_make_the_same_model_again(self, made: RetrievalModel) -> None:
        """The settings that a checkpoint holds are built-in types and make the same model."""
        settings = {"model": class_path(type(made)), **made.settings()}
        again = build_model(json.loads(json.dumps(settings)))
        assert type(again) is type(made)
        assert again.config == made.config
        assert {k: v.shape for k, v in again.state_dict().items()} == {
            k: v.shape for k, v in made.state_dict().items()
        }
        assert asdict(again.objective_config) == asdict(made.objective_config)

    def test_every_setting_is_described(self) -> None:
        """The docstrings of the settings' classes describe each setting."""
        for kind in (self.model.network_settings, self.model.objective_settings):
            texts = "".join(base.__doc__ or "" for base in kind.__mro__[:-1])
            missing = [field.name for field in fields(kind) if f"{field.name}: " not in texts]
            assert not missing, f"{kind.__name__}: {missing}"

    def test_tokens_cover_the_video(self, made: RetrievalModel, batch: TrainBatch) -> None:
        """The tokens of every scale cover its clips or frames, each at least once."""
        for name, scale in made.encode_videos(*batch.videos[1:]).scales.items():
            items, spans = made.token_spans(name)
            count = {"clips": made.config.num_clips, "frames": made.config.max_frames}[items]
            assert len(spans) == scale.tokens.shape[1]
            assert all(0 <= first < stop <= count for first, stop in spans)
            assert {item for span in spans for item in range(*span)} == set(range(count))


def _scores(model: RetrievalModel, batch: TrainBatch) -> Tensor:
    with torch.no_grad():
        scores: Tensor = model(*batch.queries[1:3], *batch.videos[1:])
    return scores


def _single(x: Tensor) -> Tensor:
    """Return float64 as float32, and whole numbers as they are."""
    return x.float() if x.is_floating_point() else x


def _ragged(lengths: Any, longest: int, size: int) -> tuple[Tensor, Tensor]:
    """Draw rows of features of given lengths, padded with zeros, and make their mask."""
    mask = (torch.arange(longest) < torch.tensor(lengths)[:, None]).double()
    return torch.randn(len(lengths), longest, size, dtype=torch.float64) * mask[..., None], mask
