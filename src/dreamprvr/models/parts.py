"""Parts of a model that its settings can replace, each named by the path of a class.

A setting such as `registers: {class_path: lab.MyRegisters, init_args: {size: 3}}` names a class of
any installed package; `registers: lab.MyRegisters` is enough without arguments. Each part is a
`torch.nn.Module` with the interface below. `config` holds the settings of the model, and
`init_args` are further arguments of the class.

    network.query_encoder       Class(text_dim, config, **init_args)
        forward(words, mask)        (Q, L, E) and (Q, L) -> (Q, D)

    network.registers           Class(config, **init_args), a subclass of `RegisterSampler`
        forward(clip_tokens)        (B, M_c, D) -> `Registers`
        losses(registers, text)     `Registers` and (B, D) -> loss terms by name

    network.gaussian_encoder    Class(length, config, num_registers, aggregation, **init_args)
        forward(tokens, registers, mask, token)
                                    (B, L, D), (B, R, D) or None, (B, L) or None, and (1, 1, D) or
                                    None -> (B, L, D)

    network.aggregation         Class(length, config, **init_args)
        forward(branches, mask, token)
                                    (G, B, L, D), (B, L) or None, and (1, 1, D) or None ->
                                    (B, L, D)

    network.frame_query_encoder Class(text_dim, config, **init_args)
        forward(words, mask, position)
                                    (Q, L, E), (Q, L) and a module (Q, L, D) -> (Q, L, D) ->
                                    `QueryRows`

    network.rescorer            Class(config, **init_args), a subclass of `Rescorer`
        forward(queries, videos)    `EncodedQueries` and `EncodedVideos` -> (Q, B)

    objective.extra.NAME        Class(**init_args), a subclass of `LossTerm`
        forward(batch, epoch)       `EncodedBatch` and int -> a scalar, or scalars by name

Masks have 1 for a word or frame and 0 for padding; None means that there is no padding. `token` is
the learned token of GMMFormer v2, and None in DreamPRVR. `position` adds the positions of the words
in the query branch.
"""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import meant, quote
from dreamprvr.models.encoded import EncodedBatch, EncodedQueries, EncodedVideos, Padding

PartSetting = str | dict[str, Any]
"""The path of a class, or a dictionary of `class_path` and `init_args`."""


def part_path(setting: Any) -> str:
    """Give the path of the class that a setting names.

    Raises:
        UserError: the setting is no `PartSetting`.
    """
    return _split(setting)[0]


def build_part(setting: PartSetting, *arguments: Any, base: type[nn.Module] = nn.Module) -> Any:
    """Make a part of a model.

    Args:
        setting: the class, and further arguments by name.
        arguments: the positional arguments of the part's interface.
        base: class that the part must be a subclass of.

    Raises:
        UserError: there is no such class, it is no part, or it does not take the arguments.
    """
    path, further = _split(setting)
    module_name, _, name = path.rpartition(".")
    try:
        part = getattr(import_module(module_name), name)
    except (ImportError, AttributeError, ValueError):
        raise UserError(
            f"there is no class {path}: install the package that holds it, or correct its path"
        ) from None
    if not (isinstance(part, type) and issubclass(part, base)):
        kind = "torch.nn.Module, so no part of a model" if base is nn.Module else base.__name__
        raise UserError(f"{path} is no {kind}")
    known = signature(part).parameters
    takes_any = any(one.kind is one.VAR_KEYWORD for one in known.values())
    for key in further:
        if key not in known and not takes_any:
            raise UserError(f"{path} has no setting {key}{meant(str(key), known)}")
    try:
        return part(*arguments, **further)
    except TypeError as error:
        raise UserError(f"{path} cannot be made: {error}") from None


def _split(setting: Any) -> tuple[str, dict[str, Any]]:
    """Split a setting into the path of the class and its further arguments."""
    if isinstance(setting, str):
        return setting, {}
    if isinstance(setting, dict) and set(setting) <= {"class_path", "init_args"}:
        path, further = setting.get("class_path"), setting.get("init_args") or {}
        if isinstance(path, str) and isinstance(further, dict):
            return path, further
    raise UserError(f"a part of a model needs a class_path and init_args, not {quote(setting)}")


class Registers(NamedTuple):
    """The result of a register sampler for B videos."""

    registers: Tensor  # (B, R, D)
    context: Any = None  # whatever else `RegisterSampler.losses` needs


class RegisterSampler(nn.Module):
    """Gives every video R registers, which its tokens attend to.

    Args:
        config: settings of the model, with `hidden_size`, `num_registers`, `num_clips` and others.
    """

    def forward(self, clip_tokens: Tensor) -> Registers:
        """Make the registers of B videos.

        Args:
            clip_tokens: clips after projection and position embedding, (B, M_c, D).
        """
        raise NotImplementedError

    def losses(self, registers: Registers, text: Tensor) -> dict[str, Tensor]:
        """Compute the loss terms of the sampler itself, one value for each video.

        Args:
            registers: the result of `forward` for the same videos.
            text: m, the mean of the embeddings of each video's queries, (B, D).

        Returns:
            Terms by name, (B,) each; none by default. The objective takes the mean of each, with
            the weight `<name>_weight` of its settings, or 1 if there is no such setting.
        """
        return {}


class Rescorer(nn.Module):
    """A score that is added to the sum of maxima, for the best candidates or for all videos.

    Attributes:
        weight: weight of this score in the score of the model.
        term_weights: weights of its loss terms by name.
        alone_until: number of first epochs in which its loss terms train it alone, and the rest of
            the model stays as it is.
    """

    weight: float = 1.0
    term_weights: Mapping[str, float] = {}
    alone_until: int = 0

    def forward(self, queries: EncodedQueries, videos: EncodedVideos) -> Tensor:
        """Score every query with every video, (Q, B), without `weight`.

        Args:
            queries: Q queries.
            videos: B videos. Their tokens may have unit length or not: training gives tokens as
                the model encodes them, a library keeps them with unit length. Of the extras there
                are those that the model keeps (`RetrievalModel.kept`).
        """
        raise NotImplementedError

    def losses(
        self, batch: EncodedBatch, scores: Tensor, margin: float, hard_negatives: bool, pool: int
    ) -> dict[str, Tensor]:
        """Compute its own loss terms by name; none by default.

        Args:
            batch: the encoded batch of all processes together.
            scores: the result of `forward` for the batch, (Q, B).
            margin: m of triplet terms.
            hard_negatives: as for `dreamprvr.models.losses.retrieval.triplet`.
            pool: `hard_pool` of the same function.
        """
        return {}

    def fused_weight(self, epoch: int) -> float:
        """Give the weight with which this score is added to the scores in the other loss terms.

        Args:
            epoch: number of the epoch, counted from 0.
        """
        return 0.0


class LossTerm(nn.Module):
    """One or several further terms of the loss. They are not compiled.

    Attributes:
        weight: weight of the term in the total, or the weights by name if there are several.
        takes_sentences: if True, `batch.queries.extras["sentences"]` holds the mean of each
            caption's word features, (Q, E). They come from a frozen encoder.
        padding: how padded tokens take part in the model's score; the model sets it.
    """

    weight: float | Mapping[str, float] = 1.0
    takes_sentences: ClassVar[bool] = False
    padding: Padding = "zero"

    def forward(self, batch: EncodedBatch, epoch: int) -> Tensor | dict[str, Tensor]:
        """Compute the term, a scalar; or several terms, unweighted scalars by name.

        Args:
            batch: the encoded batch of all processes together; its labels may hold `PADDED`.
            epoch: number of the epoch, counted from 0.
        """
        raise NotImplementedError
