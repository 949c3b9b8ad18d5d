"""A convolution turned into self-attention against torch's own, picture by picture, and heads whose centers move."""

import pytest
import torch
from torch import Tensor, nn

from regard import InputError, VectorSets
from regard.attention import Everyone
from regard.layers.centered import CenteredAttention, ConvolutionAsAttention, convolution_as_attention
from tests.layers.pictures2d import pictures_of

PICTURES = ((7, 9), (5, 5), (0, 0), (6, 11), (9, 5))


def convolved(conv: nn.Conv2d, sets: VectorSets, sizes: tuple[tuple[int, int], ...]) -> Tensor:
    """What torch makes of each picture, row by row."""
    parts = [
        conv(values.T.view(1, -1, h, w))[0].flatten(1).T
        for values, (h, w) in zip(sets.unpack(), sizes, strict=True)
        if h and w
    ]
    return torch.cat(parts)


CONVOLUTIONS = {
    "3 x 3": {"kernel_size": 3, "padding": 1},
    "5 x 5": {"kernel_size": 5, "padding": 2},
    "1 x 1": {"kernel_size": 1},
    "3 x 5, without bias": {"kernel_size": (3, 5), "padding": (1, 2), "bias": False},
    "stride": {"kernel_size": 3, "padding": 1, "stride": 2},
    "stride per axis": {"kernel_size": 5, "padding": 2, "stride": (3, 2)},
    "dilation": {"kernel_size": 3, "padding": 2, "dilation": 2},
    "dilation and stride": {"kernel_size": 3, "padding": (3, 2), "dilation": (3, 2), "stride": (1, 2)},
    "no padding": {"kernel_size": 3},
    "much padding": {"kernel_size": 3, "padding": 4, "stride": 2},
    "valid": {"kernel_size": (4, 2), "padding": "valid"},
    "same, even": {"kernel_size": (2, 4), "padding": "same"},
    "patches": {"kernel_size": 2, "stride": 2},
}
MODES = ("replicate", "zeros")


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_attention_equals_the_convolution_with_gradients(name: str, mode: str) -> None:
    for kind, exact in ((torch.float64, 1e-10), (torch.float32, 1e-5)):
        torch.manual_seed(2)
        conv = nn.Conv2d(3, 4, **CONVOLUTIONS[name], padding_mode=mode, dtype=kind)
        layer = convolution_as_attention(conv)
        sets = pictures_of(*PICTURES, kind=kind)
        leaf = sets.values.clone().requires_grad_()
        found = layer(sets.with_values(leaf)).values
        expected = convolved(conv, sets.with_values(leaf), PICTURES)
        torch.testing.assert_close(found, expected, rtol=0, atol=exact)
        above = torch.randn_like(expected)
        biases = [] if conv.bias is None else [(layer.out.bias, conv.bias)]
        ours = torch.autograd.grad(found, [leaf, layer.out.weight, *(bias for bias, _ in biases)], above)
        theirs = torch.autograd.grad(expected, [leaf, conv.weight, *(bias for _, bias in biases)], above)
        of_taps = theirs[1].permute(0, 2, 3, 1).flatten(1)
        for mine, other in zip(ours, (theirs[0], of_taps, *theirs[2:]), strict=True):
            # A gradient of a tap is a sum over all vectors.
            torch.testing.assert_close(mine, other, rtol=0, atol=exact * max(1, float(other.detach().abs().max())))


@pytest.mark.parametrize("groups", [2, 4])
def test_groups_have_zeros_between_them(groups: int) -> None:
    conv = nn.Conv2d(4, 8, 3, padding=1, groups=groups, dtype=torch.float64)
    sets = pictures_of((4, 6), width=4)
    torch.testing.assert_close(convolution_as_attention(conv)(sets).values, convolved(conv, sets, ((4, 6),)))


