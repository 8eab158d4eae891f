import pytest
import torch
from torch import Tensor

from dreamprvr.core.batch import Queries
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.gallery import Answer, Gallery
from dreamprvr.evaluation.prediction import QueryHits
from dreamprvr.evaluation.prediction import top_hits as best_of
from dreamprvr.models.encoded import EncodedQueries

GENERATOR = torch.Generator().manual_seed(0)
NOTHING = EncodedQueries(torch.empty(0), {}, {})
ANSWER = Answer(
    queries=NOTHING,
    score=torch.rand(4, 6, generator=GENERATOR),
    best={
        "clips": torch.randint(32, (4, 6), generator=GENERATOR),
        "frames": torch.randint(128, (4, 6), generator=GENERATOR),
    },
)
VIDEOS, QUERIES = torch.tensor([3, 5, 8, 9, 20, 21]), torch.tensor([7, 2, 0, 4])


class Fixed(Gallery):
    """A gallery whose answer is given."""

    def __init__(self, answer: Answer, videos: Tensor, positives: Tensor) -> None:
        self.answer, self.videos, self.known = answer, videos, positives

    @property
    def rows(self) -> Tensor:
        return self.videos

    def ask(self, queries: Queries) -> Answer:
        return self.answer

    def positions(self, positives: Tensor) -> Tensor:
        return self.known

    def frame_scores(self, queries: EncodedQueries, videos: Tensor) -> Tensor:
        return videos[..., None] + torch.zeros(3)


def top_hits(
    answer: Answer, videos: Tensor, queries: Tensor, positives: Tensor, top_k: int
) -> QueryHits:
    nothing = torch.empty(0)
    asked = Queries(queries, nothing, nothing, positives)
    return best_of(Fixed(answer, videos, positives), asked, top_k)


@pytest.mark.parametrize("top_k", [1, 4, 6, 100])
def test_hits_equal_a_sort(top_k: int) -> None:
    hits = top_hits(ANSWER, VIDEOS, QUERIES, torch.zeros(4, 1, dtype=torch.int64), top_k)
    assert torch.equal(hits.query, QUERIES)
    for q in range(4):
        order = sorted(range(6), key=lambda v, q=q: -ANSWER.score[q, v].item())[:top_k]
        assert hits.video[q].tolist() == [VIDEOS[v].item() for v in order]
        assert hits.score[q].tolist() == [ANSWER.score[q, v].item() for v in order]
        assert hits.over_time[q, :, 0].tolist() == hits.video[q].tolist()
        for scale, tokens in ANSWER.best.items():
            assert hits.best[scale][q].tolist() == [tokens[q, v].item() for v in order]


def test_the_rank_is_of_the_best_true_video_among_all() -> None:
    """One plus the number of other videos that score at least as much, also beyond the hits."""
    score = torch.tensor([[0.5, 0.9, 0.5, 0.1], [0.5, 0.9, 0.5, 0.1], [1.0] * 4, [1.0] * 4])
    indices = torch.zeros(4, 4, dtype=torch.int16)
    answer = Answer(score, {"clips": indices}, NOTHING)
    positives = torch.tensor([[3, -1], [3, 0], [2, -1], [-1, -1]])
    hits = top_hits(answer, VIDEOS[:4], QUERIES, positives, top_k=1)
    assert hits.rank.tolist() == [4, 3, 4, 0]  # 0: no true video is known
    assert hits.ranks.tolist() == [[4, 0], [4, 3], [4, 0], [0, 0]]
    assert hits.video.shape == (4, 1)
    none = top_hits(answer, VIDEOS[:4], QUERIES, positives[:, :0], top_k=1)
    assert none.rank.tolist() == [0] * 4


def test_scores_that_are_no_numbers_are_refused() -> None:
    score = ANSWER.score.clone()
    score[0, 3] = torch.nan
    broken = ANSWER._replace(score=score)
    with pytest.raises(UserError, match="query row 7 has NaN scores"):
        top_hits(broken, VIDEOS, QUERIES, torch.zeros(4, 1, dtype=torch.int64), 2)
