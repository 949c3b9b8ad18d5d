"""Positions far away: sines, cosines, turned queries and biases of distance are right to rounding at every place up to 2^53."""

import math

import mpmath
import pytest
import torch

from regard import Attention, InputError, Layout, VectorSets, attend
from regard.attention import T5, ALiBi, Causal, First, Shaw, TransformerXL, Window
from regard.attention.reference import reference
from regard.layers.attention import SelfAttention
from regard.layers.positions import Learned, Rotary, Sinusoidal
from regard.sets.sinusoids import sinusoids

FAR = [0, 1, 100_000, 10_000_000, 17_000_000, 1_000_000_000, 2**31, 2**40 + 1, 2**53 - 1]
# Half a unit in the last place of numbers below 1.
ROUNDING = {torch.float32: 2.0**-25, torch.float64: 2e-15, torch.bfloat16: 2.0**-9}


def at(*places: int) -> Layout:
    """Sets of one vector each, at those places."""
    return Layout(torch.arange(len(places) + 1), starts=torch.tensor(places))


def exact(places: list[float], width: int, base: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of place / base^(2 i / width), by arithmetic of 60 digits."""
    with mpmath.workdps(60):
        angles = [
            [mpmath.mpf(place) / mpmath.mpf(base) ** (mpmath.mpf(i) / width) for i in range(0, width, 2)]
            for place in places
        ]
        tables = [[[float(function(a)) for a in row] for row in angles] for function in (mpmath.cos, mpmath.sin)]
    return torch.tensor(tables[0], dtype=torch.float64), torch.tensor(tables[1], dtype=torch.float64)


@pytest.mark.parametrize(
    ("width", "base"), [(64, 10000.0), (7, 10000.0), (10, 3.7), (4, 0.01), (6, 500000.0), (2, 1.0)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_angles_are_right_to_rounding_at_every_place(width, base, dtype):
    places = [*FAR, *(-place for place in FAR), -(2**53), 2**27 - 1, 2**27, 2**27 + 1]
    for found, true in zip(
        sinusoids(torch.tensor(places), width, base, dtype), exact(places, width, base), strict=True
    ):
        assert found.dtype == dtype
        assert (found.double() - true).abs().max() <= ROUNDING[dtype]


def test_angles_of_coordinates_with_a_fraction_are_right_to_rounding():
    places = [0.5, -3.75, 12345.678, 1e7 + 0.25, 1e9 + 0.125, 2.0**40 + 0.5]
    found = sinusoids(torch.tensor(places, dtype=torch.float64), 64, 10000.0, torch.float32)
    for ours, true in zip(found, exact(places, 64, 10000.0), strict=True):
        assert (ours.double() - true).abs().max() <= ROUNDING[torch.float32]


def test_sets_that_share_places_read_one_table():
    place = torch.tensor([5, 6, 7, 5, 6, 7, 5, 10**9]).repeat(3)
    alone = sinusoids(torch.tensor([10**9]), 8, 10000.0, torch.float64)
    several = torch.tensor([5, 6, 7, 5, 6, 7, 5])
    for found, one in zip(
        sinusoids(several, 8, 10000.0, torch.float64), sinusoids(several[:3], 8, 10000.0, torch.float64), strict=True
    ):
        assert torch.equal(found, one[several - 5])
    assert torch.equal(sinusoids(place, 8, 10000.0, torch.float64)[0][-1], alone[0][0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sinusoidal_positions_do_not_drift(dtype):
    sets = VectorSets(torch.zeros(len(FAR), 16, dtype=dtype), at(*FAR))
    found = Sinusoidal(16)(sets).values.double()
    cos, sin = exact(FAR, 16, 10000.0)
    assert (found[:, 0::2] - sin).abs().max() <= ROUNDING[dtype]
    assert (found[:, 1::2] - cos).abs().max() <= ROUNDING[dtype]


@pytest.mark.parametrize("shift", FAR[2:-1])
def test_scores_of_turned_vectors_are_those_of_the_first_places(shift):
    q, k = torch.randn(2, 40, 1, 64)
    near, far = Layout.of_lengths([40]), Layout(torch.tensor([0, 40]), starts=torch.tensor([shift]))
    rotary = Rotary()
    scores = [torch.einsum("ihd,jhd->ij", rotary(q, layout), rotary(k, layout)) for layout in (near, far)]
    torch.testing.assert_close(scores[1], scores[0], rtol=1e-5, atol=2e-5)


def test_turned_vectors_at_places_of_rows_in_another_order():
    x = torch.randn(3, 2, 8, dtype=torch.float64)
    order = torch.tensor([2, 0, 1])
    far = 2**31 - 4
    placed = Layout(torch.tensor([0, 3]), places=(torch.arange(3) + far)[order])
    expected = Rotary()(x, Layout(torch.tensor([0, 3]), starts=torch.tensor([far])))
    assert torch.equal(Rotary()(x[order], placed), expected[order])


def test_coordinates_that_are_whole_numbers_are_exact():
    far = 2**40 + 3  # which float32 has not
    x = torch.randn(2, 1, 4, dtype=torch.float64)
    by_coordinate = Layout(torch.tensor([0, 2]), coords=torch.tensor([[far], [far + 1]]))
    by_place = Layout(torch.tensor([0, 2]), starts=torch.tensor([far]))
    torch.testing.assert_close(Rotary(1)(x, by_coordinate), Rotary()(x, by_place), rtol=0, atol=1e-14)
    learned = Learned(4, (3,), coordinates=1).double()
    at_two = Layout(torch.tensor([0, 2]), coords=torch.tensor([[2], [0]]))
    values = torch.zeros(2, 4, dtype=torch.float64)
    assert torch.equal(learned(VectorSets(values, at_two)).values, learned.tables[0][[2, 0]])


def test_distances_of_coordinates_that_are_whole_numbers():
    far = 3 * 10**8 + 1  # where float32 knows multiples of 32 only
    layout = Layout(torch.tensor([0, 2]), coords=torch.tensor([[far, far], [far + 3, far + 4]]))
    q, v = torch.zeros(2, 1, 2, dtype=torch.float64), torch.tensor([[[1.0]], [[0.0]]], dtype=torch.float64)
    found = attend(Attention(bias=ALiBi(coordinates=True)), q, q, v, layout)
    weight = 1 / (1 + math.exp(-5 * ALiBi.slopes(1)[0]))  # the points are 5 apart
    torch.testing.assert_close(found.flatten().tolist(), [weight, 1 - weight])


def test_learned_coordinates_have_the_gradient_of_the_formula_each_time():
    place = torch.tensor([[0.3], [1.7], [1000.5]], dtype=torch.float64, requires_grad=True)
    layout = Layout(torch.tensor([0, 3]), coords=place)
    x = torch.randn(3, 1, 6, dtype=torch.float64)
    for _ in range(2):  # What the layout keeps holds no graph.
        found = torch.autograd.grad(Rotary(1)(x, layout).square()[..., ::2].sum(), place)[0]
        frequency = 10000.0 ** (-torch.arange(0, 6, 2, dtype=torch.float64) / 6)
        angle = (place * frequency)[:, None]
        turned = x[..., ::2] * angle.cos() - x[..., 1::2] * angle.sin()
        true = torch.autograd.grad(turned.square().sum(), place)[0]
        torch.testing.assert_close(found, true)


def test_distances_of_transformer_xl_are_right_to_rounding():
    bias, reach = TransformerXL(width=16), 100_000
    projection = torch.eye(16).reshape(1, 16, 16)
    table = bias.prepare({"bias_projection": projection, "bias_query": torch.zeros(1, 16)}, lambda: reach)
    rows = [0, 1, 12_345, reach, 2 * reach]
    cos, sin = exact([reach - row for row in rows], 16, 10000.0)
    found = table["bias_distances"][rows, 0].double()
    assert (found - torch.cat([sin, cos], 1)).abs().max() <= ROUNDING[torch.float32]


@pytest.mark.parametrize("bias", [None, ALiBi(), T5(), Shaw(3), TransformerXL(width=8)], ids=repr)
@pytest.mark.parametrize("pattern", [Causal(), Window(4, 2)], ids=repr)
def test_a_layer_far_away_computes_what_it_computes_at_the_beginning(bias, pattern):
    # What a bias reads of a turned query depends on where it is.
    rotation = None if bias is not None and bias.reads_queries else Rotary()
    layer = SelfAttention(16, 2, Attention(pattern=pattern, bias=bias), rotation=rotation)
    values = torch.randn(12, 16)
    near = layer(VectorSets(values, Layout.of_lengths([5, 7]))).values
    far = layer(VectorSets(values, Layout(torch.tensor([0, 5, 12]), starts=torch.tensor([10**9, 2**53 - 8])))).values
    torch.testing.assert_close(far, near, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bias", [ALiBi(), T5(), Shaw(3)], ids=repr)
@pytest.mark.parametrize("name", ["blocks", "edges", None])
def test_keys_of_the_beginning_are_seen_from_far_away(bias, name):
    """Where no table of all distances could be held."""
    q, k = torch.randn(3, 2, 8), torch.randn(6, 2, 8)
    layout, key_layout = Layout(torch.tensor([0, 3]), starts=torch.tensor([10**9])), Layout.of_lengths([6])
    attention = Attention(pattern=First(4), bias=bias)
    learned = {name: torch.randn(shape) for name, shape in attention.parameters(2, 8).items()}
    found = attend(attention, q, k, k, layout, key_layout, learned, executor=name)
    expected = reference(attention, q, k, k, layout, key_layout, learned)
    torch.testing.assert_close(found, expected)


def test_distances_that_no_table_could_hold_are_refused_in_a_sentence():
    q, layout = torch.randn(2, 2, 8), Layout(torch.tensor([0, 2]), places=torch.tensor([0, 2**31 - 1]))
    with pytest.raises(InputError, match="places apart, and it reads biases from a table of all distances"):
        attend(Attention(bias=ALiBi(), pattern=First(1)), q, q, q, at(10**9, 5), at(0, 0), executor="fused")
    attention = Attention(bias=TransformerXL(width=8))
    learned = {name: torch.randn(shape) for name, shape in attention.parameters(2, 8).items()}
    with pytest.raises(InputError, match=r"lie up to 2,147,483,647 places apart, expected at most 8,388,608"):
        attend(attention, q, q, q, layout, parameters=learned)


def test_a_set_that_grows_far_away_computes_what_it_computes_at_the_beginning():
    layer = SelfAttention(16, 2, Attention(pattern=Window(6, 0)), rotation=Rotary())
    values = torch.randn(1, 9, 16)
    outputs = []
    for first in (0, 1_000_000_000):
        state = layer.new_state(1)
        empty = Layout(torch.tensor([0, 0]), starts=torch.tensor([first]))
        state.places = torch.tensor([first])
        state.value = type(state.value)(state.value.attention, state.value.k, state.value.v, empty)
        outputs.append([layer(VectorSets(x[None], state.following()), state).values for x in values[0]])
    torch.testing.assert_close(torch.cat(outputs[1]), torch.cat(outputs[0]), rtol=1e-5, atol=1e-6)
