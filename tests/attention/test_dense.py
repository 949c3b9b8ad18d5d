"""What `dense` adds to the operator it calls: neither copies nor bookkeeping that counts."""

import pickle

import pytest
import torch

from regard.attention.executors import dense
from regard.attention.reference import reference
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Causal, Everyone
from regard.attention.spec.scores import Dot
from regard.attention.verb import attend
from regard.attention.vocabulary import parse
from regard.sets import Layout

from .counting import calls_of


def operations(out: torch.Tensor) -> set[str]:
    """The names of all nodes of a result's graph."""
    names, found = set(), [out.grad_fn]
    while found:
        node = found.pop()
        names.add(node.name())
        found += [each for each, _ in node.next_functions if each is not None]
    return names


@pytest.mark.parametrize("lengths", [[5], [7, 7, 7]])
def test_sets_of_one_length_are_not_copied(lengths):
    x = torch.randn(sum(lengths), 2, 4, requires_grad=True)
    names = operations(attend(Attention(), x, x, x, Layout.of_lengths(lengths), executor="dense"))
    assert not any(word in name for name in names for word in ("Slice", "Cat", "Split", "Index", "Copy", "Clone")), (
        names
    )


def test_rectangles_share_one_gradient():
    x = torch.randn(110, 2, 4, requires_grad=True)
    names = operations(attend(Attention(), x, x, x, Layout.of_lengths([100, 10]), executor="dense"))
    assert not any("Slice" in name for name in names), names


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("text", ["Attention()", "Attention(pattern=Window(1, 1))", "Attention(score=Dot(scale=1.0))"])
def test_one_query_of_each_set_sees_its_own_keys_alone(heads, text):
    """Sets of different sizes lie in one rectangle, whose filled places belong to nobody; a lone query has products of its own."""
    torch.manual_seed(0)
    layout, keys = Layout.of_lengths([1, 1, 1, 1]), Layout.of_lengths([3, 0, 7, 4])
    q, k, v = (torch.randn(n, heads, 4, dtype=torch.float64, requires_grad=True) for n in (4, 14, 14))
    found, meant = (
        run(parse(text), q, k, v, layout, keys, **more)
        for run, more in ((attend, {"executor": "dense"}), (reference, {"parameters": {}}))
    )
    torch.testing.assert_close(found, meant)
    above = torch.randn_like(meant)
    for ours, theirs in zip(*(torch.autograd.grad(x, (q, k, v), above) for x in (found, meant)), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(("starts", "masked"), [([4, 4], False), ([4, 9], False), ([4, 3], True)])
def test_queries_behind_all_keys_need_no_mask(starts, masked, monkeypatch):
    """A query is at the place of the last of five keys, behind it, or before one that it may not see."""
    asked = []
    before = dense._Rectangle.pairs
    monkeypatch.setattr(dense._Rectangle, "pairs", lambda *given: asked.append(1) or before(*given))
    layout, key_layout = Layout(torch.tensor([0, 1, 2]), starts=torch.tensor(starts)), Layout.of_lengths([5, 5])
    q, k, v = (torch.randn(n, 2, 4, dtype=torch.float64) for n in (2, key_layout.total, key_layout.total))
    attention = parse("Attention(pattern=Causal())")
    found = attend(attention, q, k, v, layout, key_layout, executor="dense")
    torch.testing.assert_close(found, reference(attention, q, k, v, layout, key_layout, parameters={}))
    assert bool(asked) == masked


@pytest.mark.unpoisoned
@pytest.mark.parametrize("text", ["Attention()", "Attention(pattern=Window(3, 3) | First(1))"])
def test_the_bookkeeping_is_a_hundred_calls(text, monkeypatch):
    """Between `attend` and an executor's `run`, once a layout has its plan: some 20 microseconds."""
    attention, x, layout = parse(text), torch.randn(16, 8, 64), Layout.of_lengths([16])
    monkeypatch.setattr(dense, "run", lambda problem, tensors: tensors.v)

    def once() -> None:
        attend(attention, x, x, x, layout, executor="dense")

    once()
    assert calls_of(once) < 100


def test_a_kept_hash_does_not_travel():
    attention = parse("Attention(score=Additive(activation='leaky_relu'))")
    assert hash(attention) == hash(parse(attention.text))
    assert "_hash" not in attention.__getstate__()
    again = pickle.loads(pickle.dumps(attention))
    assert again == attention
    assert again.text == attention.text


@pytest.mark.parametrize("scale", [-0.5, 0.0])
@pytest.mark.parametrize("pattern", [Causal(), Everyone()])
def test_scores_may_be_turned_around_or_vanish(scale, pattern):
    q, k, v = (torch.randn(8, 1, 16, dtype=torch.float64, requires_grad=True) for _ in range(3))
    layout, found = Layout.of_lengths([3, 5]), []
    for executor in ("dense", "blocks"):
        out = attend(Attention(Dot(scale=scale), pattern), q, k, v, layout, executor=executor)
        found.append((out, *torch.autograd.grad(out.sum(), (q, k, v))))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs)
