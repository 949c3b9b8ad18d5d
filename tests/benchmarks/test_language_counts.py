"""What language models are compared with: counts of n-grams, against the same sums written out."""

import math
from collections import Counter, defaultdict

import numpy as np
import pytest

from benchmarks.language import by_neighbors, gaps, nats
from regard.data.examples import IGNORE
from regard.data.masking import MASK
from regard.data.passages import Passages


def written_out(train, ids, order, size):
    """Witten and Bell's interpolation, one id after the other."""
    counts = [defaultdict(Counter) for _ in range(order + 1)]
    for n in range(order + 1):
        for at in range(n, len(train)):
            counts[n][tuple(train[at - n : at])][train[at]] += 1

    def probability(context, token):
        if context is None:
            return 1 / size
        shorter = probability(context[1:] if context else None, token)
        seen = counts[len(context)][tuple(context)]
        if not seen:
            return shorter
        return (seen[token] + len(seen) * shorter) / (seen.total() + len(seen))

    found = [probability(ids[max(0, at - order) : at], ids[at]) for at in range(1, len(ids))]
    return -sum(map(math.log, found)) / len(found)


@pytest.mark.parametrize("order", [0, 1, 2, 4])
def test_interpolated_counts_are_those_written_out(order):
    rng = np.random.default_rng(0)
    train, ids = rng.integers(0, 4, 60), rng.integers(0, 5, 30)
    found = nats(train, ids, order, 5)
    assert found == pytest.approx(written_out(train.tolist(), ids.tolist(), order, 5), abs=1e-12)


def test_probabilities_add_up_to_one():
    train = np.random.default_rng(1).integers(0, 3, 40)
    each = [
        math.exp(-2 * nats(train, np.array([0, 1, w]), 2, 3) + nats(train, np.array([0, 1]), 2, 3)) for w in range(3)
    ]
    assert sum(each) == pytest.approx(1)


def test_neighbors_say_what_most_often_stood_between_them_and_else_what_followed_the_one_before():
    train = [np.array([1, 5, 2, 1, 5, 2, 1, 6, 2]), np.array([1, 6, 3, 6, 6, 6])]
    found = by_neighbors(train, np.array([1, 9, 2, 9, 1, 9, 9, 4]))
    assert found["most frequent"][0] == 6
    assert found["after the one before"][1] in (5, 6)
    assert found["between both neighbors"][1] == 5
    assert found["between both neighbors"][5] == found["after the one before"][5]
    assert found["after the one before"][7] == found["most frequent"][7]


def test_no_neighbor_stands_in_another_passage():
    found = by_neighbors([np.array([7, 1]), np.array([2, 8])], np.array([7, 9, 8]))
    assert found["between both neighbors"][1] == found["after the one before"][1] == 1


def test_each_hidden_token_is_a_gap(tmp_path):
    (tmp_path / "text.txt").write_text("\n\n".join(f"one{n % 7} two{n % 5} three four" * 9 for n in range(40)))
    reader = Passages(str(tmp_path / "text.txt"), tokens="words")
    encoding = reader.fit()
    mask = next(iter(encoding.columns.values())).index(MASK)
    found = list(gaps(reader, encoding))
    assert found
    for example in found:
        assert ((example.values == mask) == (example.target != IGNORE)).all()
        assert (example.target != mask).all()
