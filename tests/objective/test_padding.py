import torch

from dreamprvr.objective.padding import PADDING, is_query, mean_over_queries


def test_padding_is_no_query() -> None:
    assert is_query(torch.tensor([0, 3, PADDING])).tolist() == [True, True, False]


def test_mean_leaves_padding_out() -> None:
    values = torch.tensor([1.0, 3.0, 100.0], requires_grad=True)
    mean = mean_over_queries(values, torch.tensor([0, 1, PADDING]))
    mean.backward()
    assert mean.item() == 2
    assert values.grad is not None
    assert values.grad.tolist() == [0.5, 0.5, 0]
