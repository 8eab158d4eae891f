import torch
from models.published_models import GoldenTests

from dreamprvr.models.ms_sl import MSSL, MSSLConfig, ObjectiveConfig
from dreamprvr.models.ms_sl.network import window_means
from dreamprvr.models.testing import ModelContract


class TestContract(ModelContract):
    model = MSSL
    small = {"hidden_size": 16, "num_heads": 2}


class TestGolden(GoldenTests):
    name = "ms_sl"
    model = MSSL
    millions = {(1024, 1024): 3.37, (3072, 768): 4.85}


def test_windows_are_the_means_of_consecutive_clips_and_know_their_place() -> None:
    tokens = torch.randn(2, 4, 3, dtype=torch.float64)
    found = window_means(tokens)
    model = MSSL(2, 2, MSSLConfig(hidden_size=8, num_heads=2, num_clips=4))
    place = 0
    for size in range(1, 5):
        for start in range(5 - size):
            expected = tokens[:, start : start + size].mean(dim=1)
            torch.testing.assert_close(found[:, place], expected)
            assert model.token_spans("clips").spans[place] == (start, start + size)
            place += 1
    assert found.shape == (2, place, 3)


def test_queries_of_one_video_can_be_left_out_of_the_negatives() -> None:
    labels = torch.tensor([0, 0, 1])
    published = MSSL(2, 2, MSSLConfig(hidden_size=8, num_heads=2))
    sane = MSSL(2, 2, MSSLConfig(hidden_size=8, num_heads=2), ObjectiveConfig(mask_same_video=True))
    assert not published._excluded(labels).any()
    assert sane._excluded(labels).tolist() == [
        [False, True, False], [True, False, False], [False, False, False],
    ]  # fmt: skip
