"""FLOATER against a solver of SciPy, finite differences, and the sinusoids that it begins as."""

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend

from regard.data.batch import Batch
from regard.data.encoding import Encoding, Grid
from regard.errors import InputError
from regard.layers.blocks import Block, Stack
from regard.layers.floater import Floater
from regard.layers.mixers import Pointwise
from regard.layers.positions import Sinusoidal
from regard.models.encoder import Encoder
from regard.models.model import Model
from regard.models.pieces import Positions
from regard.models.streaming import Stream
from regard.sets import Layout, VectorSets
from regard.train.kinds import build

WIDTH, LAYERS = 6, 2


def learned(span: float = 0.5, steps: int = 1, seed: int = 0) -> Floater:
    """One whose system is no longer the sinusoids'."""
    torch.manual_seed(seed)
    floater = Floater(WIDTH, LAYERS, hidden=5, span=span, steps=steps).double()
    torch.nn.init.normal_(floater.out.weight)
    torch.nn.init.normal_(floater.start)
    return floater


def places(*numbers: int) -> Layout:
    """Sets of one vector, each at its place."""
    return Layout(torch.arange(len(numbers) + 1), starts=torch.tensor(numbers))


def solved(floater: Floater, place: list[int]) -> np.ndarray:
    """`[layers, t, d]`: dp / dtau = S'(tau) + W_2 tanh(W_1 p + b), by an adaptive method of order eight."""
    frequency = floater.base ** (-np.arange(0, WIDTH, 2) / WIDTH)
    into, bias, out = (x.detach().numpy() for x in (floater.into.weight, floater.into.bias, floater.out.weight))

    def slope(time: float, p: np.ndarray) -> np.ndarray:
        angle = time / floater.span * frequency
        moving = np.stack([np.cos(angle), -np.sin(angle)], -1) * frequency[:, None] / floater.span
        return moving.ravel() + out @ np.tanh(into @ p + bias)

    begin = np.tile([0.0, 1.0], WIDTH // 2)
    times = np.array(place) * floater.span
    return np.stack(
        [
            solve_ivp(slope, (0, times.max()), begin + r, "DOP853", times, rtol=1e-12, atol=1e-12).y.T
            for r in floater.start.detach().numpy()
        ]
    )


def test_positions_solve_the_equation() -> None:
    floater, place = learned(steps=8), [0, 1, 2, 5, 11, 20]
    found = floater(places(*place), len(place)).detach().numpy()
    np.testing.assert_allclose(found, solved(floater, place), rtol=1e-4, atol=1e-4)


def test_half_the_step_leaves_a_sixteenth_of_the_error() -> None:
    """The method's order is four."""
    errors = []
    for steps in (4, 8, 16):
        floater = learned(steps=steps)
        found = floater(places(8), 1).detach().numpy()
        errors.append(np.abs(found - solved(floater, [8])).max())
    assert 10 < errors[0] / errors[1] < 25
    assert 10 < errors[1] / errors[2] < 25


def one_step(floater: Floater, p: Tensor, place: float) -> Tensor:
    """p at the next place, by the formulas of the classical method as they stand in books, on r = p - S."""
    frequency = floater.base ** (-torch.arange(0, WIDTH, 2, dtype=torch.float64) / WIDTH)

    def s(at: float) -> Tensor:
        return torch.stack([(at * frequency).sin(), (at * frequency).cos()], -1).flatten()

    def h(r: Tensor, at: float) -> Tensor:
        return floater.out(floater.into(r + s(at)).tanh())

    r, step = p - s(place), floater.span
    k1 = h(r, place)
    k2 = h(r + step / 2 * k1, place + 0.5)
    k3 = h(r + step / 2 * k2, place + 0.5)
    k4 = h(r + step * k3, place + 1)
    return r + step / 6 * (k1 + 2 * k2 + 2 * k3 + k4) + s(place + 1)


def test_values_and_gradients_are_those_of_the_written_steps() -> None:
    floater = learned()
    expected = [floater.start + torch.tensor([0.0, 1.0] * (WIDTH // 2))]
    for place in range(6):
        expected.append(one_step(floater, expected[-1], place))
    layout = Layout(torch.tensor([0, 4, 4, 7]), starts=torch.tensor([0, 9, 4]))
    picked = torch.stack([expected[place] for place in (0, 1, 2, 3, 4, 5, 6)], 1)
    found = floater(layout, 7)
    torch.testing.assert_close(found, picked)
    weight = torch.randn_like(found)
    parameters = list(floater.parameters())
    ours, theirs = (torch.autograd.grad((x * weight).sum(), parameters) for x in (found, picked))
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("steps", [1, 3])
def test_gradients_equal_finite_differences(steps: int) -> None:
    floater = learned(steps=steps)
    layout = Layout(torch.tensor([0, 3, 3, 7]), starts=torch.tensor([0, 9, 2]))
    names = [name for name, _ in floater.named_parameters()]

    def call(*given: Tensor) -> Tensor:
        found = torch.func.functional_call(floater, dict(zip(names, given, strict=True)), (layout, 7))
        assert isinstance(found, Tensor)
        return found

    assert torch.autograd.gradcheck(call, tuple(floater.parameters()))


def test_a_new_one_is_the_sinusoidal_encoding_in_every_block() -> None:
    layout = Layout(torch.tensor([0, 5, 8]), starts=torch.tensor([0, 40]))
    expected = Sinusoidal(WIDTH)(VectorSets(torch.zeros(8, WIDTH), layout)).values
    torch.testing.assert_close(Floater(WIDTH, LAYERS)(layout, 8), expected.expand(LAYERS, -1, -1))


def test_a_new_one_can_learn() -> None:
    floater = Floater(WIDTH, LAYERS)
    floater(places(0, 3), 2).square().sum().backward()
    assert floater.start.grad is not None
    assert floater.out.weight.grad is not None
    assert floater.start.grad.abs().max() > 0
    assert floater.out.weight.grad.abs().max() > 0


def test_positions_do_not_depend_on_the_other_sets_nor_on_how_often_they_are_asked() -> None:
    floater = learned().float()
    together = floater(Layout(torch.tensor([0, 3, 3, 8, 9]), starts=torch.tensor([0, 2, 7, 100])), 9)
    alone = floater(places(7, 8, 9, 10, 11), 5)
    assert torch.equal(together[:, 3:8], alone)
    gradients = []
    for _ in range(2):
        floater.zero_grad()
        floater(Layout.of_lengths([30, 30, 7]), 67).sin().sum().backward()
        gradients.append([p.grad for p in floater.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))  # type: ignore[arg-type]


def test_places_past_those_of_training_are_solved_for_too() -> None:
    floater = Floater(WIDTH, LAYERS)
    torch.nn.init.normal_(floater.out.weight, std=0.1)
    far = floater(places(5000), 1)
    assert far.isfinite().all()


def test_no_vectors_have_no_positions() -> None:
    floater = learned()
    found = floater(Layout.of_lengths([0, 0]), 0)
    assert found.shape == (LAYERS, 0, WIDTH)
    found.sum().backward()
    assert floater.start.grad is not None
    assert not floater.start.grad.any()


def test_bfloat16_and_autocast_solve_in_float32() -> None:
    exact, layout = Floater(8, 1), Layout.of_lengths([200])
    torch.nn.init.normal_(exact.out.weight, std=0.1)
    rounded = Floater(8, 1)
    rounded.load_state_dict(exact.state_dict())
    rounded = rounded.bfloat16()
    for name, parameter in exact.named_parameters():
        parameter.data.copy_(dict(rounded.named_parameters())[name])
    assert torch.equal(rounded(layout, 200), exact(layout, 200).bfloat16())
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(exact(layout, 200), exact(layout, 200))
        inside = exact(layout, 200)
    assert torch.equal(inside, exact(layout, 200))


# From torch 2.14 on, torch's own check reads the gradient of tensors that keep none.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_it_is_an_operator_that_torch_can_trace() -> None:
    floater = learned()
    parameters = tuple(p.detach().requires_grad_() for p in floater.parameters())
    torch.library.opcheck(torch.ops.regard.floater, (*parameters, torch.tensor([0, 1, 4, 2]), 0.5, 2, 10000.0))


def test_one_graph_serves_all_sizes() -> None:
    torch._dynamo.reset()
    floater = learned()
    counter = CompileCounterWithBackend("aot_eager")
    compiled = torch.compile(lambda sets: floater(sets.layout, sets.values.shape[0]), backend=counter, fullgraph=True)
    for sizes in ((3, 4), (5, 2, 7), (2, 0, 9)):
        sets = VectorSets.pack([torch.zeros(n, 1) for n in sizes])
        found, expected = compiled(sets), floater(sets.layout, sum(sizes))
        torch.testing.assert_close(found, expected)
        ours, theirs = (torch.autograd.grad(x.square().sum(), floater.start) for x in (found, expected))
        torch.testing.assert_close(ours, theirs)
    assert counter.frame_count <= 2


def test_what_does_not_fit_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="width 5, expected an even number"):
        Floater(5, 1)
    with pytest.raises(InputError, match="Floater has steps 0, expected at least 1"):
        Floater(4, 1, steps=0)
    with pytest.raises(InputError, match="starts at place -2, expected 0 or more"):
        Floater(4, 1)(places(3, -2), 2)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_each_mixer_reads_the_positions_of_its_block(norm: str) -> None:
    """Two blocks written out; the residual stream stays free of positions."""
    torch.manual_seed(0)
    blocks = [Block(Pointwise(WIDTH), torch.nn.Identity(), WIDTH, norm).double() for _ in range(LAYERS)]  # type: ignore[arg-type]
    floater, sets = learned(), VectorSets.pack([torch.randn(n, WIDTH, dtype=torch.float64) for n in (4, 2)])
    added = floater(sets.layout, 6)
    x = sets.values
    for block, position in zip(blocks, added, strict=True):
        if norm == "pre":
            x = x + block.mixer.linear(block.norm_mixer(x) + position)
            x = x + block.norm_feed_forward(x)
        else:
            x = block.norm_mixer(x + block.mixer.linear(x + position))
            x = block.norm_feed_forward(x + x)
    stack = Stack(blocks, WIDTH, final_norm=False)
    torch.testing.assert_close(stack(sets, added).values, x)


def encoder(**options: object) -> Model:
    torch.manual_seed(0)
    config = Encoder(
        width=WIDTH, layers=LAYERS, heads=2, feed_forward=8, dropout=0.0, positions=Positions("floater"), **options
    )  # type: ignore[arg-type]
    model: Model = build(config, Encoding(width=3)).double().eval()
    assert model.positions.floater is not None
    torch.nn.init.normal_(model.positions.floater.out.weight)
    return model


def test_an_encoder_with_it_gives_each_set_what_it_gives_it_alone_and_knows_the_order() -> None:
    model, sets = encoder(), VectorSets.pack([torch.randn(n, 3, dtype=torch.float64) for n in (5, 0, 1, 9)])
    together = model(Batch(sets))
    for b, alone in enumerate(sets):
        torch.testing.assert_close(together[b].values, model(Batch(alone)).values)
    turned = model(Batch(VectorSets.pack([sets[3].values.flip(0)]))).values.flip(0)
    assert (turned - together[3].values).abs().max() > 1e-3


def test_a_stream_goes_on_with_the_positions() -> None:
    model = encoder(attention="Attention(pattern=Window(2, 1))")
    frames, stream = torch.randn(40, 3, dtype=torch.float64), Stream(model)
    pieces = torch.cat([stream.accept(piece) for piece in frames.split([7, 1, 20, 12])] + [stream.finish()])
    with torch.no_grad():
        torch.testing.assert_close(pieces, model(Batch(VectorSets.pack([frames]))).values)


def test_an_encoder_of_pictures_refuses_it() -> None:
    with pytest.raises(InputError, match="have 2 coordinates, expected none: FLOATER goes along one order"):
        build(Encoder(width=8, heads=2, positions=Positions("floater")), Encoding(width=3, grid=Grid(2)))
