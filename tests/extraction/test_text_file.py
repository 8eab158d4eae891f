from pathlib import Path

import h5py
import numpy as np
import pytest

from data_modules.readers.features import open_features
from data_modules.readers.hdf5 import ATTRIBUTES_SUM
from dreamprvr.core.errors import UserError
from dreamprvr.extraction.text_file import CaptionWords, TextFile, TextSettings, write_text_file

SETTINGS = TextSettings("one", "ab12", 3)
PATH = Path("text.hdf5")
CAPTIONS = [
    CaptionWords("a#enc#0", "a  dog", np.arange(6, dtype=np.float32).reshape(2, 3)),
    CaptionWords("\u00e4 b#enc#10", "", np.ones((1, 3), np.float32)),
]


def test_what_was_written_is_read() -> None:
    write_text_file(PATH, SETTINGS, iter(CAPTIONS))
    with TextFile(PATH) as file:
        assert file.settings == SETTINGS
        for caption_id, text, rows in CAPTIONS:
            assert file.text(caption_id) == text
            np.testing.assert_array_equal(file[caption_id], rows)


def test_training_reads_the_same_file() -> None:
    write_text_file(PATH, SETTINGS, CAPTIONS)
    store = open_features(PATH)
    assert (store.dim, store.fingerprint) == (3, "ab12")
    assert sorted(store.keys()) == [caption.caption_id for caption in CAPTIONS]
    np.testing.assert_array_equal(store["a#0"], CAPTIONS[0].rows)


@pytest.mark.parametrize(("name", "value"), [("format", "other"), ("version", 2)])
def test_another_file_is_refused(name: str, value: object) -> None:
    write_text_file(PATH, SETTINGS, CAPTIONS)
    with h5py.File(PATH, "r+") as file:
        file.attrs[name] = value
        del file.attrs[ATTRIBUTES_SUM]
    with pytest.raises(UserError, match=r"^text\.hdf5 holds no word features of this version"):
        TextFile(PATH)


@pytest.mark.parametrize("name", ["version", "encoder", "fingerprint", "text_dim"])
def test_what_is_missing_is_one_line(name: str) -> None:
    write_text_file(PATH, SETTINGS, CAPTIONS)
    with h5py.File(PATH, "r+") as file:
        del file.attrs[name], file.attrs[ATTRIBUTES_SUM]
        del file["a#enc#0"].attrs[ATTRIBUTES_SUM]
        del file["a#enc#0"].attrs["text"]
    with pytest.raises(UserError, match=r"^text\.hdf5: cannot read its encoder"):
        TextFile(PATH)
    with h5py.File(PATH, "r+") as file:
        file.attrs[name] = 1
    with TextFile(PATH) as found, pytest.raises(UserError, match="cannot read 'a#enc#0'"):
        found.text("a#enc#0")
