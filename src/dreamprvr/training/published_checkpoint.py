"""Import a checkpoint that the authors of a model released.

Their file is a pickle. It is read as data: the few foreign classes that the model's
`PublishedFormat` names are replaced by empty stand-ins, and any other class is refused.
"""

import io
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path
from dreamprvr.core.torch_file import read_torch_file
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.published import PublishedFormat
from dreamprvr.training.checkpoint import Trained, check_weights, disagreements

PARALLEL = "module."  # start of every name in weights that were saved with DataParallel


class FeatureSizes(NamedTuple):
    """Sizes of the features that a network reads."""

    video_dim: int
    text_dim: int


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A released checkpoint under the names of this framework.

    Attributes:
        trained: the model, with every size and setting that the file gives.
        remarks: a line for each value that the file does not give, or gives differently from the
            configuration.
    """

    trained: Trained
    remarks: list[str]


def read_published(
    path: str | Path,
    kind: type[RetrievalModel],
    configured: Any = None,
    configured_sizes: FeatureSizes | None = None,
    objective: Any = None,
) -> PublishedCheckpoint:
    """Read a released checkpoint and check every key and shape.

    Args:
        path: path of the file.
        kind: class of the model.
        configured: settings of the network for values that the file lacks; the defaults if None.
        configured_sizes: feature sizes of the data to use with the model, to compare with.
        objective: settings of the loss to keep with the weights; the defaults if None.

    Raises:
        UserError: the file is no released checkpoint of the model, is damaged, or its weights are
            not those of the network.
    """
    path, form = Path(path), kind.published
    if form is None:
        raise UserError(f"{kind.__name__} has no form of checkpoints that its authors released")
    configured = kind.network_settings() if configured is None else configured
    content = _load(path, form)
    published = _weights(content[form.state_key], path)
    network, missing = _infer(published, content.get(form.config_key), configured, form, path)
    sizes = FeatureSizes(
        _size(published, "clip_input_proj.net.1.weight", 1, "video"),
        _size(published, "query_input_proj.net.1.weight", 1, "text"),
    )
    weights = form.translate(published)
    objective = kind.objective_settings() if objective is None else objective
    trained = Trained(kind, *sizes, network, objective, weights)
    if wrong := disagreements(trained):
        raise UserError(f"{path} is not a {kind.__name__} checkpoint: {'; '.join(wrong)}")
    before = asdict(configured) | (configured_sizes._asdict() if configured_sizes else {})
    after = asdict(network) | (sizes._asdict() if configured_sizes else {})
    return PublishedCheckpoint(trained, _remarks(before, after, missing))


def _remarks(before: dict[str, Any], after: dict[str, Any], missing: list[str]) -> list[str]:
    """Compare settings by name: `before` as configured, `after` the file has been read."""
    changed = [
        f"{name} is {after[name]} in the file, {before[name]} in the configuration"
        for name in after
        if after[name] != before[name]
    ]
    return changed + [f"the file does not give {name}: {after[name]}, as configured"
                      for name in missing]  # fmt: skip


def import_checkpoint(
    source: str | Path,
    target: str | Path,
    kind: type[RetrievalModel],
    configured: Any = None,
    configured_sizes: FeatureSizes | None = None,
    objective: Any = None,
) -> list[str]:
    """Write a released checkpoint as one of this framework, for test, predict and fine-tuning.

    Args:
        source: path of the released file.
        target: path of the file to write.
        kind: class of the model.
        configured: settings of the network for values that the file lacks; defaults if None.
        configured_sizes: feature sizes of the data to use with the model, to compare with.
        objective: settings of the loss to keep with the weights; the defaults if None.

    Returns:
        A line for each value that the file lacks, or gives differently from the configuration. The
        value of the file is used.
    """
    published = read_published(source, kind, configured, configured_sizes, objective)
    weights = published.trained.weights
    checkpoint = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": {f"network.{name}": value for name, value in weights.items()},
        "callbacks": {},
        "hyper_parameters": published.trained.settings(),
    }
    content = io.BytesIO()  # torch's own file writer reports a full disk as a RuntimeError
    torch.save(checkpoint, content)
    with atomic_path(Path(target)) as partial:
        partial.write_bytes(content.getvalue())
    return published.remarks


def _load(path: Path, form: PublishedFormat) -> dict[str, Any]:
    """Read the file without running any code from it."""
    content = read_torch_file(path, foreign=form.foreign)
    if not isinstance(content, dict) or not isinstance(content.get(form.state_key), dict):
        raise UserError(f"{path} has no {form.state_key}, so it is not a released checkpoint")
    if "hyper_parameters" in content:
        raise UserError(f"{path} is already a checkpoint of this framework: use it as it is")
    return content


def _weights(state: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    """Check the weights and take DataParallel's prefix off the authors' names."""
    weights = {str(name): weight for name, weight in state.items()}
    check_weights(weights, str(path), path.stat().st_size)
    if all(name.startswith(PARALLEL) for name in weights):
        return {name.removeprefix(PARALLEL): weight for name, weight in weights.items()}
    return weights


def _infer(
    state: Mapping[str, Tensor], config: Any, base: Any, form: PublishedFormat, path: Path
) -> tuple[Any, list[str]]:
    """Take the network's settings from the shapes of the weights and the file's configuration.

    Args:
        state: weights by the authors' names.
        config: configuration in the file; None if the file has none.
        base: settings of the network for all other values.
        form: form of the authors' checkpoints.
        path: path of the file, for messages.

    Returns:
        The network's settings, and the names of those that the file's configuration should give
        and does not.

    Raises:
        UserError: the file's configuration is no dictionary, or has a value that no network has.
    """
    if config is not None and not isinstance(config, dict):
        raise UserError(f"{path}: its configuration is no dictionary")
    names = form.settings.items()
    in_file = {name: config[key] for name, key in names if key in config} if config else {}
    integers = {field.name for field in fields(base) if field.type is int}
    for name, value in in_file.items():
        is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53
        in_file[name] = float(value) if is_whole and name not in integers else value
    try:
        settings = replace(base, **(_sizes(state, base, form) | in_file))
    except UserError as error:
        raise UserError(f"{path}: its configuration makes no network ({error})") from None
    return settings, [name for name in form.settings if name not in in_file]


def _sizes(state: Mapping[str, Tensor], base: Any, form: PublishedFormat) -> dict[str, Any]:
    """Return the settings that follow from the names and shapes of the weights."""
    sizes: dict[str, Any] = {
        name: state[key].shape[axis]
        for name, (key, axis) in form.sizes.items()
        if key in state and state[key].dim() > axis
    }
    for name, prefixes in form.absent.items():
        if not any(key.startswith(prefixes) for key in state):
            sizes[name] = 0
    for name, prefix in form.counts.items():
        count = len({k[len(prefix) :].split(".")[0] for k in state if k.startswith(prefix)})
        if name != "gaussian_widths":
            sizes |= {name: count} if count else {}
        else:  # the branch without a window counts too
            widths = type(base)().gaussian_widths
            if 1 < count <= 1 + len(widths) and count != 1 + len(base.gaussian_widths):
                sizes[name] = widths[: count - 1]
    return sizes


def _size(state: Mapping[str, Tensor], key: str, axis: int, modality: str) -> int:
    if key not in state or state[key].dim() <= axis:
        raise UserError(f"the file has no {key}, which gives the {modality} feature size")
    return state[key].shape[axis]
