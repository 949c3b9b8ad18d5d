"""Skip-gram and CBOW: the kernels against autograd of the written formula, what is drawn, and what is learned."""

import numpy as np
import pytest
import torch

from regard.errors import InputError
from regard.kernels.records import record
from regard.vectors import kernels
from regard.vectors.corpus import BREAK, Corpus
from regard.vectors.predict import Prediction, alias_table, train

MASK = (1 << 64) - 1


class Draws:
    """SplitMix64 written again, in whole numbers of Python."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def bits(self) -> int:
        self.state = (self.state + 0x9E3779B97F4A7C15) & MASK
        z = self.state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def below(self, size: int) -> tuple[int, float]:
        bits = self.bits()
        return ((bits >> 32) * size) >> 32, (bits & 0xFFFFFF) / 2**24


def by_autograd(model, ids, keep, window, wanted, share, alias, rate, seed, v, u):
    """The pass over the text, pair by pair, with the gradient of the formula in `Prediction`, in float64."""
    draws = Draws(seed)
    v, u = torch.tensor(v, dtype=torch.float64), torch.tensor(u, dtype=torch.float64)

    def step(word, contexts):
        drawn = []
        for _ in range(wanted):
            n, unit = draws.below(len(share))
            drawn.append(n if unit < share[n] else int(alias[n]))
        negatives = [n for n in drawn if n != word]
        assert len(set(negatives)) == len(negatives), (
            "the kernel takes a negative that is drawn twice in turn: choose another seed"
        )
        leaves = v.clone().requires_grad_(), u.clone().requires_grad_()
        h = leaves[0][contexts].mean(0)
        loss = -torch.nn.functional.logsigmoid(leaves[1][word] @ h)
        loss = loss - torch.nn.functional.logsigmoid(-leaves[1][negatives] @ h).sum()
        for x, gradient in zip((v, u), torch.autograd.grad(loss, leaves), strict=True):
            x -= rate * gradient

    texts, text = [], []
    for word in [*ids, BREAK]:
        if word == BREAK:
            texts.append(text)
            text = []
        else:
            text.append(int(word))
    for text in texts:
        kept = [word for word in text if keep[word] >= 1 or draws.below(1)[1] < keep[word]]
        for i, word in enumerate(kept):
            reach = 1 + draws.below(window)[0]
            around = [j for j in range(max(0, i - reach), min(len(kept), i + reach + 1)) if j != i]
            if model == "cbow":
                if around:
                    step(word, [kept[j] for j in around])
            else:
                for j in around:
                    step(word, [kept[j]])
    return v.numpy(), u.numpy()


@pytest.mark.parametrize(("model", "seed"), [("skip-gram", 1), ("cbow", 1)])
def test_a_pass_follows_the_gradient_of_the_formula(model, seed):
    words, width = 4_000, 32
    draw = np.random.default_rng(0)
    # No word is there twice in a text, so that the windows of CBOW hold distinct words.
    ids = np.concatenate(
        [draw.permutation(words)[:14], [BREAK], [7], [BREAK], draw.permutation(words)[:9], [BREAK]]
    ).astype(np.int32)
    keep = np.where(np.arange(words) % 3 == 0, 0.5, 1.0).astype(np.float32)
    share, alias = alias_table(draw.random(words))
    v, u = draw.normal(size=(2, words, width)).astype(np.float32) / 4
    expected = by_autograd(model, ids, keep, 3, 4, share, alias, 0.1, seed, v, u)
    kernel = kernels.skip_gram if model == "skip-gram" else kernels.cbow
    sums = record(kernels.Sums(0, 0, 0))
    found = v.reshape(-1).copy(), u.reshape(-1).copy()
    kernel(0, len(ids), ids, keep, 3, 4, share, alias, np.float32(0.1), np.uint64(seed), *found, width, sums)
    for got, wanted, begin in zip(found, expected, (v, u), strict=True):
        assert np.abs(got.reshape(words, width) - wanted).max() < 2e-6
        assert np.abs(wanted - begin).max() > 0.01
    assert 15 <= sums["words"] < 24


def test_a_duplicate_in_the_window_of_cbow_gets_its_part_twice():
    ids = np.array([0, 1, 0], np.int32)
    v, u = np.eye(16, dtype=np.float32)[:2], np.full((2, 16), 0.5, np.float32)
    found = v.reshape(-1).copy(), u.reshape(-1).copy()
    ones = np.ones(2, np.float32)
    # Without negatives, and the other words without a window: the first and the last are predicted from word 1.
    kernels.cbow(
        1, 2, ids, ones, 1, 0, ones, np.arange(2, dtype=np.int32), np.float32(1), np.uint64(0), *found, 16,
        record(kernels.Sums(0, 0, 0)),
    )  # fmt: skip
    assert (found[0] == v.reshape(-1)).all()  # A stretch of one word predicts nothing.


def test_negatives_are_drawn_by_their_weights():
    weights = np.array([1.0, 5.0, 0.0, 2.0, 92.0])
    share, alias = alias_table(weights)
    exact = share / len(share)
    np.add.at(exact, alias, (1 - share) / len(share))
    assert np.allclose(exact, weights / weights.sum())


def clustered(length: int = 60_000, seed: int = 0) -> Corpus:
    """A text of 40 words in 4 topics; a run of 20 words keeps to one topic."""
    draw = np.random.default_rng(seed)
    topics = draw.integers(4, size=length // 20).repeat(20)
    ids = (topics * 10 + draw.integers(10, size=len(topics))).astype(np.int32)
    return Corpus(tuple(f"w{n}" for n in range(40)), np.bincount(ids, minlength=40), ids)


def together(inputs: np.ndarray) -> float:
    """Mean cosine within topics less that between topics."""
    unit = inputs / np.linalg.norm(inputs, axis=1, keepdims=True)
    cosines, topic = unit @ unit.T, np.arange(40) // 10
    same = topic[:, None] == topic
    return float(cosines[same].mean() - cosines[~same].mean())


@pytest.mark.parametrize("model", ["skip-gram", "cbow"])
def test_words_of_a_topic_come_together_and_the_loss_falls(model):
    options = Prediction(model=model, width=20, sample=0, epochs=3)
    trained = train(clustered(), options)
    losses = [each.loss for each in trained.epochs]
    assert losses[-1] < losses[0]
    assert losses[0] < 6 * np.log(2)
    assert together(trained.inputs) > 0.5
    assert trained.inputs.shape == trained.outputs.shape == (40, 20)


def test_one_thread_and_a_seed_are_one_result():
    corpus, options = clustered(20_000), Prediction(width=10, epochs=2)
    first, again = train(corpus, options), train(corpus, options)
    assert (first.inputs == again.inputs).all()
    assert (first.outputs == again.outputs).all()
    other = train(corpus, Prediction(width=10, epochs=2, seed=1))
    assert (first.inputs != other.inputs).any()


def test_threads_draw_the_same_and_learn_as_much():
    corpus, options = clustered(), Prediction(width=20, sample=1e-2, epochs=3)
    one, two = train(corpus, options), train(corpus, options, threads=2)
    assert [each.kept for each in one.epochs] == [each.kept for each in two.epochs]
    assert 0 < one.epochs[0].kept < corpus.length
    # How much one thread overwrites of another's depends on when they run.
    assert together(two.inputs) > 0.5 * together(one.inputs) > 0


def test_options_out_of_range_are_one_sentence():
    for name, value in {"width": 0, "window": 0, "epochs": 0, "negatives": -1, "rate": 0.0, "model": "glove"}.items():
        with pytest.raises(InputError, match=f"vectors.{name} is"):
            Prediction(**{name: value})
    with pytest.raises(InputError, match="the one word 'w0', expected at least 2"):
        train(Corpus(("w0",), np.array([9]), np.zeros(9, np.int32)), Prediction())
    with pytest.raises(InputError, match="threads is 0"):
        train(clustered(100), Prediction(), threads=0)


def test_the_loss_is_finite_where_scores_are_large_and_a_rate_that_is_too_high_is_said():
    v, u = np.full((2, 2, 16), 30, np.float32)
    sums = record(kernels.Sums(0, 0, 0))
    ids, ones, alias = np.array([0, 1], np.int32), np.ones(2, np.float32), np.arange(2, dtype=np.int32)
    zero, flat = np.float32(0), (v.reshape(-1), u.reshape(-1))
    kernels.skip_gram(0, 2, ids, ones, 1, 9, ones, alias, zero, np.uint64(0), *flat, 16, sums)
    # Scores of 14,400: the right word costs nothing, and each drawn one its score. The first word's loss is measured.
    assert sums["losses"] == 1
    assert sums["loss"] / 14_400 in range(1, 10)
    with pytest.raises(InputError, match=r"vectors.rate is 9.9, too high: after epoch 1"):
        train(clustered(40_000), Prediction(model="cbow", rate=9.9, width=100))
