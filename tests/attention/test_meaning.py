"""What attention means: by hand, in the notation of lectures, and as others compute it."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import leaky_relu, scaled_dot_product_attention

from regard import Attention, Layout, VectorSets, attend, attention_weights, plan
from regard.attention.planning import EXECUTORS
from regard.attention.spec.biases import ALiBi, EdgeBias, Shaw
from regard.attention.spec.normalizers import Normalizer, Relu, Sigmoid
from regard.attention.spec.patterns import Causal, Edges, First, Window
from regard.attention.spec.scores import Additive, Dot, Score, Separable

from .catalogue import Inputs
from .checks import the_meaning

GENERATOR = torch.Generator().manual_seed(0)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=GENERATOR, dtype=torch.float64)


def serving(attention: Attention, layout: Layout, key_layout: Layout | None, v: Tensor) -> list[str]:
    """The executors that do not refuse."""
    chosen = plan(attention, layout, heads=v.shape[1], d=v.shape[2], key_layout=key_layout, dtype=v.dtype)
    return [name for name in EXECUTORS if name not in chosen.refusals]


def one_head(attention: Attention, q: Tensor, k: Tensor, v: Tensor, **parameters: Tensor) -> Tensor:
    """`[n, e]` for one set and one head, the same by all executors and by the reference."""
    q, k, v = (x[:, None] for x in (q, k, v))
    layout, key_layout = (Layout.of_lengths([len(x)]) for x in (q, k))
    key_layout = layout if len(q) == len(k) else key_layout
    out = the_meaning(attention, Inputs(layout, key_layout, q, k, v, parameters), None)
    for name in serving(attention, layout, key_layout, v):
        torch.testing.assert_close(attend(attention, q, k, v, layout, key_layout, parameters, executor=name), out)
    return out[:, 0]


def numbers(*rows: float | list[float]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64).reshape(len(rows), -1)


# In the notation of lectures.


def test_the_column_form_of_lectures_is_ours_transposed():
    """Vectors as columns: A = K^T Q, softmax down the columns, O = V A'. Ours has rows, and no scale when asked so."""
    I = normal(6, 5)  # five vectors of width 6
    W_q, W_k, W_v = normal(4, 6), normal(4, 6), normal(3, 6)
    Q, K, V = W_q @ I, W_k @ I, W_v @ I
    O = V @ (K.T @ Q).softmax(dim=0)
    ours = one_head(Attention(score=Dot(scale=1.0)), Q.T, K.T, V.T)
    torch.testing.assert_close(ours, O.T)
    scaled = V @ (K.T @ Q / math.sqrt(4)).softmax(dim=0)
    torch.testing.assert_close(one_head(Attention(), Q.T, K.T, V.T), scaled.T)


def test_additive_over_the_joined_vector_is_the_sum_form():
    """w . tanh(W [x_q; x_k]) = w . tanh(W_q x_q + W_k x_k), W = [W_q W_k]."""
    x, W, w, v = normal(5, 6), normal(4, 12), normal(4), normal(5, 3)
    joined = torch.cat([x[:, None].expand(5, 5, 6), x[None].expand(5, 5, 6)], -1)
    expected = ((joined @ W.T).tanh() @ w).softmax(1) @ v
    W_q, W_k = W[:, :6], W[:, 6:]
    ours = one_head(Attention(score=Additive()), x @ W_q.T, x @ W_k.T, v, score_weight=w[None])
    torch.testing.assert_close(ours, expected)


