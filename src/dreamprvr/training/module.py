"""The LightningModule: composes network, objective, optimiser and metric, and computes nothing."""

from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from data_modules.base import PRVRDataModule
from dreamprvr.core.batch import Queries, TrainBatch, Videos
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.gallery import Gallery, GalleryDtype, QueryHits, top_hits
from dreamprvr.evaluation.metrics import Coverage, RetrievalRecall
from dreamprvr.evaluation.record import Origin, origin, set_seed
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import gather_encoded, join_tensors
from dreamprvr.models.registry import class_path
from dreamprvr.training.checkpoint import (
    read_checkpoint,
    refuse_other_shapes,
    trained_model,
    trained_on,
)
from dreamprvr.training.compilation import compile_step
from dreamprvr.training.optimizer import BertAdam, Decay, set_again, warmup_schedule


class PRVRModule(LightningModule):
    """Trains and evaluates a retrieval model, and computes nothing itself.

    Evaluation loaders give the whole gallery (`Videos`) first, then the queries (`Queries`).

    Args:
        model: the model, which follows `dreamprvr.models.contract`.
        optimizer: function that makes the optimiser from parameter groups; its weight decay is
            that of the decayed group.
        warmup: share of all steps spent warming up.
        decay: fall of the learning rate after the warm-up: `linear` to 0, or `cosine` to a tenth.
        top_k: videos that `predict` returns for a query.
        gallery_dtype: number format in which an evaluation keeps the videos' tokens.
        score_memory: GB that scoring may take beyond the gallery.
        rescored: candidates of a query that a model whose score is more than the sum of maxima
            scores again; None scores all videos again.
        compile: compile the training step; pays on an accelerator, in long runs.
        fused_attention: with `compile`, attend through FlexAttention.
    """

    def __init__(
        self,
        model: RetrievalModel,
        optimizer: OptimizerCallable = BertAdam,
        warmup: float = 0.01,
        decay: Decay = "linear",
        top_k: int = 100,
        gallery_dtype: GalleryDtype = "float32",
        score_memory: float = 1.0,
        rescored: int | None = None,
        compile: bool = False,
        fused_attention: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= warmup <= 1:
            raise UserError(f"training.warmup is {warmup}; it is a share of all steps, from 0 to 1")
        if top_k < 1:
            raise UserError(f"training.top_k is {top_k}; at least 1 video a query")
        if not 0 < score_memory < float("inf"):
            raise UserError(f"training.score_memory is {score_memory}; it is GB, above 0")
        if rescored is not None and rescored < 1:
            raise UserError(f"training.rescored is {rescored}; at least 1 video a query")
        settings = {"model": class_path(type(model)), **model.settings()}
        self.save_hyperparameters({**settings, "warmup": warmup, "top_k": top_k})
        self.network = model
        self.make_optimizer = optimizer
        self.warmup, self.decay = warmup, decay
        self.top_k = top_k
        self.gallery_dtype = gallery_dtype
        self.score_memory = score_memory
        self.rescored = rescored
        if fused_attention and not compile:
            raise UserError(
                "training.fused_attention needs training.compile: uncompiled, it is slower"
            )
        self.compiled: bool = compile
        self.fused_attention = fused_attention
        self.recall = RetrievalRecall()
        self.coverage: Coverage | None = None  # of the last evaluation
        self.searched = 0  # videos, by the last prediction
        self._gallery: Gallery | None = None
        self.trained_on: dict[str, Any] = {}
        self.origin = Origin(None, None, None)  # of the weights
        self.given_to_optimizer: frozenset[str] = frozenset()  # wins over a checkpoint's

    # Training

    def setup(self, stage: str) -> None:
        """Give each process its own dropout masks, before a checkpoint restores the generators."""
        if stage == "fit" and self.trainer.world_size > 1:
            torch.manual_seed(torch.initial_seed() + self.global_rank)

    def on_fit_start(self) -> None:
        """Note what is trained on, and compile, once the weights lie on their device."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, PRVRDataModule):
            self.trained_on = trained_on(data)
        if (seed := set_seed()) is not None:
            self.trained_on["seed"] = seed
        if self.compiled:
            half = "16" in str(self.trainer.precision)
            compile_step(self.network, half=half, fused=self.fused_attention)

    def training_step(self, batch: TrainBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch, over the videos and queries of all processes."""
        encoded = gather_encoded(self.network.encode_batch(batch))
        terms = self.network.losses(encoded, self.current_epoch)
        total = terms["total"]
        if self._is_logged_step():
            size = len(batch.labels)
            values = {name: term.detach() for name, term in terms.items()}
            self.log("loss", values.pop("total"), prog_bar=True, batch_size=size)
            parts = {f"train/{name}": value for name, value in values.items()}
            self.log_dict(parts, batch_size=size)
        return total

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        """Take a step of the optimiser, and keep the model's parameters in their ranges."""
        super().optimizer_step(*args, **kwargs)
        self.network.constrain()

    def _is_logged_step(self) -> bool:
        """Return whether loggers take this step's values, or the epoch ends: others go unread.

        Lightning keeps a value at the cost of several milliseconds of the host a step.
        """
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]
        return self.trainer.is_last_batch or (every > 0 and (self.global_step + 1) % every == 0)

    def configure_optimizers(self) -> Any:
        """Make the optimiser, and its linear warm-up and decay that go a step with every step."""
        optimizer = self.make_optimizer(self.network.parameter_groups())
        total = self.trainer.estimated_stepping_batches
        if total == float("inf"):
            raise UserError(
                "the training has no end at which the learning rate is to be 0: give trainer."
                "max_epochs or trainer.max_steps, which trainer.max_time does not replace"
            )
        schedule = warmup_schedule(optimizer, int(total), self.warmup, self.decay)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    # Evaluation

    def _evaluation_step(self, batch: Videos | Queries) -> None:
        gallery = self._open_gallery()
        if isinstance(batch, Videos):
            gallery.add(batch)
            return
        for block in gallery.blocks(batch):
            positives = gallery.positions(block.positives)
            scores, rows, known = gallery.scores(block), block.row, (positives >= 0).any(dim=1)
            if not known.all():  # some have no labels, or a gallery cut short lacks their videos
                scores, positives, rows = scores[known], positives[known], rows[known]
            self.recall.update(scores, positives, rows)

    def _open_gallery(self) -> Gallery:
        if self._gallery is None:
            self._gallery = Gallery(
                self.network, self.gallery_dtype, 1e9 * self.score_memory, self.rescored
            )
        return self._gallery

    def _evaluation_end(self, split: str) -> None:
        """Log the measures, under a name that nothing monitors unless the whole split was seen."""
        videos = len(self._open_gallery().rows)
        self._gallery = None
        if not self.trainer.sanity_checking:
            measures = self.recall.compute()
            all_videos, all_captions = self._size(split)
            self.coverage = Coverage(videos, all_videos, self.recall.counted, all_captions)
            name = split if self.coverage.whole else f"{split}_partial"
            self.log_dict({f"{name}/{key}": value for key, value in measures.items()})
            self.log(f"{name}_SumR", measures["SumR"], prog_bar=True, logger=False)
        self.recall.reset()

    def _size(self, split: str) -> tuple[int, int]:
        """Count all videos and captions to evaluate, also what samplers and limits leave out."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, PRVRDataModule):
            table = data.annotations(split).evaluated()
            return len(table.videos), len(table.queries)
        loaders: Any = getattr(self.trainer, f"{split}_dataloaders")
        videos, captions = (len(loader.dataset) for loader in loaders)
        return videos, captions

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Encode a batch of the gallery, or rank it for a batch of queries."""
        self._evaluation_step(batch)

    def on_validation_epoch_end(self) -> None:
        """Log R@1, R@5, R@10, R@100 and SumR as `val/...`; `val_partial/...` of a part.

        Where captions have several true videos, mAP, nDCG@10 and R-precision are logged as well.
        """
        self._evaluation_end("val")

    def test_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Encode a batch of the gallery, or rank it for a batch of queries."""
        self._evaluation_step(batch)

    def on_test_epoch_end(self) -> None:
        """Log R@1, R@5, R@10, R@100 and SumR as `test/...`; `test_partial/...` of a part.

        Where captions have several true videos, mAP, nDCG@10 and R-precision are logged as well.
        """
        self._evaluation_end("test")

    def predict_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> QueryHits | None:
        """Return the `top_k` videos of each query of a batch; None for a batch of the gallery."""
        gallery = self._open_gallery()
        if isinstance(batch, Videos):
            gallery.add(batch)
            return None
        hits = [top_hits(gallery, block, self.top_k) for block in gallery.blocks(batch)]
        self.searched = len(gallery.rows)
        return join_tensors(hits)

    def on_predict_epoch_end(self) -> None:
        """Free the memory of the gallery."""
        self._gallery = None

    # Checkpoints

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]
        cls, checkpoint_path: str | Path, **options: Any
    ) -> "PRVRModule":
        """Make the module of a checkpoint of this framework, with its model and weights.

        Args:
            checkpoint_path: the file.
            options: arguments of the module other than the model.

        Raises:
            UserError: the file cannot be read or is none of ours; see `read_checkpoint`.
        """
        checkpoint = read_checkpoint(checkpoint_path)
        kept = {
            name: checkpoint["hyper_parameters"][name]
            for name in ("warmup", "top_k")
            if name in checkpoint["hyper_parameters"]
        }
        return cls(trained_model(checkpoint, checkpoint_path).build(), **{**kept, **options})

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the seed, and which features the model was trained on: search refuses others."""
        checkpoint["hyper_parameters"].update(self.trained_on)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of other sizes in one line; note the training it comes from."""
        refuse_other_shapes(self.state_dict(), checkpoint["state_dict"])
        self.origin = origin(checkpoint)
        if self.given_to_optimizer:
            optimizer = self.make_optimizer(self.network.parameter_groups())
            set_again(optimizer, checkpoint, self.given_to_optimizer)
