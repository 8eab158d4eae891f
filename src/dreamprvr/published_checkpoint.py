"""Importing a checkpoint that the authors released.

Their file is a pickle with the keys `config`, `epoch`, `model_val`, `state_dict` and `optimizer`;
the optimizer entry names classes of a package that no user has. It is read as data: those classes
are replaced by an empty stand-in, and any other class is refused.
"""

import io
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import lightning
import torch
from torch import Tensor

from dreamprvr.checkpoint import check_weights, disagreements
from dreamprvr.core.files import atomic_path
from dreamprvr.errors import UserError
from dreamprvr.model.config import NetworkConfig
from dreamprvr.published_names import to_ours
from dreamprvr.torch_file import read_torch_file

AUTHORS_PACKAGE = "Opts."
PARALLEL = "module."  # of every name, where the weights were saved with DataParallel

# our setting -> a published parameter and the axis that has its size
_SIZES = {
    "hidden_size": ("query_input_proj.net.1.weight", 0),
    "num_clips": ("clip_encoder.layer2.weight", 0),
    "max_frames": ("frame_encoder.layer2.weight", 0),
    "max_words": ("query_pos_embed.position_embeddings.weight", 0),
    "num_registers": ("video_qformer.query_tokens", 1),
    "diffusion_steps": ("diffusion_mlp.time_embedding.timembedding.0.weight", 0),
}
# our setting -> the name in the file's own configuration, for what no shape tells
_SETTINGS = {
    "num_heads": "n_heads",
    "softmax_temperature": "sft_factor",
    "dropout": "drop",
    "input_dropout": "input_drop",
    "clip_weight": "clip_scale_w",
    "frame_weight": "frame_scale_w",
}


class FeatureSizes(NamedTuple):
    """Sizes of the features that a network reads."""

    video_dim: int
    text_dim: int


@dataclass(frozen=True)
class PublishedCheckpoint:
    """A released checkpoint in our terms.

    Attributes:
        sizes: feature sizes, inferred from the weights.
        network: the configured network with every size and setting that the file tells.
        state_dict: weights by our names.
        remarks: a line for each value in which the file and the configuration disagree, or which
            the file does not tell.
    """

    sizes: FeatureSizes
    network: NetworkConfig
    state_dict: dict[str, Tensor]
    remarks: list[str]


def read_published(
    path: str | Path, configured: NetworkConfig, configured_sizes: FeatureSizes | None = None
) -> PublishedCheckpoint:
    """Read a released checkpoint and check every key and shape.

    Args:
        path: the file.
        configured: gives what the file does not tell (the choices between code and paper).
        configured_sizes: feature sizes of the data it is meant for, to compare with.

    Raises:
        UserError: the file is no released checkpoint, is damaged, names foreign classes, has
            weights that are not finite or settings that no network has, or its parameters are not
            exactly those of the network; says which are missing, extra or resized.
    """
    path = Path(path)
    content = _load(path)
    published = _weights(content["state_dict"], path)
    network, untold = _infer(published, content.get("config"), configured, path)
    sizes = FeatureSizes(
        _size(published, "clip_input_proj.net.1.weight", 1, "video"),
        _size(published, "query_input_proj.net.1.weight", 1, "text"),
    )
    state = {to_ours(name): value for name, value in published.items()}
    if found := disagreements(*sizes, network, state):
        raise UserError(f"{path} is not a DreamPRVR checkpoint: {'; '.join(found)}")
    before = asdict(configured) | (configured_sizes._asdict() if configured_sizes else {})
    after = asdict(network) | (sizes._asdict() if configured_sizes else {})
    remarks = [
        f"{name} is {after[name]} in the file, {before[name]} in the configuration"
        for name in after
        if after[name] != before[name]
    ]
    remarks += [f"the file does not tell {name}: {after[name]}, as configured" for name in untold]
    return PublishedCheckpoint(sizes, network, state, remarks)


