"""Encode captions to files of word features, going on where an earlier run ended.

Such a file has an HDF5 dataset (L, E) float32 for each caption, named by the caption's id. Training
reads it as it reads the published ones. Root attributes: `format`, `version` and the fields of
`TextSettings`. Each dataset has its `text`, by which a changed caption is recognised.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import torch

from data_modules.readers.captions import read_captions
from data_modules.readers.hdf5 import Hdf5Features, link_name, write_attributes, write_rows
from dreamprvr.core.errors import UserError, check_range
from dreamprvr.core.files import atomic_path
from dreamprvr.core.progress import ProgressBar
from dreamprvr.core.text import one_line, quote
from dreamprvr.extraction.encoder import BatchEncoder, Encoder
from dreamprvr.extraction.extractor import length
from dreamprvr.extraction.feature_file import LARGEST_BATCH, TEXT_FORMAT
from dreamprvr.extraction.output import JOINED, Output

VERSION = 1
PART_BYTES = 64 * 2**20  # bytes of words that are written at once


@dataclass(frozen=True)
class TextSettings:
    """The encoder that read the captions of a file.

    Args:
        encoder: name by which `load_encoder` finds the encoder again.
        fingerprint: digest of its weights and vocabulary.
        text_dim: E, the numbers of a word.
    """

    encoder: str
    fingerprint: str
    text_dim: int


class CaptionWords(NamedTuple):
    """The features of a caption's words."""

    caption_id: str
    text: str
    rows: np.ndarray  # (L, E) float32


class TextFile(Hdf5Features):
    """A file of word features, read only.

    Args:
        path: path of the file.

    Raises:
        UserError: it is missing, damaged, or was not written by `lightning extract-text`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        attributes = self._attributes("")
        with self._reading("its encoder"):
            ours = attributes.get("format", "") == TEXT_FORMAT
            if not ours or int(attributes["version"]) != VERSION:
                raise UserError(
                    f"{path} holds no word features of this version of `lightning extract-text`: "
                    "give another -o"
                )
            self.settings = TextSettings(
                str(attributes["encoder"]), str(attributes["fingerprint"]),
                int(attributes["text_dim"]),
            )  # fmt: skip

    def text(self, caption_id: str) -> str:
        """Return the text of a caption as it was encoded."""
        attributes = self._attributes(caption_id)
        with self._reading(quote(caption_id)):
            return str(attributes["text"])


def write_text_file(path: Path, settings: TextSettings, captions: Iterable[CaptionWords]) -> None:
    """Write a whole file. An old file of that name stays until the new one is complete.

    Args:
        path: path of the file.
        settings: settings of all captions.
        captions: the captions; they are taken one by one, so that no more than one is in memory.

    Raises:
        UserError: the disk is full, or the folder may not be written.
    """
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        write_attributes(file, "", {"format": TEXT_FORMAT, "version": VERSION, **asdict(settings)})
        for caption_id, text, rows in captions:
            write_attributes(write_rows(file, caption_id, rows), caption_id, {"text": text})


class TextOutput(Output):
    """The file that `lightning extract-text` writes; every part holds some captions.

    Args:
        path: path of the file, which need not exist yet.
        settings: settings of this run.

    Attributes:
        texts: texts of the captions that are in the output or in a part, by id.

    Raises:
        UserError: on entering: another run writes the file, it is of another encoder, or it is
            something else.
    """

    def __init__(self, path: Path, settings: TextSettings) -> None:
        super().__init__(path, "extract-text")
        self.settings = settings
        self.texts: dict[str, str] = {}
        self._files: dict[str, Path] = {}

    def check(self, path: Path) -> None:
        """Refuse a file of another encoder, and note the captions of a fitting one."""
        with TextFile(path) as file:
            if file.settings.fingerprint != self.settings.fingerprint:
                advice = "give another -o" if path == self.path else (
                    f"an earlier run left it: delete {self.parts}"
                )  # fmt: skip
                raise UserError(
                    f"{path} holds words of encoder {file.settings.encoder} (fingerprint "
                    f"{file.settings.fingerprint[:12]}), not of {self.settings.encoder} "
                    f"({self.settings.fingerprint[:12]}): {advice}, or the same --encoder"
                )
            names = file.keys()
            self._note(path, ((name, file.text(name)) for name in names))

    def add(self, captions: Sequence[CaptionWords]) -> None:
        """Write captions to a part; once this returns, a crash cannot lose them."""
        number = max((int(path.stem) for path in self.part_files()), default=0) + 1
        path = self.parts / f"{number:06d}.hdf5"
        write_text_file(path, self.settings, captions)
        self._note(path, ((caption.caption_id, caption.text) for caption in captions))

    def join(self) -> None:
        """Write a new output with the captions of the old one and of the parts."""
        if self.part_files():
            write_text_file(self.parts / JOINED, self.settings, self._read())
            self.replace_output()

    def _note(self, path: Path, texts: Iterable[tuple[str, str]]) -> None:
        for name, text in texts:
            self.texts[name], self._files[name] = text, path

    def _read(self) -> Iterator[CaptionWords]:
        files = {path: TextFile(path) for path in set(self._files.values())}
        try:
            for name, path in sorted(self._files.items()):
                yield CaptionWords(name, self.texts[name], files[path][name])
        finally:
            for file in files.values():
                file.close()


def read_caption_files(paths: Sequence[Path]) -> dict[str, str]:
    """Read the texts of all captions by id, in the order of the files.

    Args:
        paths: caption files.

    Raises:
        UserError: a file is missing or no caption file, an id cannot name a dataset, or two files
            have different texts for an id.
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
    batch_size: int,
    show_progress: bool = True,
) -> tuple[list[str], bool]:
    """Encode the captions that are not in the output yet, or with another text.

    Whatever ends the run early (Ctrl-C, a full disk), finished captions are kept: in the output or,
    if the process was killed, beside it for the next run.

    Args:
        captions: texts of the captions by id.
        encoder: the encoder that reads them; it cuts those that are too long.
        output: path of the file of word features.
        batch_size: number of captions that are encoded at once.
        show_progress: whether to show how far it is, see `ProgressBar`.

    Returns:
        Lines for the user about the run; and True if every caption gave words.

    Raises:
        UserError: the encoder reads no text, another one made the output, or the disk is full.
    """
    if not encoder.text_dim:
        raise UserError(
            f"encoder {encoder.name} reads no text: take the words of one that does (clip-b32, "
            "clip-l14, siglip2-base), whatever encoder the videos have"
        )
    check_range("--batch_size", batch_size, 1, LARGEST_BATCH, whole=True)
    began = time.monotonic()
    settings = TextSettings(encoder.name, encoder.fingerprint, encoder.text_dim)
    with TextOutput(output, settings) as store:
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
    parts = [f"{count:,} {name}" for name, count in counts.items() if count]
    total = ", ".join([f"{run.count:,} captions encoded{taken}", *parts])
    there = f"; word features are in {output} (rows of {encoder.text_dim:,} numbers)"
    there = there if store.texts else ""
    return [*run.failures, f"{total}{there}"], not run.failures