def test_a_sum_of_parts_loses_its_query_under_softmax():
    """u . tanh(q) + w . tanh(k): the query's part is the same for all keys, so every row has the same weights."""
    x, k = normal(5, 4), normal(5, 4)
    layout = Layout.of_lengths([5])
    parameters = {"score_query": normal(1, 4), "score_key": normal(1, 4)}

    def weights(attention: Attention) -> Tensor:
        arguments = (attention, x.tanh()[:, None], k.tanh()[:, None], layout, None, parameters)
        return attention_weights(*arguments).dense()[0]

    parts = weights(Attention(score=Separable(slope=1.0)))
    torch.testing.assert_close(parts, parts[:1].expand(5, 5))
    expected = (k.tanh() @ parameters["score_key"][0]).softmax(0)
    torch.testing.assert_close(parts[0], expected)
    bent = weights(Attention(score=Separable(slope=0.2)))
    assert (bent - bent[:1]).abs().max() > 0.01
    joined = attention_weights(
        Attention(Additive()), x[:, None], k[:, None], layout, None, {"score_weight": normal(1, 4)}
    )
    assert (joined.dense()[0] - joined.dense()[0, :1]).abs().max() > 0.01


def test_several_heads_are_not_one_wide_head():
    """Because of the softmax: without it, heads that share their values would add up to one wide head."""

    class Linear(Normalizer):
        """a = s."""

        def weights(self, s: Tensor, rows: object) -> Tensor:
            return s.masked_fill(s == -torch.inf, 0)

    q, k, v = normal(5, 2, 4), normal(5, 2, 4), normal(5, 1, 3).expand(5, 2, 3)
    layout = Layout.of_lengths([5])

    def several_and_one(attention: Attention) -> tuple[Tensor, Tensor]:
        several = attend(attention, q, k, v, layout).sum(1)
        one = attend(attention, q.reshape(5, 1, 8), k.reshape(5, 1, 8), v[:, :1], layout)[:, 0]
        return several, one

    torch.testing.assert_close(*several_and_one(Attention(score=Dot(scale=1.0), normalizer=Linear())))
    several, one = several_and_one(Attention(score=Dot(scale=1.0)))
    assert (several / 2 - one).abs().max() > 0.05


# By hand.


def test_softmax_by_hand():
    """q = 2 meets k = 0 and k = ln 3 / 2: weights 1/4 and 3/4."""
    v = numbers([4.0, 0.0], [0.0, 8.0])
    out = one_head(Attention(), numbers(2.0), numbers(0.0, math.log(3) / 2), v)
    torch.testing.assert_close(out, numbers([1.0, 6.0]))


def test_the_scale_is_one_over_the_root_of_the_width():
    q, k, v = numbers([1.0] * 4), numbers([0.0] * 4, [1.0] * 4), numbers(0.0, 1.0)
    torch.testing.assert_close(one_head(Attention(), q, k, v), numbers(1 / (1 + math.exp(-2))))
    torch.testing.assert_close(one_head(Attention(Dot(1.0)), q, k, v), numbers(1 / (1 + math.exp(-4))))


def test_relu_by_hand():
    """Scores 2, -1, 3 over three keys: weights 2/3, 0, 1."""
    out = one_head(Attention(normalizer=Relu()), numbers(1.0), numbers(2.0, -1.0, 3.0), numbers(3.0, 100.0, 5.0))
    torch.testing.assert_close(out, numbers(7.0))


def test_relu_divides_by_the_allowed_keys():
    """Row i of a causal pattern has i + 1 keys, all of score 1 and value 6."""
    ones = torch.ones(3, 1, dtype=torch.float64)
    out = one_head(Attention(pattern=Causal() & ~First(1), normalizer=Relu()), ones, ones, 6 * ones)
    torch.testing.assert_close(out, numbers(0.0, 6.0, 6.0))


def test_sigmoid_by_hand():
    """Scores ln 2 and ln 6 over two keys: sigmoid(0) = 1/2 and sigmoid(ln 3) = 3/4."""
    k = numbers(math.log(2), math.log(6))
    torch.testing.assert_close(
        one_head(Attention(normalizer=Sigmoid()), numbers(1.0), k, numbers(2.0, 4.0)), numbers(4.0)
    )


def test_alibi_slopes():
    assert ALiBi.slopes(8) == [1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64, 1 / 128, 1 / 256]
    twelve = [2.0**-n for n in range(1, 9)] + [2**-0.5, 2**-1.5, 2**-2.5, 2**-3.5]
    assert ALiBi.slopes(12) == pytest.approx(twelve)
    assert ALiBi.slopes(1) == [1 / 256]


