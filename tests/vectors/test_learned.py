"""The network of the next word and the auto-encoders: their formulas, what they find, and that a seed is one result."""

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from regard.errors import InputError
from regard.vectors.corpus import BREAK, Corpus
from regard.vectors.counts import svd_vectors
from regard.vectors.learned import (
    AutoEncoder,
    Encoding,
    NextWord,
    NextWordOptions,
    encoded_vectors,
    next_word_vectors,
)


def test_the_sampled_loss_is_that_of_the_whole_vocabulary_when_everything_is_sampled():
    """Each other word once, and all equally frequent: then the corrections are one constant, and nothing is left to chance."""
    torch.manual_seed(0)
    model = NextWord(6, NextWordOptions(width=4, before=3, hidden=5))
    torch.nn.init.normal_(model.next.weight)
    torch.nn.init.normal_(model.bias.weight)
    before, word = torch.randint(6, (7, 3)), torch.randint(6, (7,))
    c = model.table.weight[before].flatten(1)
    scores = torch.tanh(c @ model.hidden.weight.T + model.hidden.bias) @ model.next.weight.T + model.bias.weight[:, 0]
    expected = torch.nn.functional.cross_entropy(scores, word)
    found = model.loss(before, word, torch.arange(6), torch.full((6,), 1 / 6))
    assert torch.allclose(found, expected, atol=1e-6)


def following(length: int = 6_000) -> Corpus:
    """Words 0 to 9 are followed by one of 10 to 14 if even, else by one of 15 to 19; those by any of 0 to 9."""
    draw = np.random.default_rng(0)
    first = draw.integers(10, size=length // 2)
    second = 10 + 5 * (first % 2) + draw.integers(5, size=length // 2)
    ids = np.stack([first, second], 1).reshape(-1).astype(np.int32)
    return Corpus(tuple(f"w{n}" for n in range(20)), np.bincount(ids, minlength=20), ids)


def test_words_with_like_followers_come_to_like_vectors():
    losses: list[float] = []
    options = NextWordOptions(width=8, before=1, hidden=16, negatives=50, epochs=8, batch=200, rate=5e-2)
    table = next_word_vectors(following(), options, lambda epoch, loss: losses.append(loss))
    assert losses[-1] < losses[0]
    unit = table[:10] / np.linalg.norm(table[:10], axis=1, keepdims=True)
    cosines, even = unit @ unit.T, np.arange(10) % 2
    same = even[:, None] == even
    assert cosines[same].mean() - cosines[~same].mean() > 0.5
    assert (next_word_vectors(following(), options) == table).all()


def test_a_text_shorter_than_the_words_before_is_refused():
    short = Corpus(("a", "b"), np.array([2, 2]), np.array([0, 1, BREAK, 0, 1, BREAK], np.int32))
    with pytest.raises(InputError, match="no text has 5 words"):
        next_word_vectors(short, NextWordOptions(before=4))


def low_rank(rows: int = 300, columns: int = 40, rank: int = 3) -> np.ndarray:
    draw = np.random.default_rng(0)
    return draw.normal(size=(rows, rank)) @ draw.normal(size=(rank, columns))


def test_a_linear_auto_encoder_finds_the_subspace_of_the_svd():
    """Baldi and Hornik 1989: at its minimum the bottleneck spans the same space as the first singular vectors."""
    matrix = low_rank() + 0.1 * np.random.default_rng(1).normal(size=(300, 40))
    found = encoded_vectors(csr_matrix(matrix), Encoding(width=3, epochs=200, rate=1e-2))
    left = svd_vectors(matrix, 3)[0]
    project = [q @ q.T for q in (np.linalg.qr(x)[0] for x in (found - found.mean(0), left - left.mean(0)))]
    assert np.abs(project[0] - project[1]).max() < 0.05


def test_the_loss_of_the_variational_one_is_the_formula():
    torch.manual_seed(0)
    model = AutoEncoder(6, Encoding("variational", width=2, weight=0.3))
    rows, noise = torch.randn(4, 6), torch.randn(4, 2)
    mean, log = model.encode(rows).chunk(2, 1)
    given = model.decode(mean + torch.exp(log / 2) * noise)
    normal = torch.distributions.Normal(mean, torch.exp(log / 2))
    divergence = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).sum(1)
    expected = ((given - rows) ** 2).sum(1) + 0.3 * divergence
    assert torch.allclose(model.loss(rows, noise), expected.mean(), atol=1e-5)
    assert torch.equal(model.vectors(rows), mean)


@pytest.mark.parametrize("options", [Encoding(width=3, epochs=30), Encoding("variational", 3, 16, 1e-3, epochs=30)])
def test_auto_encoders_learn_and_a_seed_is_one_result(options):
    losses: list[float] = []
    matrix = csr_matrix(low_rank())
    found = encoded_vectors(matrix, options, lambda epoch, loss: losses.append(loss))
    assert found.shape == (300, 3)
    assert losses[-1] < 0.8 * losses[0]
    assert (encoded_vectors(matrix, options) == found).all()
    # The unit of the counts does not matter.
    assert np.allclose(encoded_vectors(matrix * 1000, options), found, atol=1e-3)


def test_options_out_of_range_are_one_sentence():
    for bad in ({"width": 0}, {"epochs": 0}, {"hidden": -1}):
        with pytest.raises(InputError, match=f"vectors.{next(iter(bad))} is"):
            Encoding(**bad)
    with pytest.raises(InputError, match="before is 0"):
        NextWordOptions(before=0)