@pytest.mark.parametrize("mode", MODES)
def test_each_tap_reads_one_vector_and_at_the_corners_the_nearest(mode: str) -> None:
    """A convolution of which one tap is 1 moves the picture; beyond the border are its last vectors, or zeros."""
    sets = pictures_of((4, 5), width=1)
    picture = sets.values.view(4, 5)
    for row in range(5):
        for column in range(5):
            conv = nn.Conv2d(1, 1, 5, padding=2, padding_mode=mode, bias=False, dtype=torch.float64)
            with torch.no_grad():
                conv.weight.zero_()[0, 0, row, column] = 1
            r, c = torch.arange(4) + row - 2, torch.arange(5) + column - 2
            expected = picture[r.clamp(0, 3)][:, c.clamp(0, 4)]
            if mode == "zeros":
                inside = ((r >= 0) & (r < 4))[:, None] & ((c >= 0) & (c < 5))
                expected = expected * inside
            assert torch.equal(convolution_as_attention(conv)(sets).values.view(4, 5), expected)


def test_the_pattern_of_the_taps_leaves_out_nothing_that_any_tap_reads() -> None:
    """Attention over all vectors, the paper's, gives the same."""
    for name, options in CONVOLUTIONS.items():
        conv = nn.Conv2d(3, 2, **options, padding_mode="replicate", dtype=torch.float64)
        sets = pictures_of(*PICTURES)
        everyone = convolution_as_attention(conv, pattern=Everyone())(sets).values
        torch.testing.assert_close(convolution_as_attention(conv)(sets).values, everyone, msg=name)


def test_layers_stack_as_convolutions_do_and_the_order_of_vectors_is_free() -> None:
    torch.manual_seed(0)
    first = nn.Conv2d(3, 4, 3, padding=1, stride=2, padding_mode="replicate", dtype=torch.float64)
    second = nn.Conv2d(4, 2, 3, padding=1, dtype=torch.float64)
    sets = pictures_of((7, 8))
    both = nn.Sequential(convolution_as_attention(first), convolution_as_attention(second))
    expected = second(first(sets.values.T.view(1, 3, 7, 8)))[0].flatten(1).T
    torch.testing.assert_close(both(sets).values, expected)
    order = torch.randperm(56)
    assert sets.layout.coords is not None
    mixed = VectorSets.pack([sets.values[order]], coords=[sets.layout.coords[order] + torch.tensor([40.0, -3.0])])
    torch.testing.assert_close(both(mixed).values, expected)
    torch.testing.assert_close(both[0](mixed).layout.coords, torch.cartesian_prod(torch.arange(4.0), torch.arange(4.0)))


def test_a_network_of_half_precision_is_as_near_as_its_numbers() -> None:
    conv = nn.Conv2d(3, 4, 3, padding=1, padding_mode="replicate").bfloat16()
    sets = pictures_of(*PICTURES, kind=torch.bfloat16)
    exact = convolved(conv.double(), sets.with_values(sets.values.double()), PICTURES)
    found = convolution_as_attention(conv.bfloat16())(sets).values
    torch.testing.assert_close(found.double(), exact, rtol=0, atol=0.02)


def test_pictures_in_a_batch_do_not_hear_of_each_other() -> None:
    layer = convolution_as_attention(nn.Conv2d(3, 2, 3, padding=2, stride=2, padding_mode="replicate").double())
    sets = pictures_of(*PICTURES)
    spoilt = sets.values.clone()
    spoilt[sets.layout.set_of_row == 1] = torch.nan
    together, others = layer(sets), layer(sets.with_values(spoilt))
    for b in (0, 2, 3, 4):
        assert torch.equal(together[b].values, others[b].values)


