from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from search.libraries import WordEncoder

from dreamprvr.core.errors import UserError
from dreamprvr.extraction.encoders import QueryFeatures
from dreamprvr.search.untrained import UntrainedModel


def test_rows_are_tokens_of_unit_length() -> None:
    rows = np.array([[3, 4, 0], [0, 0, 0], [0, 0, 2]], dtype=np.float32)
    (found,) = UntrainedModel(3).encode_videos([rows])
    np.testing.assert_allclose(found.frames, [[0.6, 0.8, 0], [0, 0, 0], [0, 0, 1]], rtol=1e-6)
    assert found.clips.shape == found.registers.shape == (0, 3)


def test_the_query_is_the_sentence() -> None:
    found = UntrainedModel(6).encode_query(WordEncoder(), "red cat")
    np.testing.assert_allclose(found, [0.5**0.5, 0, 0, 0, 0.5**0.5, 0], rtol=1e-6)
    assert found.dtype == np.float32


def test_an_encoder_of_two_spaces() -> None:
    encoder: Any = SimpleNamespace(
        name="two", encode_query=lambda text: QueryFeatures(torch.ones(1, 2), None)
    )
    with pytest.raises(UserError, match=r"encoder two does not put .* --ckpt_path"):
        UntrainedModel(6).encode_query(encoder, "red cat")