def test_alibi_by_hand():
    """One head of slope 1/256 and scores of zero: weights e^(-|i - j| / 256)."""
    x, v = torch.zeros(3, 1, dtype=torch.float64), numbers(1.0, 2.0, 4.0)
    a = torch.exp(-torch.tensor([[0.0, 1, 2], [1, 0, 1], [2, 1, 0]], dtype=torch.float64) / 256)
    torch.testing.assert_close(one_head(Attention(bias=ALiBi()), x, x, v), a / a.sum(1, keepdim=True) @ v)


def test_alibi_counts_far_in_bfloat16():
    """Distances beyond 256 stay apart, although bfloat16 cannot tell them from each other."""
    x = torch.zeros(600, 1, 1, dtype=torch.bfloat16)
    layout = Layout.of_lengths([600])
    weights = [attention_weights(Attention(bias=ALiBi()), y, y, layout, rows=[0]).values for y in (x, x.double())]
    assert (weights[0][1:] < weights[0][:-1]).all()
    torch.testing.assert_close(weights[0].double(), weights[1], rtol=1e-4, atol=0)


def test_shaw_by_hand():
    """Radius 1: keys behind, at and ahead of the query read the three rows of each table; the scale covers the bias."""
    q, k, v = (
        numbers([2.0] * 4, [2.0] * 4, [2.0] * 4),
        torch.zeros(3, 4, dtype=torch.float64),
        numbers(10.0, 20.0, 30.0),
    )
    a = torch.zeros(1, 3, 4, dtype=torch.float64)
    a[0, 0, 0], a[0, 2, 0] = math.log(2), math.log(3)  # behind, ahead; q . a / sqrt(4) = ln 2, ln 3
    b = torch.tensor([[[1.0], [2.0], [3.0]]], dtype=torch.float64)
    out = one_head(Attention(bias=Shaw(radius=1)), q, k, v, bias_keys=a, bias_values=b)
    first = (1 * 12 + 3 * 23 + 3 * 33) / 7
    second = (2 * 11 + 1 * 22 + 3 * 33) / 6
    third = (2 * 11 + 2 * 21 + 1 * 32) / 5
    torch.testing.assert_close(out, numbers(first, second, third))


def test_edge_bias_by_hand():
    """Edges carry ln 2 and ln 6; the third pair is no edge and gets nothing."""
    edges = torch.tensor([[0, 0], [0, 2]])
    values = torch.tensor([[math.log(2)], [math.log(6)]], dtype=torch.float64)
    layout = Layout(torch.tensor([0, 3]), edges=edges, edge_values=values)
    x, v = torch.zeros(3, 1, 1, dtype=torch.float64), numbers(9.0, 18.0, 27.0)[:, None]
    w = {"bias_edges": torch.ones(1, 1, dtype=torch.float64)}
    for name in serving(Attention(bias=EdgeBias(width=1)), layout, None, v):
        out = attend(Attention(bias=EdgeBias(width=1)), x, x, v, layout, None, w, executor=name)
        assert out[:, 0, 0].tolist() == pytest.approx([(2 * 9 + 18 + 6 * 27) / 9, 18.0, 18.0])


def test_consecutive_queries_share_a_key_head():
    q, k, v = torch.zeros(1, 4, 2), torch.zeros(1, 2, 2), torch.tensor([[[1.0], [2.0]]])
    for name in serving(Attention(), Layout.of_lengths([1]), None, v):
        assert attend(Attention(), q, k, v, Layout.of_lengths([1]), executor=name).flatten().tolist() == [1, 1, 2, 2]


# As others compute it.


def padded_batch() -> tuple[VectorSets, Tensor, Tensor]:
    sets = VectorSets.pack([normal(n, 16) for n in (5, 1, 9, 3)])
    return sets, *sets.to_padded()


