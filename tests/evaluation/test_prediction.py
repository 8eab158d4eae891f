import pytest
import torch

from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.gallery import Answer
from dreamprvr.evaluation.prediction import top_hits

GENERATOR = torch.Generator().manual_seed(0)
ANSWER = Answer(
    score=torch.rand(4, 6, generator=GENERATOR),
    best={
        "clips": torch.randint(32, (4, 6), generator=GENERATOR),
        "frames": torch.randint(128, (4, 6), generator=GENERATOR),
    },
)
VIDEOS, QUERIES = torch.tensor([3, 5, 8, 9, 20, 21]), torch.tensor([7, 2, 0, 4])


@pytest.mark.parametrize("top_k", [1, 4, 6, 100])
def test_hits_equal_a_sort(top_k: int) -> None:
    hits = top_hits(ANSWER, VIDEOS, QUERIES, torch.zeros(4, 1, dtype=torch.int64), top_k)
    assert torch.equal(hits.query, QUERIES)
    for q in range(4):
        order = sorted(range(6), key=lambda v, q=q: -ANSWER.score[q, v].item())[:top_k]
        assert hits.video[q].tolist() == [VIDEOS[v].item() for v in order]
        assert hits.score[q].tolist() == [ANSWER.score[q, v].item() for v in order]
        for scale, tokens in ANSWER.best.items():
            assert hits.best[scale][q].tolist() == [tokens[q, v].item() for v in order]


def test_the_rank_is_of_the_best_true_video_among_all() -> None:
    """One plus the number of other videos that score at least as much, also beyond the hits."""
    score = torch.tensor([[0.5, 0.9, 0.5, 0.1], [0.5, 0.9, 0.5, 0.1], [1.0] * 4, [1.0] * 4])
    indices = torch.zeros(4, 4, dtype=torch.int16)
    answer = Answer(score, {"clips": indices})
    positives = torch.tensor([[3, -1], [3, 0], [2, -1], [-1, -1]])
    hits = top_hits(answer, VIDEOS[:4], QUERIES, positives, top_k=1)
    assert hits.rank.tolist() == [4, 3, 4, 0]  # 0: no true video is known
    assert hits.video.shape == (4, 1)
    none = top_hits(answer, VIDEOS[:4], QUERIES, positives[:, :0], top_k=1)
    assert none.rank.tolist() == [0] * 4


def test_scores_that_are_no_numbers_are_refused() -> None:
    score = ANSWER.score.clone()
    score[0, 3] = torch.nan
    broken = ANSWER._replace(score=score)
    with pytest.raises(UserError, match="query row 7 has NaN scores"):
        top_hits(broken, VIDEOS, QUERIES, torch.zeros(4, 1, dtype=torch.int64), 2)
