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

PARALLEL = "module."  # of every name, where the weights were saved with DataParallel


class FeatureSizes(NamedTuple):
    """Sizes of the features that a network reads."""

    video_dim: int
    text_dim: int


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A released checkpoint in our terms.

    Attributes:
        trained: the model, with every size and setting that the file tells.
        remarks: a line for each value in which the file and the configuration disagree, or which
            the file does not tell.
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
        path: the file.
        kind: class of the model.
        configured: settings of the network, which give what the file does not tell (the choices
            between code and paper); the defaults if None.
        configured_sizes: feature sizes of the data it is meant for, to compare with.
        objective: settings of the loss to keep with the weights; the defaults if None.

    Raises:
        UserError: the model has no released checkpoints; or the file is none, is damaged, names
            foreign classes, has weights that are not finite or settings that no network has, or
            its parameters are not exactly those of the network; says which are missing, extra or
            resized.
    """
    path, form = Path(path), kind.published
    if form is None:
        raise UserError(f"{kind.__name__} knows no checkpoints of its authors")
    configured = kind.network_settings() if configured is None else configured
    content = _load(path, form)
    published = _weights(content[form.state_key], path)
    network, untold = _infer(published, content.get(form.config_key), configured, form, path)
    sizes = FeatureSizes(
        _size(published, "clip_input_proj.net.1.weight", 1, "video"),
        _size(published, "query_input_proj.net.1.weight", 1, "text"),
    )
    state = {form.to_ours(name): value for name, value in published.items()}
    loss = kind.objective_settings() if objective is None else objective
    trained = Trained(kind, *sizes, network, loss, state)
    if wrong := disagreements(trained):
        raise UserError(f"{path} is not a {kind.__name__} checkpoint: {'; '.join(wrong)}")
    before = asdict(configured) | (configured_sizes._asdict() if configured_sizes else {})
    after = asdict(network) | (sizes._asdict() if configured_sizes else {})
    remarks = [
        f"{name} is {after[name]} in the file, {before[name]} in the configuration"
        for name in after
        if after[name] != before[name]
    ]
    remarks += [f"the file does not tell {name}: {after[name]}, as configured" for name in untold]
    return PublishedCheckpoint(trained, remarks)


def import_checkpoint(
    source: str | Path,
    target: str | Path,
    kind: type[RetrievalModel],
    configured: Any = None,
    configured_sizes: FeatureSizes | None = None,
    objective: Any = None,
) -> list[str]:
    """Rewrite a released checkpoint as one of ours, for test, predict and fine-tuning.

    Args:
        source: the released file.
        target: the file to write.
        kind: class of the model.
        configured: settings of the network for values that the file lacks; defaults if None.
        configured_sizes: feature sizes of the data to use with the model, to compare with.
        objective: settings of the loss to keep with the weights; the defaults if None.

    Returns:
        A line for each value that the file lacks or that differs from the configuration; the
        file's value is used.
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
    content = io.BytesIO()  # torch's own file writer tells a full disk by a RuntimeError
    torch.save(checkpoint, content)
    with atomic_path(Path(target)) as partial:
        partial.write_bytes(content.getvalue())
    return published.remarks


def _load(path: Path, form: PublishedFormat) -> dict[str, Any]:
    """Read the file without running any code from it."""
    content = read_torch_file(path, foreign=form.foreign)
    if not isinstance(content, dict) or not isinstance(content.get(form.state_key), dict):
        raise UserError(f"{path} has no {form.state_key}: it is not a released checkpoint")
    if "hyper_parameters" in content:
        raise UserError(f"{path} is a checkpoint of this framework already; use it as it is")
    return content


def _weights(state: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    """Check the weights and take DataParallel's prefix off the authors' names."""
    names = {str(name): weight for name, weight in state.items()}
    check_weights(names, str(path), path.stat().st_size)
    if all(name.startswith(PARALLEL) for name in names):
        return {name.removeprefix(PARALLEL): weight for name, weight in names.items()}
    return names


def _infer(
    state: Mapping[str, Tensor], config: Any, base: Any, form: PublishedFormat, path: Path
) -> tuple[Any, list[str]]:
    """Change the configured network by what shapes and the file's own configuration tell.

    Returns:
        The network's settings, and the names of those that a configuration in the file should
        tell and does not.

    Raises:
        UserError: the file's configuration is none, or has a value that no network has.
    """
    inferred: dict[str, Any] = {
        name: state[key].shape[axis]
        for name, (key, axis) in form.sizes.items()
        if key in state and state[key].dim() > axis
    }
    for name, prefixes in form.absent.items():
        if not any(key.startswith(prefixes) for key in state):
            inferred[name] = 0
    for name, prefix in form.counts.items():
        count = _count(state, prefix)
        if name != "gaussian_widths":
            inferred |= {name: count} if count else {}
        else:  # the plain branch is one of them
            widths = type(base)().gaussian_widths
            if 1 < count <= 1 + len(widths) and count != 1 + len(base.gaussian_widths):
                inferred[name] = widths[: count - 1]
    if config is not None and not isinstance(config, dict):
        raise UserError(f"{path}: its configuration is no dictionary")
    names = form.settings.items()
    told = {name: config[key] for name, key in names if key in config} if config else {}
    whole = {field.name for field in fields(base) if field.type is int}
    for name, value in told.items():
        is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53
        inferred[name] = float(value) if is_whole and name not in whole else value
    try:
        return replace(base, **inferred), [name for name in form.settings if name not in told]
    except UserError as error:
        raise UserError(f"{path}: its configuration makes no network ({error})") from None


def _count(state: Mapping[str, Tensor], prefix: str) -> int:
    return len({k[len(prefix) :].split(".")[0] for k in state if k.startswith(prefix)})


def _size(state: Mapping[str, Tensor], key: str, axis: int, what: str) -> int:
    if key not in state or state[key].dim() <= axis:
        raise UserError(f"the file has no {key}, which tells the {what} feature size")
    return state[key].shape[axis]
