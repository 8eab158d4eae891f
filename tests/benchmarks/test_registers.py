import pytest
import torch

from benchmarks.registers import alike, told
from dreamprvr.models.layers.basic import unit


def test_cosines_within_and_between_videos() -> None:
    registers = unit(torch.randn(3, 2, 4, dtype=torch.float64))
    pairs = [(v, r) for v in range(3) for r in range(2)]
    cosines = {(a, b): float(registers[a] @ registers[b]) for a in pairs for b in pairs if a != b}
    within = [c for (a, b), c in cosines.items() if a[0] == b[0]]
    between = [c for (a, b), c in cosines.items() if a[0] != b[0]]
    found = alike(registers)
    assert found["cosine within a video"] == pytest.approx(sum(within) / len(within))
    assert found["between videos"] == pytest.approx(sum(between) / len(between))


def test_shares_of_wrong_videos_below_the_right_one() -> None:
    cosines = torch.tensor([[[0.3, 0.5], [0.1, 0.6], [0.2, 0.4]]])  # a query, three videos
    found = told(cosines, torch.tensor([[2.0, 1.0, 2.0]]), torch.tensor([0]))
    assert found["spread of a query"] == pytest.approx(0.2)
    assert found["below, largest cosine %"] == 50  # 0.4 but not 0.6
    assert found["below, mean %"] == 100  # 0.4 against 0.35 and 0.3
    assert found["below, score %"] == 75  # an equal score counts half
