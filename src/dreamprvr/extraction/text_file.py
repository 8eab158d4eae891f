"""Files of word features: an HDF5 dataset (L, E) float32 a caption, named by the caption's id.

Training reads them as they are, as the published ones. Root attributes: `format`, `version`,
`encoder`, `fingerprint`, `text_dim`. Each dataset has its `text`, by which a caption that was
changed is known.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from data_modules.readers.hdf5 import Hdf5Features, write_attributes, write_rows
from dreamprvr.core.errors import UserError
from dreamprvr.core.files import atomic_path
from dreamprvr.core.text import quote

FORMAT, VERSION = "dreamprvr-text-features", 1


@dataclass(frozen=True)
class TextSettings:
    """Which encoder read the captions of a file.

    Args:
        encoder: name by which `load_encoder` finds it again.
        fingerprint: of its weights and words.
        text_dim: E, numbers a word.
    """

    encoder: str
    fingerprint: str
    text_dim: int


class CaptionWords(NamedTuple):
    """A caption's words: rows (L, E) float32."""

    caption_id: str
    text: str
    rows: np.ndarray


class TextFile(Hdf5Features):
    """A file of word features, read only.

    Args:
        path: the file.

    Raises:
        UserError: missing, damaged, or not written by `lightning extract-text`.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        found = self._attributes("")
        with self._reading("its encoder"):
            if found.get("format", "") != FORMAT or int(found["version"]) != VERSION:
                raise UserError(
                    f"{path} holds no word features of this version of `lightning extract-text`: "
                    "give another -o"
                )
            self.settings = TextSettings(
                str(found["encoder"]), str(found["fingerprint"]), int(found["text_dim"])
            )

    def __enter__(self) -> "TextFile":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def text(self, caption_id: str) -> str:
        """What a caption said when it was encoded."""
        found = self._attributes(caption_id)
        with self._reading(quote(caption_id)):
            return str(found["text"])


def write_text_file(path: Path, settings: TextSettings, captions: Iterable[CaptionWords]) -> None:
    """Write a file as a whole; one that is there stays until the new one is complete.

    Args:
        path: the file.
        settings: of all captions.
        captions: taken one by one, so that no more than one is in memory.

    Raises:
        UserError: no room, or no permission.
    """
    with atomic_path(path) as partial, h5py.File(partial, "w") as file:
        write_attributes(file, "", {"format": FORMAT, "version": VERSION, **asdict(settings)})
        for caption_id, text, rows in captions:
            write_attributes(write_rows(file, caption_id, rows), caption_id, {"text": text})
