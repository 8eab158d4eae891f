"""The model of a library, its file, and checks that it fits the features and the encoder."""

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path
from dreamprvr.core.text import quote
from dreamprvr.extraction.encoder import Encoder, no_text
from dreamprvr.extraction.encoders import (
    GROUP,
    TRANSFORMERS,
    encoder_names,
    is_missing,
    load_encoder,
    pick_device,
)
from dreamprvr.extraction.feature_file import ExtractionSettings
from dreamprvr.models.contract import RetrievalModel
from dreamprvr.search.encoding import SearchModel, Untrained
from dreamprvr.search.manifest import COPY, MODEL, ROWS, Manifest, engines_in
from dreamprvr.training.checkpoint import (
    PROVENANCE,
    Provenance,
    read_checkpoint,
    read_provenance,
    trained_model,
)

KEPT = ("model", "video_dim", "text_dim", "network", "objective", *PROVENANCE)


class ModelFile(NamedTuple):
    """A model from a file.

    Args:
        network: the model.
        video_dim: size of a row of video features.
        text_dim: size of a row of word features.
        provenance: facts about the features that the model was trained on.
        digest: digest of weights and settings; it differs from model to model.
    """

    network: RetrievalModel
    video_dim: int
    text_dim: int
    provenance: Provenance
    digest: str


def read_model(path: Path) -> ModelFile:
    """Read a model.

    Args:
        path: path of a training's checkpoint, or of a library's `model.ckpt`.

    Raises:
        UserError: the file is missing, damaged or no checkpoint of this program.
    """
    checkpoint = read_checkpoint(path)
    trained = trained_model(checkpoint, path)
    kept = _kept(checkpoint)
    try:
        digest = _digest(kept, trained.weights)
    except (TypeError, ValueError):
        raise UserError(
            f"checkpoint {path}: its record of what it was trained on is damaged"
        ) from None
    return ModelFile(
        trained.build(), trained.video_dim, trained.text_dim, read_provenance(kept), digest
    )


def write_model(source: Path, target: Path) -> None:
    """Copy the weights and settings of a checkpoint's network, without the state of the training.

    Args:
        source: path of the checkpoint.
        target: path of the file to write.
    """
    checkpoint = read_checkpoint(source)
    state = {name: weight.clone() for name, weight in checkpoint["state_dict"].items()}
    with atomic_path(target) as partial:
        torch.save({"hyper_parameters": _kept(checkpoint), "state_dict": state}, partial)


