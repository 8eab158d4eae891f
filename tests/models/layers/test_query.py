import torch
from models.tiny import batch, frozen, network

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
