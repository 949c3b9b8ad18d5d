"""Trees of operations: how they are distributed, written, read back and computed."""

from collections import Counter
from itertools import islice, pairwise
from statistics import fmean

import pytest

from regard.data.arena.listops import OPERATIONS, SYMBOLS, draw_trees, evaluate, symbols_of, with_parentheses
from regard.errors import InputError

MANY = 4000


@pytest.fixture(scope="module")
def trees():
    return list(islice(draw_trees(0), MANY))


def test_lengths_and_values_are_those_of_the_published_rules(trees):
    """16,001 trees of the published generator: mean 1,039, a tenth below 577, a tenth above 1,654, 17.2 % have the value 0."""
    lengths = sorted(len(tree.symbols) for tree in trees)
    assert lengths[0] > 500
    assert lengths[-1] < 2000
    assert fmean(lengths) == pytest.approx(1039, abs=25)
    assert lengths[MANY // 10] == pytest.approx(577, abs=15)
    assert lengths[-MANY // 10] == pytest.approx(1654, abs=35)
    shares = {value: count / MANY for value, count in Counter(tree.value for tree in trees).items()}
    assert shares[0] == pytest.approx(0.172, abs=0.02)
    assert shares[9] == pytest.approx(0.168, abs=0.02)
    assert all(0.055 < shares[value] < 0.11 for value in range(1, 9))


def test_depth_arguments_and_operations(trees):
    """Nine operations within one another, as the tenth node must be a digit; two to ten arguments, all alike."""
    counts, operations = Counter(), Counter()
    for tree in trees[:500]:
        opened, deepest = [], 0
        for symbol in tree.symbols:
            if symbol == "]":
                counts[opened.pop()] += 1
            if symbol in OPERATIONS:
                operations[symbol] += 1
            elif opened:
                opened[-1] += 1
            if symbol in OPERATIONS:
                opened.append(0)
                deepest = max(deepest, len(opened))
        assert deepest <= 9
        assert opened == []
    assert set(operations) == set(OPERATIONS)
    assert max(operations.values()) / min(operations.values()) < 1.1


def test_every_argument_counts_once():
    counts = Counter()
    for tree in islice(draw_trees(1), 300):
        stack = []
        for symbol in tree.symbols:
            if symbol == "]":
                counts[stack.pop()] += 1
                if stack:
                    stack[-1] += 1
            elif symbol in OPERATIONS:
                stack.append(0)
            else:
                stack[-1] += 1
    assert set(counts) == set(range(2, 11))
    # Long trees alone are kept, so that operations of many arguments are a little more frequent.
    assert all(low < 1.25 * high for low, high in pairwise(counts[n] for n in range(2, 11)))


def test_the_seed_decides_and_no_tree_comes_twice(trees):
    assert list(islice(draw_trees(0), 50)) == trees[:50]
    assert list(islice(draw_trees(1), 50)) != trees[:50]
    assert len({tree.symbols for tree in trees}) == MANY


def test_what_is_written_means_the_same(trees):
    for tree in trees[:200]:
        text = with_parentheses(tree.symbols)
        assert symbols_of(text) == list(tree.symbols)
        assert evaluate(text, "it") == evaluate(" ".join(tree.symbols), "it") == tree.value


def nested(text):
    """The tree of the published text as nested pairs, computed as the published generator does."""
    words = text.split()

    def read(at):
        if words[at] != "(":
            return words[at], at + 1
        left, at = read(at + 1)
        right, at = read(at)
        assert words[at] == ")"
        return (left, right), at + 1

    def value(tree):
        if isinstance(tree, str):
            return int(tree) if tree.isdigit() else tree
        left, right = value(tree[0]), value(tree[1])
        if isinstance(left, str):
            return (left, [right])
        if right != "]":
            return (left[0], [*left[1], right])
        import numpy as np

        known = {"[MIN": min, "[MAX": max, "[MED": lambda x: int(np.median(x)), "[SM": lambda x: int(np.sum(x)) % 10}
        return known[left[0]](left[1])

    return value(read(0)[0])


def test_values_are_those_of_the_published_evaluation(trees):
    for tree in trees[:300]:
        assert nested(with_parentheses(tree.symbols)) == tree.value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "it is empty, expected a tree"),
        ("( )", "it is empty, expected a tree"),
        ("[MAX 1 2", r"it ends within \[MAX, expected a \] for each operation"),
        ("[MAX 1 ] ]", "it has a ] at symbol 4 that ends no operation"),
        ("[MAX ]", r"it has \[MAX without an argument at symbol 2"),
        ("[MEAN 1 2 ]", r"it has '\[MEAN' at symbol 1, expected one of 0 1"),
        ("[MAX 10 2 ]", "it has '10' at symbol 2"),
        ("[MAX ² 2 ]", "it has '²' at symbol 2"),
        ("1 2", "it goes on after its tree at symbol 2"),
        ("( ( [MAX 1 ) 2 ) ] )", "it has parentheses that do not fit its operations"),
        ("[MAX ( 1 2 ]", "it has parentheses that do not fit its operations"),
    ],
)
def test_what_is_no_tree_is_refused(text, sentence):
    with pytest.raises(InputError, match=sentence):
        evaluate(text, "it")


def test_symbols_are_fifteen():
    assert len(SYMBOLS) == len(set(SYMBOLS)) == 15
    assert evaluate("7", "it") == 7
