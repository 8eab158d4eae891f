"""Captions -> word features, going on where an earlier run ended."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from data_modules.readers.captions import read_captions
from data_modules.readers.hdf5 import link_name
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.text import one_line, quote
from dreamprvr.extraction.encoder import Encoder, encode_sentences
from dreamprvr.extraction.settings import LARGEST_BATCH
from dreamprvr.extraction.summary import length
from dreamprvr.extraction.text_file import CaptionWords, TextSettings
from dreamprvr.extraction.text_store import TextStore

PART_BYTES = 64 * 2**20  # of words that are written at once


def read_caption_files(paths: Sequence[Path]) -> dict[str, str]:
    """The texts of all captions by id, in the order of the files.

    Raises:
        UserError: a file is missing or no caption file, an id cannot name a dataset, or two files
            give an id different texts.
    """
    texts: dict[str, str] = {}
    for path in paths:
        table = read_captions(path)
        for caption_id, text in zip(table["query_id"], table["text"], strict=True):
            if link_name(caption_id) is None:
                raise UserError(
                    f"{path}: caption id {quote(caption_id)} names no dataset: take slashes out"
                )
            if texts.setdefault(caption_id, text) != text:
                raise UserError(
                    f"{path}: caption {quote(caption_id)} has another text in another file: "
                    "rename one"
                )
    return texts


def extract_text(
    captions: Mapping[str, str],
    encoder: Encoder,
    output: Path,
    batch_size: int = 64,
    show_progress: bool | None = None,
) -> tuple[list[str], bool]:
    """Encode the captions that are not in the output yet, or with another text.

    Whatever ends the run early (Ctrl-C, a full disk), what is finished is kept: in the output, or,
    if the process was killed, beside it for the next run.

    Args:
        captions: texts by id.
        encoder: reads them; what is too long for it is cut.
        output: the file, see `text_file`.
        batch_size: captions read at once.
        show_progress: False never shows a bar; None only on a terminal.

    Returns:
        Lines that say what was done, and whether every caption gave words.

    Raises:
        UserError: the encoder reads no text, another one made the output, or the disk is full.
    """
    _check(encoder, batch_size)
    began = time.monotonic()
    settings = TextSettings(encoder.name, encoder.fingerprint, encoder.text_dim)
    with TextStore(output, settings) as store:
        pending = [item for item in captions.items() if store.texts.get(item[0]) != item[1]]
        others = len(store.texts.keys() - captions.keys())
        run = _Run(encoder, store, batch_size)
        try:
            run.encode(pending, show_progress)
        finally:
            run.keep()
            store.join()
    taken = f" ({length(time.monotonic() - began)})" if run.count else ""
    counts = {"unchanged": len(captions) - len(pending), "others kept": others,
              "failed": len(run.failures)}  # fmt: skip
    parts = [f"{count:,} {what}" for what, count in counts.items() if count]
    total = ", ".join([f"{run.count:,} captions encoded{taken}", *parts])
    there = f"; word features are in {output}" if store.texts else ""
    return [*run.failures, f"{total}{there}"], not run.failures


def _check(encoder: Encoder, batch_size: int) -> None:
    if not encoder.text_dim:
        raise UserError(
            f"encoder {encoder.name} reads no text: take the words of one that does (clip-b32, "
            "clip-l14, siglip2-base), whatever encoder the videos have"
        )
    check_range("--batch_size", batch_size, 1, LARGEST_BATCH, whole=True)


class _Run:
    """One pass over the captions that are pending."""

    def __init__(self, encoder: Encoder, store: TextStore, batch_size: int) -> None:
        self.encoder, self.store, self.batch_size = encoder, store, batch_size
        self.count = 0
        self.failures: list[str] = []
        self.waiting: list[CaptionWords] = []

    def encode(self, pending: Sequence[tuple[str, str]], show_progress: bool | None) -> None:
        """Read every pending caption, keeping some at a time."""
        disable = (None if show_progress is None else not show_progress) if pending else True
        with tqdm(total=len(pending), desc="captions", disable=disable) as bar:
            for start in range(0, len(pending), self.batch_size):
                batch = pending[start : start + self.batch_size]
                for (caption_id, text), rows in zip(batch, self._words(batch), strict=True):
                    self._take(caption_id, text, rows)
                bar.update(len(batch))
                if sum(caption.rows.nbytes for caption in self.waiting) >= PART_BYTES:
                    self.keep()

    def keep(self) -> None:
        """Write what is finished."""
        waiting, self.waiting = self.waiting, []
        if waiting:
            self.store.add(waiting)
            self.count += len(waiting)

    def _words(self, batch: Sequence[tuple[str, str]]) -> list[torch.Tensor]:
        try:
            found = encode_sentences(self.encoder, [text for _, text in batch])
        except torch.OutOfMemoryError:
            raise UserError(
                f"a batch of {len(batch)} captions does not fit on the device: give a smaller "
                "--batch_size"
            ) from None
        return [features.words for features in found]

    def _take(self, caption_id: str, text: str, words: torch.Tensor) -> None:
        rows = words.float().numpy()
        if rows.ndim != 2 or rows.shape[1] != self.encoder.text_dim:
            raise UserError(
                f"encoder {self.encoder.name} gave words of shape {rows.shape}, not (words, "
                f"{self.encoder.text_dim}): it is broken"
            )
        if not len(rows) or not torch.isfinite(words).all():
            reason = "NaN or infinite values" if len(rows) else "no words"
            self.failures.append(f"{one_line(caption_id)}: failed: the encoder gave {reason}")
            return
        self.waiting.append(CaptionWords(caption_id, text, rows))