def import_checkpoint(
    source: str | Path,
    target: str | Path,
    configured: NetworkConfig | None = None,
    configured_sizes: FeatureSizes | None = None,
    objective: dict[str, Any] | None = None,
) -> list[str]:
    """Rewrite a released checkpoint as one of ours, for test, predict and fine-tuning.

    Args:
        source: the released file.
        target: the file to write.
        configured: see `read_published`; the published ActivityNet network by default.
        configured_sizes: see `read_published`.
        objective: settings of the objective to keep with the weights.

    Returns:
        See `PublishedCheckpoint.remarks`; where both tell a value, the file's is used.
    """
    found = read_published(source, configured or NetworkConfig(), configured_sizes)
    checkpoint = {
        "epoch": 0,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": {f"network.{name}": value for name, value in found.state_dict.items()},
        "callbacks": {},
        "hyper_parameters": {
            **found.sizes._asdict(),
            "network": asdict(found.network),
            **({"objective": objective} if objective else {}),
        },
    }
    content = io.BytesIO()  # torch's own file writer tells a full disk by a RuntimeError
    torch.save(checkpoint, content)
    with atomic_path(Path(target)) as partial:
        partial.write_bytes(content.getvalue())
    return found.remarks


def _load(path: Path) -> dict[str, Any]:
    """The file's content, without running any code from it."""
    content = read_torch_file(path, foreign=AUTHORS_PACKAGE)
    if not isinstance(content, dict) or not isinstance(content.get("state_dict"), dict):
        raise UserError(f"{path} has no state_dict: it is not a released checkpoint")
    if "hyper_parameters" in content:
        raise UserError(f"{path} is a checkpoint of this framework already; use it as it is")
    return content


def _weights(state: dict[Any, Any], path: Path) -> dict[str, Tensor]:
    """The weights by the authors' names, checked; DataParallel's prefix is taken off."""
    names = {str(name): weight for name, weight in state.items()}
    check_weights(names, str(path), path.stat().st_size)
    if all(name.startswith(PARALLEL) for name in names):
        return {name.removeprefix(PARALLEL): weight for name, weight in names.items()}
    return names


def _infer(
    state: dict[str, Tensor], config: Any, base: NetworkConfig, path: Path
) -> tuple[NetworkConfig, list[str]]:
    """The configured network with what shapes and the file's own configuration tell.

    Returns:
        The network, and the settings that a configuration in the file should tell and does not.

    Raises:
        UserError: the file's configuration is none, or has a value that no network has.
    """
    found: dict[str, Any] = {
        name: state[key].shape[axis]
        for name, (key, axis) in _SIZES.items()
        if key in state and state[key].dim() > axis
    }
    if not any(name.startswith(("video_qformer.", "diffusion_mlp.")) for name in state):
        found["num_registers"] = 0
    branches = _count(state, "clip_encoder.e_attns.")
    widths = NetworkConfig().gaussian_widths
    if 1 < branches <= 1 + len(widths) and branches != 1 + len(base.gaussian_widths):
        found["gaussian_widths"] = widths[: branches - 1]
    if blocks := _count(state, "diffusion_mlp.layers."):
        found["denoiser_blocks"] = blocks
    if config is not None and not isinstance(config, dict):
        raise UserError(f"{path}: its configuration is no dictionary")
    told = {name: config[key] for name, key in _SETTINGS.items() if key in config} if config else {}
    for name, value in told.items():
        is_whole = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 53
        found[name] = float(value) if is_whole and name != "num_heads" else value
    try:
        return replace(base, **found), [name for name in _SETTINGS if name not in told]
    except UserError as error:
        raise UserError(f"{path}: its configuration makes no network ({error})") from None


def _count(state: dict[str, Tensor], prefix: str) -> int:
    return len({k[len(prefix) :].split(".")[0] for k in state if k.startswith(prefix)})


def _size(state: dict[str, Tensor], key: str, axis: int, what: str) -> int:
    if key not in state or state[key].dim() <= axis:
        raise UserError(f"the file has no {key}, which tells the {what} feature size")
    return state[key].shape[axis]