@pytest.mark.parametrize("causal", [False, True])
def test_equals_torch_on_padded_batches(causal):
    sets, x, mask = padded_batch()
    q, k, v = (x.view(4, 9, 4, 4).transpose(1, 2) for x in (x, x.flip(-1), x * 2))
    allowed = mask[:, None, None] & (torch.ones(9, 9, dtype=torch.bool).tril() if causal else True)
    theirs = scaled_dot_product_attention(q, k, v, allowed).transpose(1, 2)[mask]
    packed = [y.view(-1, 4, 4) for y in (sets.values, sets.values.flip(-1), sets.values * 2)]
    attention = Attention(pattern=Causal()) if causal else Attention()
    for name in serving(attention, sets.layout, None, packed[2]):
        torch.testing.assert_close(attend(attention, *packed, sets.layout, executor=name), theirs)


def test_equals_multihead_attention():
    sets, x, mask = padded_batch()
    theirs = torch.nn.MultiheadAttention(16, 4, batch_first=True, dtype=torch.float64)
    expected, weights = theirs(x, x, x, key_padding_mask=~mask, average_attn_weights=False)
    q, k, v = (sets.values @ theirs.in_proj_weight.T + theirs.in_proj_bias).view(-1, 3, 4, 4).unbind(1)
    ours = attend(Attention(), q, k, v, sets.layout).flatten(1) @ theirs.out_proj.weight.T + theirs.out_proj.bias
    torch.testing.assert_close(ours, expected[mask])
    dense = attention_weights(Attention(), q, k, sets.layout).dense()
    torch.testing.assert_close(dense[:, 6:15, 6:15], weights[2])


@pytest.mark.parametrize("score", [Separable(), Additive("leaky_relu")], ids=["GAT", "GATv2"])
def test_graph_attention_node_by_node(score):
    """GAT: e_ij = LeakyReLU(a . [W h_i || W h_j]); GATv2: e_ij = a . LeakyReLU(W_l h_i + W_r h_j); softmax over neighbors."""
    neighbors = {0: [0, 1, 2], 1: [1], 2: [], 3: [0, 3]}
    edges = torch.tensor([[i, j] for i, js in neighbors.items() for j in js]).T
    layout = Layout(torch.tensor([0, 4]), edges=edges)
    left, right, a = normal(4, 2, 3), normal(4, 2, 3), normal(2, 6)
    right = left if isinstance(score, Separable) else right
    expected = torch.zeros(4, 2, 3, dtype=torch.float64)
    for i, js in neighbors.items():
        for h in range(2):
            if isinstance(score, Separable):
                e = [leaky_relu(a[h] @ torch.cat([left[i, h], left[j, h]]), 0.2) for j in js]
            else:
                e = [a[h, :3] @ leaky_relu(left[i, h] + right[j, h], 0.2) for j in js]
            total = sum(math.exp(s) for s in e)
            for s, j in zip(e, js, strict=True):
                expected[i, h] += math.exp(s) / total * right[j, h]
    parameters = {"score_query": a[:, :3], "score_key": a[:, 3:], "score_weight": a[:, :3]}
    for name in serving(Attention(score, Edges()), layout, None, right):
        ours = attend(Attention(score, Edges()), left, right, right, layout, None, parameters, executor=name)
        torch.testing.assert_close(ours, expected)


def test_a_key_of_another_head_s_pattern_has_no_weight():
    x = normal(6, 2, 4)
    attention = Attention(pattern=(Window(1, 0), Causal()))
    a = attention_weights(attention, x, x, Layout.of_lengths([6])).dense()
    assert (a[0] > 0).sum(1).tolist() == [1, 2, 2, 2, 2, 2]
    assert (a[1] > 0).sum(1).tolist() == [1, 2, 3, 4, 5, 6]


def test_a_score_of_one_s_own_needs_one_method():
    class Distance(Score):
        """s = -|q - k|^2."""

        def __call__(self, q: Tensor, k: Tensor, parameters: object, pairs: object = None) -> Tensor:
            return -(q - k).square().sum(-1)

    q, v = normal(5, 3), normal(5, 2)
    expected = (-torch.cdist(q, q).square()).softmax(1) @ v
    torch.testing.assert_close(one_head(Attention(score=Distance()), q, q, v), expected)
