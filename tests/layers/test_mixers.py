"""Convolution and recurrences against loops over single vectors, written from their formulas."""

import math

import pytest
import torch
from torch import Tensor, nn

from regard.errors import InputError
from regard.layers.mixers import Convolution, WindowedLinear
from regard.layers.recurrent import LSTM, Recurrent
from regard.sets import Layout, VectorSets

WIDTH = 6
LENGTHS = (5, 0, 1, 22, 0, 7, 2, 3)  # two rectangles, and shorter sets in each


def some_sets(*lengths: int, dtype: torch.dtype = torch.float64) -> VectorSets:
    torch.manual_seed(len(lengths))
    values = torch.randn(sum(lengths), WIDTH, dtype=dtype, requires_grad=True)
    return VectorSets(values, Layout.of_lengths(lengths))


def elman(network: nn.Module, xs: list[Tensor]) -> list[Tensor]:
    """h_i = tanh(W x_i + U h_{i-1} + b), with torch's two vectors for b."""
    p = dict(network.named_parameters())
    h, found = xs[0].new_zeros(p["weight_hh_l0"].shape[1]), []
    for x in xs:
        h = torch.tanh(p["weight_ih_l0"] @ x + p["weight_hh_l0"] @ h + p["bias_ih_l0"] + p["bias_hh_l0"])
        found.append(h)
    return found


def jordan(network: nn.Module, xs: list[Tensor]) -> list[Tensor]:
    """h_i = tanh(W x_i + U y_{i-1} + b), y_i = tanh(V h_i + c)."""
    p = dict(network.named_parameters())
    y, found = xs[0].new_zeros(p["out.weight"].shape[0]), []
    for x in xs:
        h = torch.tanh(p["into.weight"] @ x + p["back.weight"] @ y + p["into.bias"])
        y = torch.tanh(p["out.weight"] @ h + p["out.bias"])
        found.append(y)
    return found


def lstm(network: nn.Module, xs: list[Tensor]) -> list[Tensor]:
    """Gates i, f, o and the input g; torch keeps them in the order i, f, g, o."""
    p = dict(network.named_parameters())
    w, u = (dict(zip("ifgo", p[f"weight_{kind}_l0"].chunk(4), strict=True)) for kind in ("ih", "hh"))
    b = dict(zip("ifgo", (p["bias_ih_l0"] + p["bias_hh_l0"]).chunk(4), strict=True))
    h = c = xs[0].new_zeros(u["i"].shape[1])
    found = []
    for x in xs:
        before = {gate: w[gate] @ x + u[gate] @ h + b[gate] for gate in "ifgo"}
        i, f, o = (torch.sigmoid(before[gate]) for gate in "ifo")
        c = f * c + i * torch.tanh(before["g"])
        h = o * torch.tanh(c)
        found.append(h)
    return found


STEPS = {"elman": elman, "jordan": jordan, "lstm": lstm}


def recurrent(kind: str, bidirectional: bool) -> nn.Module:
    torch.manual_seed(3)
    if kind == "lstm":
        return LSTM(WIDTH, 4, hidden=5, bidirectional=bidirectional)
    return Recurrent(WIDTH, 4, hidden=5, kind=kind, bidirectional=bidirectional)  # type: ignore[arg-type]


def step_by_step(layer: nn.Module, kind: str, sets: VectorSets) -> Tensor:
    rows = []
    for values in sets.unpack():
        xs = list(values)
        if not xs:
            continue
        ways = [STEPS[kind](layer.networks[0], xs)]
        if layer.bidirectional:
            ways.append(STEPS[kind](layer.networks[1], xs[::-1])[::-1])
        for states in zip(*ways, strict=True):
            if kind == "jordan":
                rows.append(torch.stack(states).sum(0))
            else:
                rows.append(layer.out.weight @ torch.cat(states) + layer.out.bias)
    return torch.stack(rows)


def compare(found: Tensor, expected: Tensor, inputs: list[Tensor]) -> None:
    """Values, and the gradients of a random function of them."""
    torch.testing.assert_close(found, expected)
    above = torch.randn_like(expected)
    for mine, theirs in zip(
        torch.autograd.grad(found, inputs, above), torch.autograd.grad(expected, inputs, above), strict=True
    ):
        torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", STEPS)
