from itertools import permutations
from pathlib import Path

import pytest
import torch
from models.published_models import Golden
from shared import needs_reference

from dreamprvr.models.encoded import PADDED
from dreamprvr.models.gmmformer_v2 import GMMFormerV2, GMMFormerV2Config, ObjectiveConfig
from dreamprvr.models.losses.matching import optimal_matching
from dreamprvr.models.testing import ModelContract


class TestContract(ModelContract):
    model = GMMFormerV2
    small = {"hidden_size": 16, "num_heads": 2, "gaussian_widths": (0.5, 5.0)}


def golden() -> Golden:
    network = GMMFormerV2Config(hidden_size=32, num_heads=4, dropout=0.0, input_dropout=0.0)
    return Golden("gmmformer_v2", GMMFormerV2, network, ObjectiveConfig(hard_pool=1))


@needs_reference
def test_golden_inference() -> None:
    golden().check_inference()


@needs_reference
def test_golden_losses_gradients_and_weights_of_four_steps() -> None:
    golden().check_training()


@needs_reference
def test_golden_checkpoint(tmp_path: Path) -> None:
    golden().check_import(tmp_path)


@pytest.mark.parametrize(("dims", "millions"), [((1024, 1024), 30.79), ((3072, 768), 32.27)])
def test_published_parameter_counts(dims: tuple[int, int], millions: float) -> None:
    with torch.device("meta"):
        model = GMMFormerV2(*dims)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


# Optimal matching

QUERY = torch.nn.functional.normalize(
    torch.randn(6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=-1
)
CLIPS = torch.nn.functional.normalize(
    torch.randn(3, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)), dim=-1
)
LABELS = torch.tensor([0, 0, 0, 1, 2, 2])


def test_matching_equals_the_best_of_all_assignments() -> None:
    pairs = []
    for video, own in ((0, [0, 1, 2]), (2, [4, 5])):
        best = max(
            ([float(QUERY[q] @ CLIPS[video, c]) for q, c in zip(own, clips, strict=True)]
             for clips in permutations(range(5), len(own))),
            key=sum,
        )  # fmt: skip
        pairs += best
    expected = 1 - sum(pairs) / 5
    assert optimal_matching(QUERY, CLIPS, LABELS).item() == pytest.approx(expected, rel=1e-12)


def test_matching_without_pairs_is_zero_and_padding_takes_no_part() -> None:
    assert optimal_matching(QUERY[:3], CLIPS, torch.tensor([0, 1, 2])).item() == 0
    padded = torch.cat([QUERY, QUERY[:1]])
    labels = torch.cat([LABELS, torch.tensor([PADDED])])
    found = optimal_matching(padded, CLIPS, labels)
    assert found.item() == optimal_matching(QUERY, CLIPS, LABELS).item()
