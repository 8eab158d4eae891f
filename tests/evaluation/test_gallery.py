import pytest
import torch
from models.tiny import TEXT_DIM, VIDEO_DIM, batch, network, single, stir
from torch import Tensor

from dreamprvr.core.batch import Queries, Videos
from dreamprvr.core.errors import UserError
from dreamprvr.evaluation.gallery import BYTES_PER_PAIR, Answer, Gallery, QueryHits
from dreamprvr.evaluation.gallery import top_hits as best_of
from dreamprvr.models.encoded import EncodedQueries, EncodedVideos
from dreamprvr.models.layers.basic import unit
from dreamprvr.models.ms_sl import MSSL, MSSLConfig
from dreamprvr.models.scoring import unit_tokens

MODEL = network().requires_grad_(False)
DATA = batch(captions=(1, 2, 1, 3, 1), frames=(8, 3, 1, 5, 8))


def part(rows: list[int]) -> Videos:
    """Videos of the batch under rows 10, 11, ..."""
    videos = Videos(*(tensor[rows] for tensor in DATA.videos))
    return videos._replace(row=videos.row + 10)


def gallery(*parts: list[int]) -> Gallery:
    result = Gallery(MODEL)
    for rows in parts:
        result.add(part(rows))
    return result


def test_scores_are_those_of_the_network() -> None:
    answer = gallery([0, 1, 2, 3, 4]).ask(DATA.queries)
    expected = MODEL(*DATA.queries[1:3], *DATA.videos[1:])
    torch.testing.assert_close(answer.score, expected, rtol=0, atol=1e-12)
    scales = unit_tokens(MODEL.encode_videos(*DATA.videos[1:])).scales
    query = unit(MODEL.encode_queries(*DATA.queries[1:3]).embedding)
    for q in range(8):
        for v in range(5):
            clips = (scales["clips"].tokens[v] @ query[q]).tolist()
            frames = (scales["frames"].tokens[v] @ query[q]).tolist()
            assert answer.best["clips"][q, v] == clips.index(max(clips))
            assert frames[answer.best["frames"][q, v]] == pytest.approx(max(frames))


@pytest.mark.parametrize(
    "parts",
    [
        ([0, 1], [2, 3], [4]),
        ([0], [1], [2], [3], [4]),
        ([4, 2, 0], [3, 1]),  # in another order
        ([0, 1, 2], [2, 3, 4]),  # one of them twice
        ([0, 0, 1, 1], [4, 3, 2, 1, 0]),
    ],
)
def test_chunks_equal_one_batch(parts: tuple[list[int], ...]) -> None:
    whole, pieces = gallery([0, 1, 2, 3, 4]), gallery(*parts)
    assert pieces.rows.tolist() == [10, 11, 12, 13, 14]
    ours, expected = pieces.ask(DATA.queries), whole.ask(DATA.queries)
    torch.testing.assert_close(ours.score, expected.score, rtol=0, atol=1e-12)
    assert torch.equal(ours.best["clips"], expected.best["clips"])


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_keeps_tokens_only(dtype: str) -> None:
    model = single(network().requires_grad_(False))
    exact, half = Gallery(model), Gallery(model, dtype)
    for kept in (exact, half):
        kept.add(single(part([0, 1, 2, 3, 4])))
    queries = single(DATA.queries)
    found = half.scores(queries)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, exact.scores(queries), rtol=0, atol=1e-2)
    assert not torch.equal(found, exact.scores(queries))


@pytest.mark.parametrize("memory", [1, 2 * 2 * BYTES_PER_PAIR * 5, 1e9])
def test_blocks_hold_every_query_once_in_little_memory(memory: float) -> None:
    asked = gallery([0, 1], [2, 3, 4])
    whole = asked.scores(DATA.queries)
    asked.memory = memory
    blocks = list(asked.blocks(DATA.queries))
    assert [len(block.row) for block in blocks] == {1: [1] * 8, 1e9: [8]}.get(memory, [2] * 4)
    found = torch.cat([asked.scores(block) for block in blocks])
    torch.testing.assert_close(found, whole, rtol=0, atol=1e-12)