def test_recurrences_equal_their_formulas_step_by_step_with_gradients(kind: str, bidirectional: bool) -> None:
    layer = recurrent(kind, bidirectional).double()
    for parameter in layer.parameters():  # so that no vector that starts at zero is left unseen
        nn.init.uniform_(parameter, -0.7, 0.7)
    sets = some_sets(*LENGTHS)
    compare(layer(sets).values, step_by_step(layer, kind, sets), [sets.values, *layer.parameters()])


def test_an_lstm_worked_out_by_hand() -> None:
    """All gates at 1/2 and all inputs at tanh(x): c_1 = tanh(1) / 2, c_2 = c_1 / 2 + tanh(2) / 2, y = tanh(c) / 2."""
    layer = LSTM(1, hidden=1).double()
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    layer.networks[0].weight_ih_l0.data[2] = 1.0
    layer.out.weight.data.fill_(1.0)
    found = layer(VectorSets.pack([torch.tensor([[1.0], [2.0]], dtype=torch.float64)])).values.flatten().tolist()
    first = math.tanh(1) / 2
    assert found == pytest.approx([math.tanh(first) / 2, math.tanh(first / 2 + math.tanh(2) / 2) / 2])


@pytest.mark.parametrize(
    ("left", "right", "step"), [(1, 1, 1), (0, 2, 1), (3, 0, 2), (0, 0, 1), (2, 5, 3), (20, 20, 1)]
)
def test_convolution_equals_the_sum_over_its_taps_with_gradients(left: int, right: int, step: int) -> None:
    layer = Convolution(WIDTH, left, right, width=4, step=step).double()
    nn.init.normal_(layer.bias)
    sets = some_sets(*LENGTHS)
    rows = []
    for x in sets.unpack():
        for i in range(len(x)):
            there = [r for r in range(-left, right + 1) if 0 <= i + step * r < len(x)]
            rows.append(layer.bias + torch.stack([layer.taps[:, :, r + left] @ x[i + step * r] for r in there]).sum(0))
    compare(layer(sets).values, torch.stack(rows), [sets.values, *layer.parameters()])


def test_convolution_without_dilation_is_the_linear_layer_of_a_window() -> None:
    convolution, window = Convolution(WIDTH, 2, 1).double(), WindowedLinear(WIDTH, 2, 1).double()
    window.linear.weight.data.copy_(convolution.taps.permute(0, 2, 1).flatten(1))
    window.linear.bias.data.copy_(convolution.bias)
    sets = some_sets(*LENGTHS)
    torch.testing.assert_close(convolution(sets).values, window(sets).values)


@pytest.mark.parametrize(("left", "right"), [(40, 40), (40, 1), (0, 22), (21, 21)])
def test_a_window_wider_than_every_set_costs_nothing_and_changes_nothing(left: int, right: int) -> None:
    layer = WindowedLinear(WIDTH, left, right, width=4).double()
    sets = some_sets(*LENGTHS)
    rows = []
    for x in sets.unpack():
        padded = torch.cat([x.new_zeros(left, WIDTH), x, x.new_zeros(right, WIDTH)])
        rows += [layer.linear(padded[i : i + left + right + 1].flatten()) for i in range(len(x))]
    compare(layer(sets).values, torch.stack(rows), [sets.values, *layer.parameters()])
    widest = max(key[1] + key[2] for key in sets.layout.derived if isinstance(key, tuple) and key[0] == "neighbors")
    assert widest <= 2 * (max(LENGTHS) - 1)


MIXERS = {
    "convolution": lambda: Convolution(WIDTH, 2, 1),
    "dilated": lambda: Convolution(WIDTH, 1, 2, step=3),
    "window": lambda: WindowedLinear(WIDTH, 30, 30),
    **{
        f"{kind}{' both ways' if both else ''}": lambda kind=kind, both=both: recurrent(kind, both)
        for kind in STEPS
        for both in (False, True)
    },
}


@pytest.fixture(params=MIXERS)
def mixer(request: pytest.FixtureRequest) -> nn.Module:
    return MIXERS[request.param]().double()


def test_a_set_alone_is_the_set_in_a_batch(mixer: nn.Module) -> None:
    sets = some_sets(*LENGTHS)
    together = mixer(sets)
    assert together.values.shape == (sum(LENGTHS), mixer.width)
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, mixer(alone).values)


