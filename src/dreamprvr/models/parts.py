"""Parts of a model that its settings exchange, by the path of a class.

A setting such as `registers: {class_path: lab.MyRegisters, init_args: {size: 3}}` names a class of
any installed package. The interfaces, all `torch.nn.Module`:

- **query encoder**: `Class(text_dim, config, **init_args)`, `forward(words, mask)`: (Q, L, E) and
  (Q, L) -> (Q, D);
- **register sampler**: subclass of `RegisterSampler`, `Class(config, **init_args)`;
- **Gaussian encoder**: `Class(length, config, num_registers, aggregation, **init_args)`,
  `forward(tokens, registers, mask, token)`: (B, L, D), (B, R, D) or None, (B, L) or None, and None
  -> (B, L, D);
- **aggregation**: `Class(length, config, **init_args)`, `forward(branches, mask, token)`:
  (G, B, L, D), (B, L) or None, and None -> (B, L, D);
- **loss term**: subclass of `LossTerm`, `Class(**init_args)`.

`config` is the model's own settings.
"""

from importlib import import_module
from typing import Any, NamedTuple

from torch import Tensor, nn

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import quote
from dreamprvr.models.encoded import EncodedBatch

PartSetting = str | dict[str, Any]
"""The path of a class, or a dictionary of `class_path` and `init_args`."""


def part_path(setting: Any) -> str:
    """Give the path of the class that a setting names.

    Raises:
        UserError: the setting is no `PartSetting`.
    """
    return _split(setting)[0]


def build_part(setting: PartSetting, *arguments: Any) -> Any:
    """Make a part.

    Args:
        setting: names the class, and further arguments by name.
        arguments: those of the part's interface.

    Raises:
        UserError: there is no such class, it is no part, or it does not take the arguments.
    """
    path, further = _split(setting)
    module_name, _, name = path.rpartition(".")
    try:
        made = getattr(import_module(module_name), name)
    except (ImportError, AttributeError, ValueError):
        raise UserError(
            f"there is no class {path}: install the package that holds it, or correct its path"
        ) from None
    if not (isinstance(made, type) and issubclass(made, nn.Module)):
        raise UserError(f"{path} is no torch.nn.Module, so no part of a model")
    try:
        return made(*arguments, **further)
    except TypeError as error:
        raise UserError(f"{path} cannot be made: {error}") from None


def _split(setting: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(setting, str):
        return setting, {}
    if isinstance(setting, dict) and set(setting) <= {"class_path", "init_args"}:
        path, further = setting.get("class_path"), setting.get("init_args") or {}
        if isinstance(path, str) and isinstance(further, dict):
            return path, further
    raise UserError(f"a part of a model needs a class_path and init_args, not {quote(setting)}")


class Registers(NamedTuple):
    """What a register sampler gives for B videos."""

    registers: Tensor  # (B, R, D)
    context: Any = None  # what `RegisterSampler.losses` needs besides


class RegisterSampler(nn.Module):
    """Gives every video R registers, which its tokens attend to.

    Args:
        config: settings of the model: `hidden_size`, `num_registers`, `num_clips`, ...
    """

    def forward(self, clip_tokens: Tensor) -> Registers:
        """Make registers from the projected and positioned clips, (B, M_c, D)."""
        raise NotImplementedError

    def losses(self, registers: Registers, text: Tensor) -> dict[str, Tensor]:
        """Compute loss terms of the sampler's own, one value a video.

        Args:
            registers: what `forward` gave for the same videos.
            text: m, (B, D), the mean of the embeddings of each video's queries.

        Returns:
            (B,) by name; none by default. The objective takes their means, weighted by its
            setting `<name>_weight`, or by 1.
        """
        return {}


class LossTerm(nn.Module):
    """One more loss term.

    Attributes:
        weight: of the term in the total.
    """

    weight: float = 1.0

    def forward(self, batch: EncodedBatch, hard_negatives: bool) -> Tensor:
        """Compute the term, a scalar.

        Args:
            batch: the encoded batch, of all processes together; labels may hold `PADDED` rows.
            hard_negatives: whether the epoch is one of those with hard negatives.
        """
        raise NotImplementedError
