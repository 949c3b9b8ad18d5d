"""What edges carry, read by scores and biases: worked pair by pair, through every executor, and what is refused."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu

from regard.attention.planning import EXECUTORS, plan
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import EdgeVectors
from regard.attention.spec.patterns import Edges, Everyone
from regard.attention.spec.scores import Additive, EdgeDot, Separable
from regard.attention.verb import attend
from regard.attention.vocabulary import parse
from regard.errors import InputError
from regard.sets import Layout

HEADS, WIDTH, CARRIED = 2, 3, 2
# Vectors 2 and 5 have no keys; the second set begins at row 4.
EDGES = torch.tensor([[3, 0, 0, 1, 4, 4, 0], [0, 1, 2, 1, 4, 5, 0]])


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


def by_pair(
    attention: Attention, q: Tensor, k: Tensor, e: Tensor, learned: dict[str, Tensor], h: int
) -> tuple[Tensor, Tensor]:
    """The score of one pair in one head, and what its edge adds to the value; e is what the edge carries."""
    score, root = attention.score, math.sqrt(WIDTH)
    if isinstance(attention.bias, EdgeVectors):
        vector = e @ learned["bias_edges"][:, h]
        return q @ (k + vector) / root, vector
    vector = e @ learned["score_edges"][:, h]
    if isinstance(score, Additive):
        return learned["score_weight"][h] @ leaky_relu(q + k + vector, 0.2), torch.zeros(())
    if isinstance(score, Separable):
        a, b = (learned[name][h] for name in ("score_query", "score_key"))
        return leaky_relu(torch.cat([a, b, vector.new_ones(1)]) @ torch.cat([q, k, vector]), 0.2), torch.zeros(())
    assert isinstance(score, EdgeDot)
    return sum(q[c] * k[c] * vector[c] / root for c in range(WIDTH)).clamp(-score.clip, score.clip), torch.zeros(())


ATTENTIONS = [
    Attention(Additive("leaky_relu", edges=CARRIED), Edges()),
    Attention(Separable(edges=CARRIED), Edges()),
    Attention(EdgeDot(CARRIED), Edges()),
    Attention(EdgeDot(CARRIED, clip=0.1), Edges()),
    Attention(pattern=Edges(), bias=EdgeVectors(CARRIED)),
]


@pytest.mark.parametrize("attention", ATTENTIONS, ids=repr)
@pytest.mark.parametrize("everyone", [False, True])
def test_pair_by_pair(attention: Attention, everyone: bool) -> None:
    """A pair that is no edge carries zeros."""
    torch.manual_seed(0)
    carried, lengths = normal(EDGES.shape[1], CARRIED), [4, 2, 0, 1]
    layout = Layout(Layout.of_lengths(lengths).offsets, edges=EDGES, edge_values=carried)
    q, k, v = (normal(7, HEADS, WIDTH).requires_grad_() for _ in range(3))
    learned = {name: normal(*shape).requires_grad_() for name, shape in attention.parameters(HEADS, WIDTH).items()}
    on, nothing = {(i, j): carried[n] for n, (i, j) in enumerate(EDGES.T.tolist())}, torch.zeros(2).double()
    wanted = torch.zeros(7, HEADS, WIDTH, dtype=torch.float64)
    for i in range(7):
        own = [j for j in range(7) if (i, j) in on or (everyone and layout.set_of_row[i] == layout.set_of_row[j])]
        for h in range(HEADS):
            pairs = [by_pair(attention, q[i, h], k[j, h], on.get((i, j), nothing), learned, h) for j in own]
            if own:
                weights = torch.stack([s for s, _ in pairs]).softmax(0)
                wanted[i, h] = sum(a * (v[j, h] + more) for a, j, (_, more) in zip(weights, own, pairs, strict=True))
    asked = Attention(attention.score, Everyone() if everyone else Edges(), bias=attention.bias)
    inputs = [q, k, v, *learned.values()]
    if "clip=0.1" in repr(attention):
        inputs = inputs[2:]  # At the clip a score has no gradient.
    above = normal(7, HEADS, WIDTH)
    theirs = torch.autograd.grad((wanted * above).sum(), inputs, retain_graph=True, allow_unused=True)
    for name in EXECUTORS:
        if name in plan(asked, layout, heads=HEADS, d=WIDTH, dtype=torch.float64).refusals:
            continue
        out = attend(asked, q, k, v, layout, None, learned, executor=name)
        torch.testing.assert_close(out, wanted, rtol=1e-12, atol=1e-12)
        ours = torch.autograd.grad((out * above).sum(), inputs, retain_graph=True, allow_unused=True)
        for gradient, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(gradient, other, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("executor", ["edges", "blocks", "dense"])
@pytest.mark.parametrize("attention", ATTENTIONS[:3] + ATTENTIONS[4:], ids=repr)
def test_what_edges_carry_has_a_gradient(attention: Attention, executor: str) -> None:
    torch.manual_seed(0)
    q, k, v = (normal(7, HEADS, WIDTH) for _ in range(3))
    learned = {name: normal(*shape) for name, shape in attention.parameters(HEADS, WIDTH).items()}
    offsets, above = Layout.of_lengths([4, 2, 0, 1]).offsets, normal(7, HEADS, WIDTH)

    def value(carried: Tensor) -> Tensor:
        layout = Layout(offsets, edges=EDGES, edge_values=carried)
        return (attend(attention, q, k, v, layout, None, learned, executor=executor) * above).sum()

    assert torch.autograd.gradcheck(value, [normal(EDGES.shape[1], CARRIED).requires_grad_()])


@pytest.mark.parametrize("attention", ATTENTIONS, ids=repr)
def test_other_numbers_on_edges_are_refused(attention: Attention) -> None:
    assert parse(repr(attention)) == attention
    x = torch.zeros(7, HEADS, WIDTH)
    learned = {name: torch.zeros(shape) for name, shape in attention.parameters(HEADS, WIDTH).items()}
    offsets = Layout.of_lengths([4, 2, 0, 1]).offsets
    for carried, found in ((None, 0), (torch.zeros(EDGES.shape[1], 5), 5)):
        with pytest.raises(InputError, match=rf"expected 2 values on each edge \(it has {found}\)"):
            attend(attention, x, x, x, Layout(offsets, edges=EDGES, edge_values=carried), None, learned)


def test_vectors_of_edges_need_keys_as_wide_as_values() -> None:
    with pytest.raises(InputError, match="EdgeVectors has keys of width 3 and values of width 4, expected the same"):
        Attention(bias=EdgeVectors(2)).parameters(1, 3, 4)