def test_no_set_hears_of_another_not_even_of_its_nan(mixer: nn.Module) -> None:
    sets = some_sets(*LENGTHS)
    whole = mixer(sets).values
    spoilt = sets.values.detach().clone()
    spoilt[sets.layout.set_of_row == 3] = torch.nan
    spoilt.requires_grad_()
    found = mixer(sets.with_values(spoilt)).values
    others = sets.layout.set_of_row != 3
    torch.testing.assert_close(found[others], whole[others], rtol=0, atol=0)
    (gradient,) = torch.autograd.grad(found.sum(), spoilt)
    assert gradient[others].isfinite().all()


def test_the_context_is_what_a_vector_depends_on(mixer: nn.Module) -> None:
    """Its gradient reaches as far as it says, and no further."""
    sets = some_sets(40)
    out = mixer(sets).values
    (gradient,) = torch.autograd.grad(out[20].sum(), sets.values)
    reached = gradient.abs().sum(1).nonzero().flatten()
    before, behind = mixer.context
    assert 20 - reached[0] == min(before, 20)
    assert reached[-1] - 20 == min(behind, 19)


def test_batches_without_vectors_and_without_sets_pass_through(mixer: nn.Module) -> None:
    for lengths in ((), (0, 0)):
        assert mixer(some_sets(*lengths)).values.shape == (0, mixer.width)


def test_layouts_of_inference_serve_training(mixer: nn.Module) -> None:
    sets = some_sets(*LENGTHS)
    with torch.inference_mode():
        mixer(sets)
    mixer(sets).values.sum().backward()
    assert sets.values.grad is not None


@pytest.mark.unpoisoned
def test_two_runs_agree_to_the_last_bit(mixer: nn.Module) -> None:
    layer, found = mixer.float(), []
    for _ in range(2):
        sets = some_sets(9, 40, 17, 0, 40, 33, dtype=torch.float32)
        out = layer(sets).values
        found.append([out, *torch.autograd.grad(out.square().sum(), [sets.values, *layer.parameters()])])
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor that is not a leaf"
)  # of torch, where a graph breaks
def test_compiled_code_gives_the_same(mixer: nn.Module) -> None:
    torch._dynamo.reset()
    compiled = torch.compile(mixer, backend="eager", fullgraph=not hasattr(mixer, "networks"))
    for lengths in ((3, 9), LENGTHS, (4, 0)):
        sets = some_sets(*lengths)
        torch.testing.assert_close(compiled(sets).values, mixer(sets).values)


@pytest.mark.parametrize("kind", STEPS)
def test_recurrences_stay_in_float32_under_autocast(kind: str) -> None:
    layer, sets = recurrent(kind, bidirectional=True), some_sets(*LENGTHS, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(sets).values
    torch.testing.assert_close(found.float(), layer(sets).values, rtol=0.02, atol=0.02)


@pytest.mark.parametrize("kind", STEPS)
def test_a_set_that_continues_is_refused(kind: str) -> None:
    layout = Layout(torch.tensor([0, 2, 5]), starts=torch.tensor([0, 4]))
    with pytest.raises(InputError, match="set 1 begins at index 4, expected sets from their beginning on"):
        recurrent(kind, bidirectional=False)(VectorSets(torch.ones(5, WIDTH), layout))


def test_layers_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="Convolution has left -1, expected at least 0"):
        Convolution(4, -1, 1)
    with pytest.raises(InputError, match="Convolution has step 0, expected at least 1"):
        Convolution(4, 1, 1, step=0)
    with pytest.raises(InputError, match="LSTM has hidden 0, expected at least 1"):
        LSTM(4, hidden=0)
    with pytest.raises(InputError, match="of kind 'gru', expected 'elman' or 'jordan'"):
        Recurrent(4, kind="gru")  # type: ignore[arg-type]


def test_the_forget_gate_starts_open_and_memory_neither_shrinks_nor_grows() -> None:
    (network,) = LSTM(WIDTH, hidden=5).networks
    assert (network.bias_ih_l0 + network.bias_hh_l0).tolist() == [0] * 5 + [1] * 5 + [0] * 10
    for matrix in network.weight_hh_l0.chunk(4):
        torch.testing.assert_close(matrix @ matrix.T, torch.eye(5))