def _kept(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    hparams = checkpoint["hyper_parameters"]
    return {name: hparams[name] for name in KEPT if name in hparams}


def _digest(hparams: Mapping[str, Any], weights: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256(json.dumps(hparams, sort_keys=True, default=list).encode())
    for name in sorted(weights):
        digest.update(name.encode())
        digest.update(weights[name].contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def check_model(
    model: ModelFile, path: Path, settings: ExtractionSettings, trust_features: bool
) -> None:
    """Raise unless a model was trained on features of this kind.

    Args:
        model: model of a checkpoint.
        path: path of the checkpoint.
        settings: settings of the features.
        trust_features: whether to accept a checkpoint that does not say what it was trained on.

    Raises:
        UserError: the model does not fit; the message says what differs and what to do.
    """
    if model.video_dim != settings.video_dim:
        raise UserError(
            f"checkpoint {path} was trained on video features of size {model.video_dim}, but these "
            f"are of size {settings.video_dim}: extract with the encoder it was trained on"
        )
    known = model.provenance
    if known.fingerprint and known.fingerprint != settings.fingerprint:
        raise UserError(
            f"checkpoint {path} was trained on features of another encoder (fingerprint "
            f"{known.fingerprint[:12]}) than these ({settings.encoder}, "
            f"{settings.fingerprint[:12]}): extract with that encoder, or train on these features"
        )
    if known.text_fingerprint and known.text_fingerprint != settings.fingerprint:
        raise UserError(
            f"checkpoint {path} was trained on the words of another encoder (fingerprint "
            f"{known.text_fingerprint[:12]}) than encodes the queries here ({settings.encoder}, "
            f"{settings.fingerprint[:12]}): train on words that it extracts from the captions"
        )
    ours, theirs = known.differences(settings)
    if ours:
        raise UserError(
            f"checkpoint {path} was trained on features of {ours}, but these are of {theirs}: "
            "extract with the same settings, or train on these features"
        )
    if not known.fingerprint:
        line = f"checkpoint {path} does not say which features it was trained on"
        if not trust_features:
            raise UserError(
                f"{line}: if they are of {settings.encoder}, say so with --trust_features"
            )
        warnings.warn(f"{line}; the sizes fit, the rest is taken on trust", stacklevel=2)


def check_encoder(encoder: Encoder, settings: ExtractionSettings, model: ModelFile | None) -> None:
    """Raise unless an encoder's sentences fit the library's videos.

    Args:
        encoder: the encoder.
        settings: settings of the features of the library's videos.
        model: trained model of the library; None if it searches untrained.

    Raises:
        UserError: the encoder does not fit; the message says why and what to do.
    """
    if encoder.fingerprint != settings.fingerprint:
        raise UserError(
            f"encoder {settings.encoder} now has other weights (fingerprint "
            f"{encoder.fingerprint[:12]}) than those that made the features "
            f"({settings.fingerprint[:12]}): extract and index again, or restore the old weights"
        )
    if not encoder.text_dim:
        raise no_text(settings.encoder)
    if model is None and not encoder.searches_untrained:
        raise UserError(
            f"encoder {settings.encoder} does not put sentences into the space of its videos, so "
            "searching needs a trained model: index with --ckpt_path"
        )
    for modality, ours, theirs in (
        ("video", settings.video_dim, encoder.video_dim),
        ("text", model.text_dim if model else encoder.text_dim, encoder.text_dim),
    ):
        if ours != theirs:
            raise UserError(
                f"encoder {settings.encoder} gives {modality} features of size {theirs}, the "
                f"library needs {ours}: train with this encoder's features"
            )


def find_encoder(settings: ExtractionSettings, device: str) -> Encoder:
    """Load the encoder that made features.

    Args:
        settings: settings of the features.
        device: name of the device, as for `load_encoder`.

    Raises:
        UserError: the encoder is missing.
    """
    if is_missing(settings.encoder):
        folder = settings.encoder.removeprefix(TRANSFORMERS)
        raise UserError(
            f"the encoder's folder {folder} is missing: put it back; or, if it was moved, extract "
            f"with --encoder {TRANSFORMERS}FOLDER and index those features into the library again, "
            "which then takes the folder's new place"
        )
    if not settings.encoder.startswith(TRANSFORMERS) and settings.encoder not in encoder_names():
        raise UserError(
            f"the encoder {quote(settings.encoder)} that made the features is not installed here: "
            "install its package; if only a program of yours registers it, search by that program "
            f"(`Library.open`), or make it a package with an entry point of the group {GROUP}"
        )
    return load_encoder(settings.encoder, device)


def search_model(
    file: ModelFile | None, settings: ExtractionSettings, device: str, moment_tokens: bool = False
) -> SearchModel:
    """Make the encoder of a library's videos and queries.

    Args:
        file: the trained model; None searches untrained.
        settings: settings of the features.
        device: name of the device, as for `load_encoder`.
        moment_tokens: whether untrained search has moment tokens in place of the rows.
    """
    if file is None:
        return SearchModel(Untrained(settings.video_dim, moment_tokens))
    return SearchModel(file.network, pick_device(device))


class LibraryModel:
    """The model of a library, and the encoder of its queries, which is loaded when first needed.

    Args:
        folder: folder of the library.
        manifest: manifest of the library.
        device: name of the device, as for `load_encoder`.

    Raises:
        UserError: `model.ckpt` is missing, damaged, or not the model that the manifest names.
    """

    def __init__(self, folder: Path, manifest: Manifest, device: str) -> None:
        self.settings, self.device = manifest.settings, device
        self.file: ModelFile | None = None
        if manifest.checkpoint:
            self.file = read_model(folder / MODEL)
            if self.file.digest != manifest.checkpoint:
                raise UserError(
                    f"{folder / MODEL} is not the model that the library was indexed with: put "
                    "that one back, or index into a new folder"
                )
        self.model = search_model(self.file, manifest.settings, device, manifest.moment_tokens)
        self._encoder: Encoder | None = None

    def encoder(self) -> Encoder:
        """Return the encoder that made the features.

        Raises:
            UserError: it is missing, or it has changed.
        """
        if self._encoder is None:
            encoder = find_encoder(self.settings, self.device)
            check_encoder(encoder, self.settings, self.file)
            self._encoder = encoder
        return self._encoder


def forget(folder: Path) -> None:
    """Remove the files that an interrupted `Library.create` left in a folder."""
    (folder / MODEL).unlink(missing_ok=True)
    for name in (*engines_in(folder), COPY, ROWS):
        shutil.rmtree(folder / name, ignore_errors=True)
