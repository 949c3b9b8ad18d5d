"""Rows with many short intervals of keys: `fused` takes shorter stretches for them, and gives the same."""

import pytest
import torch

from regard import Attention, Layout, attend
from regard.attention import parse

pytest.importorskip("numba")

from regard.attention.executors.fused import units
from regard.attention.planning import choose
from regard.attention.problem import USUAL, Problem
from regard.attention.spec.pattern import Or

GAPPY = ("Blocks(64) | BlockEnds(64, 8)", "(Window(64, 64), Stride(64))")


def test_a_plan_names_the_keys_of_a_pattern_once(monkeypatch):
    """For many short intervals, naming them takes longer than to compute with them."""
    named = []
    original = Or.keys

    def counted(pattern, rows):
        named.append(pattern)
        return original(pattern, rows)

    monkeypatch.setattr(Or, "keys", counted)
    problem = problem_of(GAPPY[0], [2048])
    assert choose(problem).executor
    assert len(named) == 1
    assert problem.count(problem.union) > 0
    problem.intervals(problem.union)
    assert len(named) == 2, "nothing large is held by a problem"


def problem_of(text: str, lengths: list[int]) -> Problem:
    layout = Layout.of_lengths(lengths)
    return Problem(Attention(pattern=parse(text)).for_heads(2), layout, layout, 2, 2, 32, 32, torch.float32)


@pytest.mark.parametrize("text", GAPPY)
def test_gaps_between_keys_are_skipped(text):
    problem = problem_of(text, [2048])
    keys = units.stretch_of(problem)
    assert keys < USUAL.keys
    (_, few), (_, many) = units.touched(problem, keys), units.touched(problem, USUAL.keys)
    assert few < 0.6 * many


@pytest.mark.parametrize("text", ["Everyone()", "Causal()", "Window(64, 64)", "Blocks(64)", "Window(9, 9) | First(1)"])
def test_stretches_are_long_where_keys_lie_together(text):
    assert units.stretch_of(problem_of(text, [2048])) == USUAL.keys


@pytest.mark.parametrize("text", GAPPY)
def test_short_stretches_give_what_dense_gives(text):
    lengths = [1100, 1, 0, 700]
    assert units.stretch_of(problem_of(text, lengths)) < USUAL.keys
    torch.manual_seed(0)
    layout, attention = Layout.of_lengths(lengths), Attention(pattern=parse(text))
    x = [torch.randn(layout.total, 2, 32, requires_grad=True) for _ in range(3)]
    above = torch.randn(layout.total, 2, 32)
    found = {}
    for executor in ("fused", "dense"):
        out = attend(attention, *x, layout, executor=executor)
        found[executor] = [out, *torch.autograd.grad((out * above).sum(), x)]
    for one, other in zip(found["fused"], found["dense"], strict=True):
        torch.testing.assert_close(one, other, atol=2e-5, rtol=1e-4)
