"""Read this framework's checkpoints as data, and check them before a model is built.

Checkpoints also record the features that a model was trained on, so that search can refuse others.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.core.text import listed
from dreamprvr.core.torch_file import read_torch_file
from dreamprvr.extraction.feature_file import ExtractionSettings, FeatureFile
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.models.registry import DEFAULT, class_path, find_model, read_model_settings

if TYPE_CHECKING:  # it imports Lightning, which search does not need
    from data_modules.base import PRVRDataModule

PREFIX = "network."  # start of the names of the network's weights in a checkpoint
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
LENGTHS = ("num_clips", "max_frames", "max_words")  # settings: lengths of a model's inputs
LONG = 1000  # a length up to this is allowed even if no weight has it


class Trained(NamedTuple):
    """A trained model, not yet built.

    Args:
        kind: class of the model.
        video_dim: size of a video feature.
        text_dim: size of a word feature.
        network: settings of the network.
        objective: settings of the loss.
        weights: weights of the network, by the names of its `state_dict`.
    """

    kind: type[RetrievalModel]
    video_dim: int
    text_dim: int
    network: Any
    objective: Any
    weights: dict[str, Tensor]

    def build(self) -> RetrievalModel:
        """Make the model, with these weights."""
        model = self.kind(self.video_dim, self.text_dim, self.network, self.objective)
        model.load_state_dict(self.weights)
        model.constrain()
        return model

    def settings(self) -> dict[str, Any]:
        """Return the settings as builtins, as a checkpoint holds them."""
        return {
            "model": class_path(self.kind),
            "video_dim": self.video_dim,
            "text_dim": self.text_dim,
            "network": asdict(self.network),
            "objective": asdict(self.objective),
        }


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint of this framework and check all that it needs for use.

    The checksum of every record is compared. The weights must be finite and exactly those of the
    model that the settings describe.

    Args:
        path: path of the file.

    Returns:
        The saved `hyper_parameters`, `state_dict`, and the state of the training if there is one.
        The tensors stay in the file, which is mapped into memory.

    Raises:
        UserError: the file is missing, cannot be read, is damaged, was not written by this
            framework, or its settings and weights do not agree.
    """
    path = Path(path)
    content = read_torch_file(path)
    if not isinstance(content, dict) or "hyper_parameters" not in content:
        raise UserError(
            f"checkpoint {path} was not written by this framework; if the authors of a model "
            "released it, use `lightning import-checkpoint` first"
        )
    trained_model(content, path)
    return content


def newest_whole(path: Path) -> Path | None:
    """Find the newest undamaged checkpoint of the run that a damaged one belongs to.

    Args:
        path: path of the damaged file.

    Returns:
        Its path. None if there is none, or if the damaged file does not lie in the `checkpoints/`
        of a run: the files beside it may then belong to other trainings.
    """
    if path.parent.name != "checkpoints" or not (path.parent.parent / "config.yaml").exists():
        return None
    with suppress(OSError):
        others = [other for other in path.parent.glob("*.ckpt") if other != path]
        for other in sorted(others, key=lambda file: file.stat().st_mtime, reverse=True):
            with suppress(UserError):
                read_checkpoint(other)
                return other
    return None


def trained_model(checkpoint: Mapping[str, Any], path: str | Path) -> Trained:
    """Take the model's settings and weights out of a checkpoint, and check both.

    The checks allocate no memory for the sizes that the settings claim.

    Args:
        checkpoint: content of the file.
        path: path of the file, for messages and for its size.

    Raises:
        UserError: a setting or a weight is missing, of another type or not finite, or the weights
            are not those of the settings.
    """
    settings, state = checkpoint["hyper_parameters"], checkpoint.get("state_dict")
    if not isinstance(settings, Mapping) or not isinstance(state, Mapping):
        raise UserError(f"checkpoint {path} holds no weights of this framework")
    try:
        kind = find_model(str(settings.get("model", DEFAULT)))
        network, objective = read_model_settings(kind, settings)
        video_dim, text_dim = (_feature_size(settings, name) for name in ("video_dim", "text_dim"))
    except UserError as error:
        raise UserError(f"checkpoint {path}: its settings make no network ({error})") from None
    names = [name if isinstance(name, str) else f"a {type(name).__name__}" for name in state]
    if strangers := [name for name in names if not name.startswith(PREFIX)]:
        raise UserError(f"checkpoint {path} holds weights of another model: {listed(strangers)}")
    weights = {name.removeprefix(PREFIX): weight for name, weight in state.items()}
    check_weights(weights, f"checkpoint {path}", Path(path).stat().st_size)
    trained = Trained(kind, video_dim, text_dim, network, objective, weights)
    if wrong := disagreements(trained):
        raise UserError(
            f"checkpoint {path}: its weights are not those of its settings ({'; '.join(wrong)})"
        )
    return trained


def _feature_size(settings: Mapping[str, Any], name: str) -> int:
    size = settings.get(name)
    if isinstance(size, bool) or not isinstance(size, int):
        raise UserError(f"{name} is missing or not a whole number")
    if not 0 < size < 1 << 31:
        raise UserError(f"{name} cannot be the size of a feature")
    return size


