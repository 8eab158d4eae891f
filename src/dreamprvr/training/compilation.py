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
from dreamprvr.models.encoded import PADDED, EncodedBatch, map_tensors
from dreamprvr.models.layers.attention import SMALLEST_HEAD
from dreamprvr.models.layers.parallel import ParallelBlocks

RECOMPILE_LIMIT = 256  # graphs of one function
COMPILERS = ("c++", "g++", "clang++", "cl")


def compile_step(
    model: RetrievalModel,
    backend: str = "inductor",
    half: bool = False,
    fused: bool = False,
    cuda_graphs: bool = False,
) -> None:
    """Compile the parts of a training step in place; the state dict stays as it is.

    Each part has a graph for every shape that it meets, and once more for evaluation: a batch size
    of its own, as the last batch has, leaves the graph of full batches as it is. Captions are
    ragged; they are padded to few sizes (`bucketing`), so that the number of graphs is bounded.

    Args:
        model: says which of its parts are compiled (`compiled_parts`).
        backend: name of a backend of torch.compile.
        half: whether the steps run in half precision.
        fused: run parallel attention blocks through FlexAttention (`training.fused_attention`).
        cuda_graphs: launch every part as a CUDA graph. There is no setting for it, as nobody has
            measured it (`benchmarks/accelerator.py` can).

    Raises:
        UserError: on the CPU in half precision, or where no C++ compiler is found; `fused` where
            FlexAttention cannot train: on the CPU, and with heads of fewer than 16 channels.
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

    parts = model.compiled_parts()
    for module, name in parts.queries:
        encode = _compiled(module, name, options)
        setattr(module, name, bucketed_queries(encode, model.config.max_words))
    for module, name in parts.losses:
        setattr(module, name, bucketed_objective(_compiled(module, name, options)))
    for module, name in parts.others:
        setattr(module, name, _compiled(module, name, options))
    for module in model.modules():
        if isinstance(module, ParallelBlocks):
            module.fused = fused


def _refuse_uncompilable(half: bool) -> None:
    if half:  # what torch 2.13 makes of it for the CPU is no valid C++
        raise UserError("training.compile on the CPU needs --trainer.precision 32-true")
    if not any(map(shutil.which, COMPILERS)):
        raise UserError("training.compile needs a C++ compiler on the CPU, and none is installed")


def _refuse_unfusable(model: RetrievalModel, device: str) -> None:
    size = model.config.hidden_size // model.config.num_heads
    if device == "cpu":
        raise UserError("training.fused_attention trains on an accelerator only; leave it out here")
    if size < SMALLEST_HEAD:
        raise UserError(
            f"training.fused_attention needs heads of at least {SMALLEST_HEAD} channels, and "
            f"network.hidden_size / network.num_heads is {size}"
        )


def _compiled(module: nn.Module, method: str, options: dict[str, Any]) -> Callable[..., Any]:
    # the method of the class, as that of the module may be compiled already, by an earlier fit
    return torch.compile(MethodType(getattr(type(module), method), module), **options)


def _prepare_compiler() -> None:
    # Beyond a limit of 8 graphs of a function, compiling fails. Both encoders are one function, and
    # each counts every shape, evaluation, and every network of the process: a sweep, say.
    limit = torch._dynamo.config.recompile_limit
    torch._dynamo.config.recompile_limit = max(limit, RECOMPILE_LIMIT)
    # einops looks its backend up at the first call, which later calls would be compiled again for
    for tensor in (torch.zeros(1), torch.nn.Parameter(torch.zeros(1))):
        rearrange(tensor, "a -> a")


EncodeQueries = Callable[[Tensor, Tensor], Tensor]
ComputeLoss = Callable[[EncodedBatch, bool], dict[str, Tensor]]


def bucket(size: int) -> int:
    """Round a size up to one of four an octave, as 16, 20, 24, 28 and 32.

    Args:
        size: a number from 1.

    Returns:
        At least `size`, and less than a quarter more. Sizes up to n become 4 log2(n) or fewer.
    """
    step = max(1, 2 ** ((size - 1).bit_length() - 3))
    return -(-size // step) * step


def bucketed_queries(encode: EncodeQueries, max_words: int) -> EncodeQueries:
    """Make a query encoder of ragged batches from one that is compiled for each size.

    Args:
        encode: the compiled encoder: (Q, L, E) words and (Q, L) mask -> (Q, D).
        max_words: words of the longest caption that it takes.
    """

    def padded(words: Tensor, mask: Tensor) -> Tensor:
        count, longest = mask.shape
        more_words = max(min(bucket(longest), max_words) - longest, 0)
        more_queries = bucket(count) - count
        words = F.pad(words, (0, 0, 0, more_words, 0, more_queries))
        return encode(words, F.pad(mask, (0, more_words, 0, more_queries)))[:count]

    return padded


def bucketed_objective(compute: ComputeLoss) -> ComputeLoss:
    """Make an objective of ragged batches from one that is compiled for each number of queries."""

    def padded(batch: EncodedBatch, hard_negatives: bool) -> dict[str, Tensor]:
        more = bucket(len(batch.labels)) - len(batch.labels)
        queries = map_tensors(lambda x: F.pad(x, (*(0, 0) * (x.dim() - 1), 0, more)), batch.queries)
        labels = F.pad(batch.labels, (0, more), value=PADDED)
        return compute(batch._replace(queries=queries, labels=labels), hard_negatives)

    return padded
