"""Makes the folder of a new library, complete or not at all."""

from pathlib import Path

from dreamprvr.core.errors import UserError
from dreamprvr.core.files import reason
from dreamprvr.extraction.feature_file import ExtractionSettings, FeatureFile
from dreamprvr.search.engines import create_engine, new_collection
from dreamprvr.search.lock import LibraryLock
from dreamprvr.search.manifest import NAME, OURS, Manifest, check_engine, refuse_links_in
from dreamprvr.search.model_file import ModelFile, read_model
from dreamprvr.search.models import (
    check_encoder,
    check_model,
    find_encoder,
    forget,
    keep_model,
)
from dreamprvr.search.writer_lock import WriterLock


def create_library(
    folder: Path,
    features: Path,
    checkpoint: Path | None,
    engine: str,
    device: str,
    trust_features: bool,
) -> None:
    """See `Library.create`. The manifest comes last: without it, there is no library."""
    check_engine(engine, "--engine")
    with FeatureFile(features) as file:
        settings = file.settings
    model = None if checkpoint is None else read_model(checkpoint)
    if model is not None and checkpoint is not None:
        check_model(model, checkpoint, settings, trust_features)
    check_encoder(find_encoder(settings, device), settings, model)
    dim = settings.video_dim if model is None else model.network.config.hidden_size
    try:
        folder.mkdir(parents=True, exist_ok=True)
        foreign = [entry for entry in folder.iterdir() if entry.name not in (NAME, *OURS)]
    except OSError as error:
        raise UserError(f"{folder} cannot be made: {reason(error)}") from None
    if foreign:  # asked before the lock, which leaves files
        raise UserError(f"{folder} holds other files: name a new folder for the library")
    refuse_links_in(folder)
    writer = WriterLock(folder)
    try:
        lock = LibraryLock(folder, write=True)
        try:
            _fill(folder, settings, dim, engine, checkpoint, model)
        finally:
            lock.release()
    finally:
        writer.release()


def _fill(
    folder: Path,
    settings: ExtractionSettings,
    dim: int,
    engine: str,
    checkpoint: Path | None,
    model: ModelFile | None,
) -> None:
    if (folder / NAME).exists():
        raise UserError(f"{folder} is a library already; open it, or name another folder")
    forget(folder)
    if checkpoint is not None:
        keep_model(checkpoint, folder)
    digest = "" if model is None else model.digest
    manifest = Manifest(settings, dim, engine, new_collection(engine), digest)
    create_engine(folder, manifest).close()
    manifest.write(folder)
