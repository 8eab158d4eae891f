import torch
from models.tiny import CONFIG, TEXT_DIM, batch, frozen, network
from torch import Tensor

from dreamprvr.models.encoded import QueryRows
from dreamprvr.models.layers.query import WordQueries
from dreamprvr.models.registry import class_path

ENCODER = frozen(network().query_encoder)
QUERIES = batch(words=(5, 1, 3, 2, 4, 5)).queries


def test_pooling_weighs_the_words_of_each_caption() -> None:
    x = ENCODER.block(ENCODER.position(ENCODER.projection(QUERIES.words)), mask=QUERIES.word_mask)
    found = ENCODER(QUERIES.words, QUERIES.word_mask)
    for q, length in enumerate((5, 1, 3, 2, 4, 5)):
        score = [float(ENCODER.pooling.weight[0] @ x[q, word]) for word in range(length)]
        powers = torch.tensor(score, dtype=torch.float64).exp()
        expected = sum(power * x[q, word] for word, power in enumerate(powers)) / powers.sum()
        torch.testing.assert_close(found[q], expected, rtol=0, atol=1e-12)


def test_each_caption_alone_and_cut_to_its_words() -> None:
    found = ENCODER(QUERIES.words, QUERIES.word_mask)
    for q, length in enumerate((5, 1, 3, 2, 4, 5)):
        alone = ENCODER(QUERIES.words[q : q + 1, :length], torch.ones(1, length))
        torch.testing.assert_close(alone[0], found[q], rtol=0, atol=1e-12)


def test_padded_words_may_hold_anything() -> None:
    noise = torch.randn_like(QUERIES.words)  # a constant would vanish in a layer normalisation
    garbage = QUERIES.words + 100 * noise * (1 - QUERIES.word_mask[..., None])
    torch.testing.assert_close(
        ENCODER(garbage, QUERIES.word_mask),
        ENCODER(QUERIES.words, QUERIES.word_mask),
        rtol=0,
        atol=1e-12,
    )


def test_order_of_words_matters() -> None:
    turned = ENCODER(QUERIES.words.flip(1)[:1], torch.ones(1, 5))
    assert not torch.allclose(turned, ENCODER(QUERIES.words[:1], torch.ones(1, 5)))


# A row for each word

WORDS = frozen(WordQueries(TEXT_DIM, CONFIG))
LENGTHS = (5, 1, 3, 2, 4, 5)


def test_words_are_weighed_by_their_direction_and_for_products_by_themselves() -> None:
    rows = WORDS(QUERIES.words, QUERIES.word_mask, ENCODER.position)
    assert rows.product_weights is not None
    first, _, second = WORDS.weight
    for q, length in enumerate(LENGTHS):
        x = WORDS.block(ENCODER.position(WORDS.projection(QUERIES.words[q : q + 1, :length])))[0]
        torch.testing.assert_close(rows.vectors[q, :length], x, rtol=0, atol=1e-12)
        lengths = x.square().sum(dim=1, keepdim=True).sqrt()
        for weights, words in ((rows.weights, x / lengths), (rows.product_weights, x)):
            hidden = (words @ first.weight.T + first.bias).clamp(min=0)
            powers = (hidden @ second.weight[0] + second.bias).exp()
            expected = torch.zeros(5, dtype=torch.float64)
            expected[:length] = powers / powers.sum()
            torch.testing.assert_close(weights[q], expected, rtol=0, atol=1e-12)
    assert (rows.weights - rows.product_weights).abs().max() > 1e-3


def test_only_the_positions_are_those_of_the_first_encoder() -> None:
    """The second encoder adds a projection, a block and the weights, and no table of positions."""
    plain, more = network(), network(frame_query_encoder=class_path(WordQueries))
    names = {name for name, _ in more.named_parameters()} - {n for n, _ in plain.named_parameters()}
    assert {name.split(".")[1] for name in names} == {"projection", "block", "weight"}
    assert {name.split(".")[0] for name in names} == {"frame_query_encoder"}


def test_padding_and_word_order_count_as_in_the_query_branch() -> None:
    def rows(words: Tensor, mask: Tensor) -> QueryRows:
        found: QueryRows = WORDS(words, mask, ENCODER.position)
        return found

    plain = rows(QUERIES.words, QUERIES.word_mask)
    garbage = QUERIES.words + 100 * torch.randn_like(QUERIES.words) * (
        1 - QUERIES.word_mask[..., None]
    )
    changed = rows(garbage, QUERIES.word_mask)
    valid = QUERIES.word_mask[..., None].bool()
    torch.testing.assert_close(changed.weights, plain.weights, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        changed.vectors.where(valid, 0), plain.vectors.where(valid, 0), rtol=0, atol=1e-12
    )
    turned = rows(QUERIES.words[:1].flip(1), torch.ones(1, 5))
    assert not torch.allclose(turned.vectors.flip(1), plain.vectors[:1])
