"""Read models of `transformers` that are on this machine, and refuse those that lack weights."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dreamprvr.core.errors import UserError, first_line
from dreamprvr.core.text import shorten

if TYPE_CHECKING:
    import torch

TRANSFORMERS = "transformers:"  # prefix of the name of an encoder that is a saved model
INSTALL = "pip install 'dreamprvr[search]'"
# Make `from_pretrained` report weights that do not fit, and those of another size among them.
REPORTED = {"output_loading_info": True, "ignore_mismatched_sizes": True}


def load_part(kind: Any, source: str, **options: Any) -> Any:
    """Call `from_pretrained` of a class, for files that are on this machine.

    Args:
        kind: a class of transformers that has `from_pretrained`.
        source: folder of the model, or its name on the hub.
        options: further arguments of `from_pretrained`.

    Returns:
        What `from_pretrained` returns.

    Raises:
        UserError: the model is damaged, or missing; then the message says how to download it.
    """
    try:
        with quiet():
            return kind.from_pretrained(source, local_files_only=True, **options)
    except Exception as error:  # for a damaged file, any exception of its reader
        if os.path.isdir(source):
            raise UserError(
                f"cannot read a model from {source} ({first_line(error)}): its weights "
                "(safetensors), config.json, preprocessor_config.json and tokenizer must be there, "
                "all whole"
            ) from error
        raise UserError(
            f"model {source} is not on this machine: where there is a network, run "
            f"`hf download {source}`, or `hf download {source} --local-dir FOLDER`, copy FOLDER "
            f"here and give --encoder {TRANSFORMERS}FOLDER"
        ) from None


def load_model(
    kind: Any, source: str, unused: Sequence[str] = (), **options: Any
) -> "torch.nn.Module":
    """Read a model, and check that every weight comes from its files.

    Args:
        kind: see `load_part`.
        source: see `load_part`.
        unused: prefixes of the names of weights that the files may hold beside the model's own.
        options: see `load_part`.

    Raises:
        UserError: see `load_part`, `check_torch_files` and `refuse_random_weights`.
    """
    check_torch_files(source)
    model, report = load_part(kind, source, **REPORTED, **options)
    refuse_random_weights(model, report, source, unused)
    return cast("torch.nn.Module", model)


def check_torch_files(source: str) -> None:
    """Check each record of weights that a folder keeps in torch's format, not as safetensors.

    This is needed since torch itself accepts a compressed or damaged record as weights.

    Args:
        source: folder of the model; anything else passes.

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
        source: folder or name of the model, for the message.
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
        f"{len(names)} {kind} ({', '.join(map(shorten, names[:3]))}{', ...' if names[3:] else ''})"
        for kind, names in wrong.items()
        if names
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