class _Run:
    """One pass over the pending captions."""

    def __init__(self, encoder: Encoder, store: TextOutput, batch_size: int) -> None:
        self.encoder, self.store, self.batch_size = encoder, store, batch_size
        self.count = 0
        self.failures: list[str] = []
        self.waiting: list[CaptionWords] = []

    def encode(self, pending: Sequence[tuple[str, str]], show_progress: bool) -> None:
        """Encode every pending caption, and write them a part at a time."""
        with ProgressBar(
            total=len(pending), desc="captions", disable=not (show_progress and pending)
        ) as bar:
            for start in range(0, len(pending), self.batch_size):
                batch = pending[start : start + self.batch_size]
                for (caption_id, text), rows in zip(batch, self._words(batch), strict=True):
                    self._take(caption_id, text, rows)
                bar.update(len(batch))
                if sum(caption.rows.nbytes for caption in self.waiting) >= PART_BYTES:
                    self.keep()

    def keep(self) -> None:
        """Write the captions that are finished."""
        waiting, self.waiting = self.waiting, []
        if waiting:
            self.store.add(waiting)
            self.count += len(waiting)

    def _words(self, batch: Sequence[tuple[str, str]]) -> list[torch.Tensor]:
        texts = [text for _, text in batch]
        try:
            if isinstance(self.encoder, BatchEncoder):
                features = self.encoder.encode_queries(texts)
            else:
                features = [self.encoder.encode_query(text) for text in texts]
        except torch.OutOfMemoryError:
            raise UserError(
                f"a batch of {len(batch)} captions does not fit on the device: give a smaller "
                "--batch_size"
            ) from None
        return [query.words for query in features]

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
