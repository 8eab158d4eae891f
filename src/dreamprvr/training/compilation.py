"""torch.compile for a training step: encoders, register sampler and objective, one graph each."""

import shutil
from collections.abc import Callable
from types import MethodType
from typing import Any

import torch
from einops import rearrange
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn import functional as F

from dreamprvr.core.errors import UserError
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.encoded import PADDED, EncodedBatch, QueryRows, map_tensors
from dreamprvr.models.layers.attention import SMALLEST_HEAD
from dreamprvr.models.layers.parallel import ParallelBlocks

RECOMPILE_LIMIT = 256  # largest number of graphs of one function
COMPILERS = ("c++", "g++", "clang++", "cl")  # one of these programs must be installed


def compile_step(
    model: RetrievalModel,
    backend: str = "inductor",
    half: bool = False,
    fused: bool = False,
    cuda_graphs: bool = False,
) -> None:
    """Compile the parts of a training step in place; the names of the weights do not change.

    A part gets one graph for every shape of its inputs, and others for evaluation. So the smaller
    last batch of an epoch does not change the graph of full batches. Numbers of captions and words
    differ from batch to batch; they are padded to few sizes (`bucket`), which limits the number of
    graphs.

    Args:
        model: model whose parts (`compiled_parts`) are compiled.
        backend: name of a backend of torch.compile.
        half: True if the steps run in half precision.
        fused: run parallel attention blocks through FlexAttention (`training.fused_attention`).
        cuda_graphs: launch every part as a CUDA graph. No setting turns this on, because it has not
            been measured yet (`benchmarks/accelerator.py` can).

    Raises:
        UserError: the CPU cannot compile half precision, has no C++ compiler, or cannot train
            through FlexAttention, which also needs heads of at least 16 channels.
    """
    device = next(model.parameters()).device.type
    if fused:
        _refuse_unfusable(model, device)
    if backend == "inductor" and device == "cpu":
        _refuse_uncompilable(half)
    rank_zero_info("compiling: the first steps of training and of evaluation take minutes")
    _prepare_compiler()
    options: dict[str, Any] = {"fullgraph": True, "backend": backend, "dynamic": False}
    options["mode"] = "reduce-overhead" if cuda_graphs else None
    _compile_parts(model, options)
    for module in model.modules():
        if isinstance(module, ParallelBlocks):
            module.fused = fused


def _compile_parts(model: RetrievalModel, options: dict[str, Any]) -> None:
    parts = model.compiled_parts()
    for module, name in parts.queries:
        encode = _compiled(module, name, options)
        setattr(module, name, bucketed_queries(encode, model.config.max_words))
    for module, name in parts.losses:
        setattr(module, name, bucketed_objective(_compiled(module, name, options)))
    for module, name in parts.others:
        setattr(module, name, _compiled(module, name, options))


def _refuse_uncompilable(half: bool) -> None:
    if half:  # torch 2.13 then writes C++ that does not compile
        raise UserError("training.compile on the CPU needs --trainer.precision 32-true")
    if not any(map(shutil.which, COMPILERS)):
        raise UserError(
            "training.compile on the CPU needs a C++ compiler, such as g++: install one"
        )


def _refuse_unfusable(model: RetrievalModel, device: str) -> None:
    size = model.config.hidden_size // model.config.num_heads
    if device == "cpu":
        raise UserError("training.fused_attention works on an accelerator only: leave it out here")
    if size < SMALLEST_HEAD:
        raise UserError(
            f"training.fused_attention needs heads of at least {SMALLEST_HEAD} channels, and "
            f"network.hidden_size / network.num_heads is {size}"
        )


def _compiled(module: nn.Module, method: str, options: dict[str, Any]) -> Callable[..., Any]:
    # the method of the class: an earlier fit may have compiled the module's own
    return torch.compile(MethodType(getattr(type(module), method), module), **options)


def _prepare_compiler() -> None:
    # By default torch allows 8 graphs of one function. Both encoders are the same function, and a
    # graph is made for every shape, for evaluation, and for every network of the process.
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, RECOMPILE_LIMIT)
    # einops chooses its backend at the first call; if that were compiled, so would be the next ones
    for tensor in (torch.zeros(1), torch.nn.Parameter(torch.zeros(1))):
        rearrange(tensor, "a -> a")


EncodeQueries = Callable[[Tensor, Tensor], Tensor]
ComputeLoss = Callable[[EncodedBatch, bool], dict[str, Tensor]]


def bucket(size: int) -> int:
    """Round a size up to one of few: four between a power of two and the next (16, 20, 24, 28).

    Args:
        size: number of words or captions, at least 1.

    Returns:
        At least `size`, and less than a quarter more.
    """
    step = max(1, 2 ** ((size - 1).bit_length() - 3))
    return -(-size // step) * step


def bucketed_queries(encode: EncodeQueries, max_words: int) -> EncodeQueries:
    """Return a query encoder that pads its batches to few sizes.

    Args:
        encode: encoder that is compiled for each size: (Q, L, E) words and (Q, L) mask -> (Q, D).
        max_words: number of words of the longest caption that the encoder takes.
    """

    def padded(words: Tensor, mask: Tensor) -> Tensor:
        count, longest = mask.shape
        added_words = max(min(bucket(longest), max_words) - longest, 0)
        added_queries = bucket(count) - count
        words = F.pad(words, (0, 0, 0, added_words, 0, added_queries))
        return encode(words, F.pad(mask, (0, added_words, 0, added_queries)))[:count]

    return padded


def _padded_rows(rows: QueryRows) -> QueryRows:
    """Pad the rows of each query with rows of weight 0, up to the next bucket."""
    added = bucket(rows.weights.shape[1]) - rows.weights.shape[1]
    weights = [
        None if each is None else F.pad(each, (0, added))
        for each in (rows.weights, rows.product_weights)
    ]
    return QueryRows(F.pad(rows.vectors, (0, 0, 0, added)), *weights)  # type: ignore[arg-type]


def bucketed_objective(compute: ComputeLoss) -> ComputeLoss:
    """Return an objective that pads queries and their rows to few numbers.

    No loss term sees the padding: padded queries have the label `PADDED`, and padded rows weight 0.

    Args:
        compute: objective that is compiled for each number of queries and of rows.
    """

    def padded(batch: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        added = bucket(len(batch.labels)) - len(batch.labels)

        def pad(rows: Tensor) -> Tensor:
            return F.pad(rows, (*(0, 0) * (rows.dim() - 1), 0, added))

        rows = {scale: _padded_rows(rows) for scale, rows in batch.queries.rows.items()}
        queries = map_tensors(pad, batch.queries._replace(rows=rows))
        labels = F.pad(batch.labels, (0, added), value=PADDED)
        return compute(batch._replace(queries=queries, labels=labels), hard_negatives)

    return padded
