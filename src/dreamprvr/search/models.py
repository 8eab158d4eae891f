"""Which model a library searches with, and whether it fits the features and the encoder."""

import os
import shutil
import warnings
from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.encoders import TRANSFORMERS, Encoder, load_encoder, no_text, pick_device
from dreamprvr.extraction.feature_file import ExtractionSettings
from dreamprvr.search.manifest import ENGINE, MODEL, ROWS, Manifest
from dreamprvr.search.model_file import ModelFile, read_model, write_model
from dreamprvr.search.trained import TrainedModel
from dreamprvr.search.untrained import UntrainedModel
from dreamprvr.search.vectors import Model


def check_model(
    model: ModelFile, path: Path, settings: ExtractionSettings, trust_features: bool
) -> None:
    """Raise unless a model was trained on features of this kind.

    Args:
        model: of a checkpoint.
        path: of the checkpoint.
        settings: of the features.
        trust_features: accept a checkpoint that does not say what it was trained on.

    Raises:
        UserError: says what differs and what to do.
    """
    if model.video_dim != settings.video_dim:
        raise UserError(
            f"checkpoint {path} was trained on video features of size {model.video_dim}, these are "
            f"of size {settings.video_dim}: extract with the encoder it was trained on"
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
            f"{known.text_fingerprint[:12]}) than reads the queries here ({settings.encoder}, "
            f"{settings.fingerprint[:12]}): train on words that it extracts from the captions"
        )
    ours, theirs = known.differences(settings)
    if ours:
        raise UserError(
            f"checkpoint {path} was trained on features of {ours}, and these are of {theirs}: "
            "extract alike, or train on these features"
        )
    if not known.fingerprint:
        line = f"checkpoint {path} does not say which features it was trained on"
        if not trust_features:
            raise UserError(
                f"{line}: if they are of {settings.encoder}, say so with --trust_features"
            )
        warnings.warn(f"{line}; the sizes fit, the rest is taken on trust", stacklevel=2)


def check_encoder(encoder: Encoder, settings: ExtractionSettings, model: ModelFile | None) -> None:
    """Raise unless an encoder's sentences fit the library's videos."""
    if encoder.fingerprint != settings.fingerprint:
        raise UserError(
            f"encoder {settings.encoder} has other weights now (fingerprint "
            f"{encoder.fingerprint[:12]}) than those that made the features "
            f"({settings.fingerprint[:12]}): extract and index again, or bring the old ones back"
        )
    if not encoder.text_dim:
        raise no_text(settings.encoder)
    if model is None and not encoder.searches_untrained:
        raise UserError(
            f"encoder {settings.encoder} does not put sentences into the space of its videos, so "
            "searching needs a trained model: index with --ckpt_path"
        )
    for what, ours, theirs in (
        ("video", settings.video_dim, encoder.video_dim),
        ("text", model.text_dim if model else encoder.text_dim, encoder.text_dim),
    ):
        if ours != theirs:
            raise UserError(
                f"encoder {settings.encoder} gives {what} features of size {theirs}, the library "
                f"needs {ours}: train with this encoder's features"
            )


def is_missing(encoder: str) -> bool:
    """Whether an encoder's name is that of a folder, and the folder is not there."""
    folder = encoder.removeprefix(TRANSFORMERS)
    return folder != encoder and os.path.isabs(folder) and not os.path.isdir(folder)


def find_encoder(settings: ExtractionSettings, device: str) -> Encoder:
    """The encoder that made features, as `load_encoder` gives it."""
    if is_missing(settings.encoder):
        folder = settings.encoder.removeprefix(TRANSFORMERS)
        raise UserError(
            f"the encoder's folder {folder} is missing: put it back; or, if it was moved, extract "
            f"with --encoder {TRANSFORMERS}FOLDER and index those features into the library again, "
            "which then takes the folder's new place"
        )
    return load_encoder(settings.encoder, device)


class LibraryModel:
    """The model of a library, and its encoder's text side, loaded when first asked.

    Args:
        folder: of the library.
        manifest: of the library.
        device: as for `load_encoder`.

    Raises:
        UserError: `model.ckpt` is missing, damaged or another than the manifest's.
    """

    def __init__(self, folder: Path, manifest: Manifest, device: str) -> None:
        self.settings, self.device = manifest.settings, device
        self.file: ModelFile | None = None
        self.model: Model = UntrainedModel(manifest.settings.video_dim)
        if manifest.checkpoint:
            self.file = read_model(folder / MODEL)
            if self.file.digest != manifest.checkpoint:
                raise UserError(
                    f"{folder / MODEL} is not the model that the library was indexed with: put "
                    "that one back, or index into a new folder"
                )
            self.model = TrainedModel(self.file.network, pick_device(device))
        self._encoder: Encoder | None = None

    def encoder(self) -> Encoder:
        """The encoder that made the features."""
        if self._encoder is None:
            encoder = find_encoder(self.settings, self.device)
            check_encoder(encoder, self.settings, self.file)
            self._encoder = encoder
        return self._encoder


def keep_model(checkpoint: Path, folder: Path) -> None:
    """Put a checkpoint's model into a library's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_model(checkpoint, folder / MODEL)


def forget(folder: Path) -> None:
    """Remove what a creation that was interrupted has left."""
    (folder / MODEL).unlink(missing_ok=True)
    for name in (ENGINE, ROWS):
        shutil.rmtree(folder / name, ignore_errors=True)