def check_weights(weights: Mapping[str, Any], source: str, size: int) -> None:
    """Refuse weights that a network cannot compute with, or that are larger than their file.

    Args:
        weights: tensors by name; the file may hold other objects in their place.
        source: name of the file, for messages.
        size: size of the file in bytes.

    Raises:
        UserError: some are no plain tensors, not of floating point, not finite, or larger than the
            file; names these.
    """
    tests: dict[str, Callable[[Any], bool]] = {
        "are no plain tensors": lambda weight: not _is_plain(weight),
        "are not of floating point": lambda weight: weight.dtype not in FLOATS,
        "claim to be larger than the file": lambda weight: weight.nbytes > size,
        "are not finite": lambda weight: not weight.isfinite().all(),
    }
    for kind, is_wrong in tests.items():
        if names := [name for name, weight in weights.items() if is_wrong(weight)]:
            raise UserError(f"{source}: {len(names)} weights {kind}: {listed(names)}")
    if sum(weight.nbytes for weight in weights.values()) > size:
        raise UserError(f"{source}: its weights claim to be larger than the file")


def _is_plain(weight: Any) -> bool:
    return (
        isinstance(weight, Tensor)
        and weight.layout is torch.strided
        and weight.device.type == "cpu"
        and not weight.is_quantized
        and not weight.is_nested
    )


def disagreements(trained: Trained) -> list[str]:
    """Compare the weights with those that the settings need; no memory is allocated for them.

    Args:
        trained: settings and weights.

    Returns:
        The same as `differences`. If a setting is larger than any weight, one remark on this alone:
        to make a network of such settings, even one without memory, could take hours.
    """
    shapes = [weight.shape for weight in trained.weights.values()]
    most = max([len(shapes), *(size for shape in shapes for size in shape)])
    sizes = {"video_dim": trained.video_dim, "text_dim": trained.text_dim}
    for field in fields(trained.network):
        value = getattr(trained.network, field.name)
        if isinstance(value, int) and not isinstance(value, bool):
            sizes[field.name] = value
        elif isinstance(value, tuple):
            sizes[field.name] = len(value)
    for name, value in sizes.items():
        # a model without position embeddings has no weight of the length of its inputs
        if value > (max(most, LONG) if name in LENGTHS else most):
            return [f"{name} {value} is more than any weight has"]
    with torch.device("meta"):
        model = trained.kind(
            trained.video_dim, trained.text_dim, trained.network, trained.objective
        )
    return differences(model.state_dict(), trained.weights)


def differences(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> list[str]:
    """Compare the parameters of two models by name and shape.

    Args:
        ours: parameters of the first, by name.
        theirs: parameters of the second.

    Returns:
        At most three remarks: on the parameters that `theirs` lacks, on those that only `theirs`
        has, and on those of another shape.
    """
    resized = [
        f"{name} is {tuple(theirs[name].shape)}, not {tuple(ours[name].shape)}"
        for name in ours
        if name in theirs and ours[name].shape != theirs[name].shape
    ]
    kinds = {
        "missing": [name for name in ours if name not in theirs],
        "extra": [name for name in theirs if name not in ours],
        "of another size": resized,
    }
    return [f"{len(names)} {kind}: {listed(names)}" for kind, names in kinds.items() if names]


def refuse_other_shapes(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint whose parameters differ in name or shape from those of a model.

    Args:
        ours: parameters of the model that the weights are loaded into, by name.
        theirs: parameters of the checkpoint.

    Raises:
        UserError: names the parameters that differ.
    """
    if wrong := differences(ours, theirs):
        raise UserError(
            f"the checkpoint belongs to another configuration ({'; '.join(wrong)}); give the "
            "--config it was trained with, and data of the same feature sizes"
        )


# The features that a model was trained on

FINGERPRINT, TEXT, SETTINGS = "feature_fingerprint", "text_fingerprint", "feature_settings"
PROVENANCE = (FINGERPRINT, TEXT, SETTINGS)  # names of these hyper-parameters in a checkpoint
_COMPARED = ("fps", "window", "stride")


class Provenance(NamedTuple):
    """The features that a model was trained on, as far as its checkpoint records them.

    Args:
        fingerprint: fingerprint of the encoder of the videos; "" if unknown.
        text_fingerprint: fingerprint of the encoder of the words; "" if unknown.
        settings: fps, window and stride of the videos, as far as they are known.
    """

    fingerprint: str
    text_fingerprint: str
    settings: Mapping[str, float]

    def differences(self, features: ExtractionSettings) -> tuple[str, str]:
        """Compare with the settings of other features.

        Args:
            features: the other settings.

        Returns:
            The settings that differ, as text for a message: those of the training ("fps 1.0") and
            those of `features` ("fps 2.0").
        """
        names = [name for name in self.settings if self.settings[name] != getattr(features, name)]
        ours = ", ".join(f"{name} {self.settings[name]}" for name in names)
        return ours, ", ".join(f"{name} {getattr(features, name)}" for name in names)


def trained_on(data: "PRVRDataModule") -> dict[str, Any]:
    """Return the hyper-parameters that record the features of a data set.

    Args:
        data: the data set; facts that its files do not give are left out.
    """
    videos = data.video_features()
    settings: dict[str, float] = {}
    with suppress(UserError), FeatureFile(videos.path) as file:
        settings = {name: getattr(file.settings, name) for name in _COMPARED}
    fingerprints = {FINGERPRINT: videos.fingerprint, TEXT: data.text_features().fingerprint}
    return {name: value for name, value in {**fingerprints, SETTINGS: settings}.items() if value}


def read_provenance(hparams: Mapping[str, Any]) -> Provenance:
    """Read the features that a model was trained on from the hyper-parameters of its checkpoint."""
    settings = hparams.get(SETTINGS)
    numbers = settings if isinstance(settings, Mapping) else {}
    return Provenance(
        str(hparams.get(FINGERPRINT) or ""), str(hparams.get(TEXT) or ""),
        {name: float(numbers[name]) for name in _COMPARED
         if isinstance(numbers.get(name), (int, float))},
    )  # fmt: skip
