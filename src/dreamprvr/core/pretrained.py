"""Fetch models of `transformers` from the hub, read them, and refuse those that lack weights."""

import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dreamprvr.core.errors import UserError, first_line
from dreamprvr.core.files import DISK_FULL
from dreamprvr.core.text import listed, shorten

if TYPE_CHECKING:
    import torch

TRANSFORMERS = "transformers:"  # prefix of the name of an encoder that is a saved model
INSTALL = "pip install 'dreamprvr[search]'"
# Make `from_pretrained` report weights that do not fit, and those of another size among them.
REPORTED = {"output_loading_info": True, "ignore_mismatched_sizes": True}


PATIENCE = 5.0  # seconds to wait for the hub's first answer
SMALL = (".json", ".txt", ".model")  # endings of a model's files beside its weights


def fetch(source: str) -> str:
    """Return the folder of a model, which is fetched from the hub the first time.

    The hub's own client fetches it, shows the progress, keeps it in its cache, and goes on with a
    file that was interrupted. Only weights, settings and vocabulary are fetched: no code, and no
    pickles where there are safetensors. A model in the cache needs no network.

    Args:
        source: folder of the model, or its name on the hub.

    Raises:
        UserError: the model is neither on this machine nor can it be fetched; the message says why
            and how to bring it here.
    """
    if os.path.isdir(source):
        return source
    from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError
    from tqdm import tqdm

    try:
        config = try_to_load_from_cache(source, "config.json")
        if isinstance(config, str) and _has_weights(Path(config).parent):
            return str(Path(config).parent)
        if constants.HF_HUB_OFFLINE:
            raise _missing(source)
        # above the progress that may be shown
        tqdm.write(f"fetching {source} into {constants.HF_HUB_CACHE}, once", file=sys.stderr)
        # asked for in this way, the client does not try again, which takes 23 s without a network
        held = HfApi().model_info(source, timeout=PATIENCE).siblings or []
        for name in _wanted([file.rfilename for file in held]):
            config = hf_hub_download(source, name)
        return str(Path(config).parent)  # type: ignore[arg-type]
    except HFValidationError:  # the name can only be one of a folder
        raise _missing(source) from None
    except UserError:
        raise
    except Exception as error:  # of the client, of the network or of the disk
        if isinstance(error, OSError) and error.errno in DISK_FULL:
            raise
        raise _missing(source, f", and could not be fetched ({_reason(error)})") from None


def _wanted(names: Sequence[str]) -> list[str]:
    """Choose the files of a model that are needed; weights come last, and show that all is there.

    Raises:
        UserError: there are no weights.
    """
    names = sorted(name for name in names if "/" not in name)
    safe = [name for name in names if name.startswith("model") and name.endswith(".safetensors")]
    torch_files = [n for n in names if n.startswith("pytorch_model") and n.endswith(".bin")]
    weights = safe or torch_files
    if not weights or "config.json" not in names:
        raise UserError("the hub has no weights of this model that can be read here")
    index = "model.safetensors.index.json" if safe else "pytorch_model.bin.index.json"
    small = [
        name for name in names
        if name.endswith(SMALL) and (name == index or not name.endswith(".index.json"))
    ]  # fmt: skip
    return [*small, *weights]


def _has_weights(folder: Path) -> bool:
    """Return whether a folder of the hub's cache holds all weights of a model."""
    for kind in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{kind}.index.json"
        try:
            parts = set(json.loads(index.read_bytes())["weight_map"].values())
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            parts = {kind}
        if all((folder / str(part)).exists() for part in parts):
            return True
    return False


def _reason(error: Exception) -> str:
    """Say in a few words why a model could not be fetched."""
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

    if isinstance(error, GatedRepoError):
        return (
            "its owner asks for an agreement: accept it on the model's page, and run "
            "`hf auth login`"
        )
    if isinstance(error, RepositoryNotFoundError):
        return "the hub has no model of this name, or hides it"
    return shorten(first_line(error), 200)


def _missing(source: str, why: str = "") -> UserError:
    return UserError(
        f"model {source} is not on this machine{why}: where there is a network, run "
        f"`hf download {source}`, or `hf download {source} --local-dir FOLDER`, copy FOLDER "
        f"here and give --encoder {TRANSFORMERS}FOLDER"
    )