def test_padding_scores_zero_or_is_ignored() -> None:
    model = network(padded_frames="ignore").requires_grad_(False)
    asked = Gallery(model)
    asked.add(part([0, 1, 2, 3, 4]))
    expected = model(*DATA.queries[1:3], *DATA.videos[1:])
    torch.testing.assert_close(asked.scores(DATA.queries), expected, rtol=0, atol=1e-12)
    assert (asked.ask(DATA.queries).best["frames"] < torch.tensor([8, 3, 1, 5, 8])).all()


def test_true_videos_are_found_by_their_rows() -> None:
    positives = torch.tensor([[12, -1], [14, 10], [-1, 11]])
    found = gallery([3, 1], [0, 2, 4]).positions(positives)
    assert found.tolist() == [[2, -1], [4, 0], [-1, 1]]


def test_incomplete_gallery_has_no_position_for_what_it_lacks() -> None:
    positives = torch.tensor([[10, -1], [11, 13], [14, 99], [0, 11], [-1, -1]])
    found = gallery([1], [3]).positions(positives)  # rows 11 and 13
    assert found.tolist() == [[-1, -1], [0, 1], [-1, -1], [-1, 0], [-1, -1]]


def test_a_query_alone_scores_as_among_others() -> None:
    asked, queries = gallery([0, 1, 2, 3, 4]), DATA.queries
    whole = asked.ask(queries).score
    one = asked.ask(type(queries)(*(tensor[5:6] for tensor in queries))).score
    torch.testing.assert_close(one, whole[5:6], rtol=0, atol=1e-12)


# A model whose score is more than a sum of maxima


def ms_sl(rescored: int | None) -> tuple[Gallery, Tensor]:
    """Fill a gallery of MS-SL; give it with the scores that the model gives itself."""
    torch.manual_seed(0)
    config = MSSLConfig(hidden_size=16, num_heads=2, num_clips=4, max_frames=8, max_words=5)
    model = MSSL(VIDEO_DIM, TEXT_DIM, config).double().eval().requires_grad_(False)
    stir(model)
    asked = Gallery(model, rescored=rescored)
    for rows in ([4, 0], [1, 2, 3]):
        asked.add(part(rows))
    return asked, model(*DATA.queries[1:3], *DATA.videos[1:])


@pytest.mark.parametrize("rescored", [None, 5, 100])
def test_all_videos_are_rescored(rescored: int | None) -> None:
    asked, expected = ms_sl(rescored)
    torch.testing.assert_close(asked.scores(DATA.queries), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rescored", [1, 2, 4])
def test_the_first_candidates_alone_are_rescored(
    rescored: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, expected = ms_sl(rescored)
    pairs = 0
    rescore = MSSL.rescore

    def counted(model: MSSL, queries: EncodedQueries, videos: EncodedVideos, s: Tensor) -> Tensor:
        nonlocal pairs
        pairs += s.numel()
        return rescore(model, queries, videos, s)

    with monkeypatch.context() as patch:  # without the frames: the sums of maxima
        patch.setattr(MSSL, "rescore", lambda model, queries, videos, scores: scores)
        sums = ms_sl(None)[0].scores(DATA.queries)
    monkeypatch.setattr(MSSL, "rescore", counted)
    scores = asked.scores(DATA.queries)
    assert pairs == rescored * len(scores)
    for q, row in enumerate(scores):
        order = sums[q].argsort(descending=True)
        first, others = order[:rescored], order[rescored:]
        torch.testing.assert_close(row[first], expected[q, first], rtol=0, atol=1e-12)
        assert row[others].max() < row[first].min()
        assert row[others].argsort(descending=True).tolist() == list(range(len(others)))


# The best videos of each query

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
