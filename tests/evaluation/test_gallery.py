import pytest
import torch
from models.tiny import TEXT_DIM, VIDEO_DIM, batch, network, single, stir
from torch import Tensor

from dreamprvr.core.batch import Videos
from dreamprvr.evaluation.gallery import BYTES_PER_PAIR, Gallery
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