def load_part(kind: Any, source: str, **options: Any) -> Any:
    """Call `from_pretrained` of a class, for files that are on this machine.

    Args:
        kind: a class of transformers that has `from_pretrained`.
        source: folder of the model.
        options: further arguments of `from_pretrained`.

    Returns:
        What `from_pretrained` returns.

    Raises:
        UserError: the model is damaged, or a part of it is missing.
    """
    try:
        with quiet():
            return kind.from_pretrained(source, local_files_only=True, **options)
    except Exception as error:  # for a damaged file, any exception of its reader
        raise UserError(
            f"cannot read a model from {source} ({first_line(error)}): its weights "
            "(safetensors), config.json, preprocessor_config.json and tokenizer must be there, "
            "all whole"
        ) from error


def load_model(
    kind: Any,
    source: str,
    unused: Sequence[str] = (),
    optional: Sequence[str] = (),
    **options: Any,
) -> "torch.nn.Module":
    """Read a model, and check that every weight comes from its files.

    Args:
        kind: see `load_part`.
        source: see `load_part`.
        unused: prefixes of the names of weights that the files may hold beside the model's own.
        optional: prefixes of the names of weights that may be missing, since no feature needs
            them.
        options: see `load_part`.

    Raises:
        UserError: see `load_part`, `check_torch_files` and `refuse_random_weights`.
    """
    check_torch_files(source)
    model, report = load_part(kind, source, **REPORTED, **options)
    refuse_random_weights(model, report, source, unused, optional)
    return cast("torch.nn.Module", model)


def check_torch_files(source: str) -> None:
    """Check each record of weights that a folder keeps in torch's format, not as safetensors.

    This is needed since torch itself accepts a compressed or damaged record as weights.

    Args:
        source: folder of the model.

    Raises:
        UserError: a record is damaged; the message names the file.
    """
    # imported late, since the command line names the encoders without waiting for torch
    from dreamprvr.core.torch_file import StandIn, read_torch_file

    folder = Path(source)
    if not any(folder.glob("*.safetensors")):
        for file in sorted(folder.glob("pytorch_model*.bin")):
            read_torch_file(file, foreign={"": StandIn})


def refuse_random_weights(
    model: "torch.nn.Module",
    report: Mapping[str, Any],
    source: str,
    unused: Sequence[str] = (),
    optional: Sequence[str] = (),
) -> None:
    """Refuse a model whose files do not hold exactly its weights.

    transformers fills missing weights with random numbers, which differ between processes.

    Args:
        model: model that `from_pretrained` made.
        report: report of `from_pretrained` when it is called with the options `REPORTED`.
        source: folder of the model, for the message.
        unused: prefixes of the names of weights that the files may hold in addition.
        optional: prefixes of the names of weights that may be missing, since no feature needs
            them.

    Raises:
        UserError: weights are missing, unexpected, of another size or not finite; the message
            names some of them.
    """
    missing = _names(report["missing_keys"], optional)
    extra = _names(report["unexpected_keys"], unused)
    state = model.state_dict().items()
    wrong = {
        "missing": missing,
        "unexpected": extra,
        "of another size": sorted(str(name) for name, *_ in report["mismatched_keys"]),
        "not finite": [n for n, w in state if w.is_floating_point() and not w.isfinite().all()],
    }
    problems = [
        f"{len(names)} {kind} ({listed(names, 3)})" for kind, names in wrong.items() if names
    ]
    if problems:
        parallel = bool(extra) and all(name.startswith("module.") for name in extra)
        advice = "they were saved with DataParallel: save model.module instead" if parallel else (
            "give a folder whose weights and config.json belong together"
        )  # fmt: skip
        raise UserError(
            f"the weights in {source} do not fit the model: {', '.join(problems)}; {advice}"
        )


def _names(keys: Iterable[str], allowed: Sequence[str]) -> list[str]:
    """Sort the names of weights, without those that are allowed or that no feature depends on."""
    return sorted(
        name for name in map(str, keys) if not name.startswith(tuple(allowed))
        and not name.endswith(("position_ids", "num_batches_tracked"))
    )  # fmt: skip


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers from printing a progress bar and a long report for each model."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()