def test_learned_centers_get_the_gradients_of_finite_differences() -> None:
    torch.manual_seed(1)
    conv = nn.Conv2d(2, 2, 3, padding=1, padding_mode="replicate", dtype=torch.float64)
    layer = convolution_as_attention(conv, sharpness=0.7, pattern=Everyone())
    sets, learned = pictures_of((3, 4), width=2), layer.attend.learned

    def value(centers: Tensor, sharpness: Tensor) -> Tensor:
        names = {"attend.learned.bias_centers": centers, "attend.learned.bias_sharpness": sharpness}
        return torch.func.functional_call(layer, names, (sets,)).values.square().sum()

    given = [learned[name].detach().clone().requires_grad_() for name in ("bias_centers", "bias_sharpness")]
    assert torch.autograd.gradcheck(value, given)
    assert all(float(gradient.abs().max()) > 1e-3 for gradient in torch.autograd.grad(value(*given), given))


def test_a_head_finds_the_shift_of_a_picture() -> None:
    torch.manual_seed(0)
    sets = pictures_of((8, 8), width=1)
    moved = sets.values.view(8, 8)[(torch.arange(8) + 1).clamp(max=7)][:, (torch.arange(8) - 2).clamp(min=0)].view(
        64, 1
    )
    layer = CenteredAttention(1, heads=1, bias=False).double()
    with torch.no_grad():
        layer.out.weight.fill_(1)
        layer.attend.learned["bias_sharpness"].fill_(0.3)
        layer.attend.learned["bias_centers"].copy_(torch.tensor([[0.3, -0.8]]))
    optimizer = torch.optim.Adam(layer.parameters(), 0.05)
    for _ in range(300):
        loss = (layer(sets).values - moved).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert layer.attend.learned["bias_centers"].detach().round().tolist() == [[1.0, -2.0]]


def test_what_is_no_picture_or_no_convolution_is_refused() -> None:
    layer = convolution_as_attention(nn.Conv2d(3, 2, 3))
    sets = pictures_of((4, 5), (3, 3), kind=torch.float32)
    coords = sets.layout.coords
    assert coords is not None
    parts = [sets.values[:20], sets.values[20:]]

    def refused(match: str, *places: Tensor) -> None:
        with pytest.raises(InputError, match=match):
            layer(VectorSets.pack(parts, coords=list(places)))

    second = coords[20:].clone()
    second[4, 1] += 0.5
    refused(r"vector 4 of set 1 lies at \(1, 1.5\), no whole number", coords[:20], second)
    second[4, 1] = torch.nan
    refused(r"vector 4 of set 1 lies at \(1, nan\), no whole number", coords[:20], second)
    second[4] = second[0]
    refused(r"vector 4 of set 1 lies at \(0, 0\), where another vector lies", coords[:20], second)
    second[4] = torch.tensor([0.0, 3.0])
    refused(r"set 1 of 3 x 4 cells has 9 vectors, expected one for each cell", coords[:20], second)
    refused("reads rows and columns and the sets have 1 coordinates, expected 2", coords[:20, :1], second[:, :1])
    with pytest.raises(InputError, match="the sets have 0 coordinates, expected 2"):
        layer(VectorSets.pack(parts))
    with pytest.raises(
        InputError, match="set 1 is a picture of 2 x 2 cells, expected at least 3 x 3 for this convolution"
    ):
        layer(pictures_of((4, 5), (2, 2), kind=torch.float32))
    with pytest.raises(InputError, match=r"a ConvTranspose2d was given, expected a torch\.nn.Conv2d"):
        convolution_as_attention(nn.ConvTranspose2d(3, 2, 3))  # type: ignore[arg-type]
    for mode in ("reflect", "circular"):
        with pytest.raises(InputError, match=f"padding_mode '{mode}', expected 'replicate' or 'zeros'"):
            convolution_as_attention(nn.Conv2d(3, 2, 3, padding=1, padding_mode=mode))


def test_a_batch_without_any_vector_stays_without() -> None:
    for mode in MODES:
        layer = convolution_as_attention(nn.Conv2d(3, 2, 3, padding=1, stride=2, padding_mode=mode))
        assert isinstance(layer, ConvolutionAsAttention)
        out = layer(pictures_of((0, 0), (0, 0), kind=torch.float32))
        assert out.values.shape == (0, 2)
        assert out.layout.sets == 2
