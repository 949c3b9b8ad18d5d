"""Biases: values worked by hand, and that their quick forms say the same as their meaning."""

import pytest
import torch

from regard import Attention, InputError, attend, attention_weights
from regard.attention.pairs.pairs import Pairs
from regard.attention.planning import EXECUTORS, plan
from regard.attention.spec.biases import T5, ALiBi, Gaussian, Quadratic, TransformerXL
from regard.attention.spec.patterns import Window
from regard.sets import Layout

from .catalogue import BIASES, SHORT, Case
from .checks import executor, the_meaning

BY_DISTANCE = [bias for bias in BIASES if bias is not None and bias.of_distance]


@pytest.mark.parametrize("bias", BY_DISTANCE, ids=repr)
@pytest.mark.parametrize("reach", [0, 1, 5, 40])
def test_the_bias_by_distance_is_that_of_the_pairs(bias, reach):
    heads, layout = 3, Layout.of_lengths([41])
    learned = {name: torch.randn(shape).double() for name, shape in bias.parameters(heads, 4, 4).items()}
    table = bias.by_distance(heads, reach, learned)
    assert table.shape == (heads, 2 * reach + 1)
    rows = torch.arange(41)
    pairs = Pairs(layout, layout, rows[:, None], rows)
    expected = bias.score_bias(torch.zeros(41, 1, heads, 4, dtype=torch.float64), pairs, learned)
    near = (rows - rows[:, None]).abs() <= reach
    place = (rows - rows[:, None] + reach)[near]
    torch.testing.assert_close(table[:, place], expected[near].T)


def test_a_bias_that_reads_more_than_the_distance_has_no_such_table():
    assert Quadratic().by_distance(2, 3, {}) is None
    for bias in (bias for bias in BIASES if bias is not None and not bias.of_distance):
        assert bias.by_distance(2, 3, {}) is None
    assert ALiBi(coordinates=True).by_distance(2, 3, {}) is None


# From which distance on each bucket begins, 8 ln(n / 8) / ln 16 = 0, 1, ..., 7 and 16 ln(n / 16) / ln 8 = 0, 1, ..., 15 rounded up.
ONE_WAY = [*range(9), 12, 16, 23, 32, 46, 64, 91]
CAUSAL = [*range(17), 19, 21, 24, 27, 31, 35, 40, 46, 52, 59, 67, 77, 87, 99, 113]


def test_t5_buckets_of_both_directions():
    bias = T5()
    for distance in range(201):
        bucket = sum(distance >= begin for begin in ONE_WAY) - 1
        assert bias.bucket(-distance) == bucket
        assert bias.bucket(distance) == (bucket + 16 if distance else 0)


def test_t5_buckets_of_one_direction():
    bias = T5(bidirectional=False)
    for distance in range(201):
        assert bias.bucket(-distance) == sum(distance >= begin for begin in CAUSAL) - 1
        assert bias.bucket(distance) == 0


def test_t5_buckets_reach_far():
    """Halfway between 16 and 2^30 on the logarithmic scale, 16 * 2^13, the upper half of sixteen buckets begins."""
    bias = T5(buckets=64, max_distance=1 << 30)
    assert [bias.bucket(-distance) for distance in ((16 << 13) - 1, 16 << 13, 1 << 30, 1 << 39)] == [23, 24, 31, 31]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: T5(buckets=2), "T5 has buckets 2, expected an even number of at least 4"),
        (lambda: T5(buckets=33), "T5 has buckets 33, expected an even number"),
        (lambda: T5(buckets=1, bidirectional=False), "T5 has buckets 1, expected at least 2"),
        (lambda: T5(max_distance=8), "T5 has max_distance 8, expected more than 8"),
        (lambda: TransformerXL(width=0), "TransformerXL has width 0, expected at least 1"),
        (lambda: TransformerXL(width=2.5), "TransformerXL has width 2.5, expected a whole number or None"),
        (lambda: TransformerXL(base=-1.0), "TransformerXL has base -1.0, expected at least 1e-30"),
    ],
)
def test_biases_that_make_no_sense_are_refused(make, sentence):
    with pytest.raises(InputError) as refusal:
        make()
    assert sentence in str(refusal.value)


def test_transformer_xl_is_the_four_terms_of_the_paper():
    """q . k + q . W R + u . k + v . W R over sqrt(d), with u in the queries and v = u + w (Dai et al. 2019, section 3.3)."""
    n, heads, d = 9, 2, 4
    generator = torch.Generator().manual_seed(1)
    q, k = (torch.randn(n, heads, d, generator=generator, dtype=torch.float64) for _ in range(2))
    u, v, width = (*torch.randn(2, heads, d, generator=generator, dtype=torch.float64), heads * d)
    W = torch.randn(heads, d, width, generator=generator, dtype=torch.float64)
    scores = torch.zeros(heads, n, n, dtype=torch.float64)
    for i in range(n):
        for j in range(n):
            angles = torch.tensor([(i - j) / 10000 ** (2 * m / width) for m in range(width // 2)], dtype=torch.float64)
            R = torch.cat([angles.sin(), angles.cos()])
            for h in range(heads):
                WR = W[h] @ R
                scores[h, i, j] = (q[i, h] @ k[j, h] + q[i, h] @ WR + u[h] @ k[j, h] + v[h] @ WR) / d**0.5
    attention = Attention(bias=TransformerXL())
    learned = {"bias_query": v - u, "bias_projection": W}
    assert attention.parameters(heads, d) == {name: tuple(tensor.shape) for name, tensor in learned.items()}
    weights = attention_weights(attention, q + u, k, Layout.of_lengths([n]), None, learned)
    torch.testing.assert_close(weights.dense(), scores.softmax(-1))


@pytest.mark.parametrize("bias", [T5(buckets=8, max_distance=20), TransformerXL(width=6)], ids=repr)
def test_far_pairs_cost_nothing_where_a_window_hides_them(bias):
    """What is computed by distance ends with the window; pairs beyond it, which tiles hold too, say nothing."""
    case = Case(Attention(pattern=Window(2, 1), bias=bias))
    x = case.inputs(SHORT)
    problem = plan(case.attention, x.layout, heads=case.heads, d=case.d).problem
    assert problem.reach == 2
    prepared = case.attention.prepare(x.parameters, lambda: problem.reach)
    assert all(tensor.shape[0] == 5 for name, tensor in prepared.items() if name not in x.parameters)
    expected = the_meaning(case.attention, x, None)
    for name in EXECUTORS:
        if name not in plan(case.attention, x.layout, heads=case.heads, d=case.d).refusals:
            torch.testing.assert_close(executor(name)(case.attention, x, None), expected)


def test_a_quadratic_bias_falls_with_the_squared_distance_from_the_center_of_its_head():
    layout = Layout(torch.tensor([0, 3]), torch.tensor([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0]]))
    learned = {
        "bias_centers": torch.tensor([[0.0, 0.0], [1.0, 1.0]], dtype=torch.float64),
        "bias_sharpness": torch.tensor([1.0, 0.5], dtype=torch.float64),
    }
    q = torch.zeros(3, 2, 4, dtype=torch.float64)
    bias = torch.tensor([[[0, -1, -4], [-1, 0, -5], [-4, -5, 0]], [[-1, -0.5, -1], [-2.5, -1, -2.5], [-5, -4.5, -1]]])
    expected = bias.double().exp()
    found = attention_weights(Attention(bias=Quadratic()), q, q, layout, parameters=learned).dense()
    torch.testing.assert_close(found, expected / expected.sum(-1, keepdim=True), check_dtype=False)


@pytest.mark.parametrize("kind", [torch.float32, torch.int64])
def test_a_sharp_quadratic_bias_reads_the_nearest_vector_alone_however_far_the_others_are(kind):
    """Written out, -a (|x|^2 - 2 x . c + |c|^2) would in float32 take a far place for its neighbor."""
    place = torch.cat([torch.arange(30.0), torch.arange(5970.0, 6000.0)])
    layout = Layout(torch.tensor([0, 60]), torch.stack([torch.zeros(60), place], 1).to(kind))
    learned = {"bias_centers": torch.tensor([[0.0, 2.0], [5.0, -1.0]]), "bias_sharpness": torch.full((2,), 1024.0)}
    q, v = torch.zeros(60, 2, 1), place[:, None, None].expand(60, 2, 1)
    out = attend(Attention(bias=Quadratic()), q, q, v, layout, parameters=learned)[..., 0]
    expected = torch.stack([place + 2, place - 1], 1).clamp(0, 5999)
    expected[28:30, 0], expected[30, 1] = 29, 5970
    assert torch.equal(out, expected)


def test_the_centers_of_a_quadratic_bias_move_by_the_gradient_of_finite_differences():
    torch.manual_seed(3)
    layout = Layout(torch.tensor([0, 5, 5, 9]), torch.randint(-2, 3, (9, 2)).double())
    q, k, v = (torch.randn(9, heads, 3, dtype=torch.float64) for heads in (2, 1, 1))

    def value(centers: torch.Tensor, sharpness: torch.Tensor) -> torch.Tensor:
        learned = {"bias_centers": centers, "bias_sharpness": sharpness}
        return attend(Attention(bias=Quadratic()), q, k, v, layout, parameters=learned).square().sum()

    given = [torch.randn(2, 2, dtype=torch.float64), torch.rand(2, dtype=torch.float64)]
    assert torch.autograd.gradcheck(value, [x.requires_grad_() for x in given])


def test_a_quadratic_bias_refuses_sets_of_other_coordinates_and_none_at_all():
    q = torch.zeros(3, 2, 4)
    learned = {"bias_centers": torch.zeros(2, 2), "bias_sharpness": torch.ones(2)}
    for coords, number in ((None, 0), (torch.zeros(3, 1), 1), (torch.zeros(3, 3), 3)):
        layout = Layout(torch.tensor([0, 3]), coords)
        with pytest.raises(
            InputError, match=rf"lack what Quadratic\(\) reads, expected 2 coordinates \(it has {number}\)"
        ):
            attend(Attention(bias=Quadratic()), q, q, q, layout, parameters=learned)
    with pytest.raises(InputError, match="Quadratic has coordinates 0, expected at least 1"):
        Quadratic(0)


def test_a_gaussian_bias_is_a_gaussian_around_the_query_box():
    """Two boxes, one of them smaller than 1, over places on a line; weights are products of a density and exp(score)."""
    boxes = torch.tensor([[2.0, 0.0, 4.0, 2.0], [0.0, 1.0, 0.5, 0.1]], dtype=torch.float64)
    places = torch.tensor([[0.0, 0.0], [2.0, 0.0], [6.0, 1.0]], dtype=torch.float64)
    learned = {"bias_centers": torch.tensor([[0.0, 0.0], [0.5, -0.5]]), "bias_sharpness": torch.tensor([1.0, 2.0])}
    learned = {name: value.double() for name, value in learned.items()}
    queries, keys = Layout(torch.tensor([0, 2]), boxes), Layout(torch.tensor([0, 3]), places)
    q, k = torch.randn(2, 2, 4, dtype=torch.float64), torch.randn(3, 2, 4, dtype=torch.float64)
    found = attention_weights(Attention(bias=Gaussian()), q, k, queries, keys, learned).dense()
    expected = torch.zeros(2, 2, 3, dtype=torch.float64)
    for head, i, j in ((h, i, j) for h in range(2) for i in range(2) for j in range(3)):
        gap = (places[j] - boxes[i, :2]) / boxes[i, 2:].clamp(min=1)
        density = torch.exp(
            -learned["bias_sharpness"][head].square() * (gap - learned["bias_centers"][head]).square().sum()
        )
        expected[head, i, j] = density * torch.exp(q[i, head] @ k[j, head] / 2)
    torch.testing.assert_close(found, expected / expected.sum(-1, keepdim=True))
    same = Layout(torch.tensor([0, 3]), torch.cat([places, torch.ones(3, 2)], 1))
    whole = attention_weights(Attention(bias=Gaussian()), q, k, queries, same, learned).dense()
    torch.testing.assert_close(whole, found)


def test_a_gaussian_bias_refuses_queries_without_sizes():
    q, learned = torch.zeros(3, 2, 4), {"bias_centers": torch.zeros(2, 2), "bias_sharpness": torch.ones(2)}
    for coords in (None, torch.zeros(3, 2), torch.zeros(3, 5)):
        number = 0 if coords is None else coords.shape[1]
        with pytest.raises(
            InputError, match=rf"reads 4 coordinates of queries and 2 of keys and the sets have {number} and"
        ):
            attend(Attention(bias=Gaussian()), q, q, q, Layout(torch.tensor([0, 3]), coords), parameters=learned)
