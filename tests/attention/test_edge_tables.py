"""Tables of `edges` hold vectors with heads innermost, whatever their memory looks like, and give them back."""

import pytest
import torch
from torch import Tensor

from regard.attention.executors.edges import tables

ROWS = 37


def as_table(x: Tensor, scale: float) -> Tensor:
    """`pack` in operators."""
    width = tables.width_of(*x.shape[1:])
    exact = torch.promote_types(x.dtype, torch.float32)
    rows = (x.to(exact) * scale).transpose(1, 2).flatten(1)
    return torch.nn.functional.pad(rows, (0, width - rows.shape[1])).flatten()


def as_they_lie(x: Tensor) -> list[Tensor]:
    """The same vectors in other memory: between others, columns first, heads of a longer tensor."""
    among = torch.full((len(x), 3, *x.shape[1:]), torch.nan, dtype=x.dtype)
    among[:, 1] = x
    longer = torch.full((len(x), x.shape[1] + 2, x.shape[2]), torch.nan, dtype=x.dtype)
    longer[:, 1:-1] = x
    return [x, among[:, 1], x.permute(2, 1, 0).contiguous().permute(2, 1, 0), longer[:, 1:-1]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("d", [1, 5, 8, 16, 48])
@pytest.mark.parametrize("heads", [1, 2, 4, 8, 16])
def test_vectors_go_into_a_table_and_come_back(heads: int, d: int, dtype: torch.dtype) -> None:
    x = torch.randn(ROWS, heads, d, generator=torch.Generator().manual_seed(0)).to(dtype)
    wanted = as_table(x, 0.5)
    for given in as_they_lie(x):
        flat = tables.pack(given, 0.5)
        assert flat.dtype == wanted.dtype
        torch.testing.assert_close(flat[:-16], wanted, rtol=0, atol=0)
        assert not flat[-16:].any()
        torch.testing.assert_close(tables.unpack(flat, x.shape, 2.0, dtype), x, rtol=0, atol=0)


def test_of_no_vectors_there_is_an_empty_table() -> None:
    flat = tables.pack(torch.zeros(0, 4, 8))
    assert flat.tolist() == [0.0] * 16
    assert tables.unpack(flat, (0, 4, 8), 1.0, torch.float32).shape == (0, 4, 8)


@pytest.mark.parametrize("rows", [0, 1, 5000])
@pytest.mark.parametrize("heads", [1, 4, 16])
def test_scores_and_their_gradients_are_those_of_operators(heads: int, rows: int) -> None:
    generator = torch.Generator().manual_seed(1)
    d, number = 20, 2
    x = torch.randn(rows, heads, d, generator=generator, dtype=torch.float64, requires_grad=True)
    w = torch.randn(number, heads, d, generator=generator, dtype=torch.float64, requires_grad=True)
    wanted = torch.einsum("rhd,nhd->nrh", x, w)
    above = torch.randn(wanted.shape, generator=generator, dtype=torch.float64)
    d_x, d_w = torch.autograd.grad(wanted, [x, w], above)
    table, width = tables.pack(x.detach()), tables.width_of(heads, d)
    weights = torch.stack([tables.interleaved(each, width) for each in w.detach()])
    found = tables.scores(table, rows, heads, weights)
    torch.testing.assert_close(found[:, : rows * heads].view(wanted.shape), wanted)
    flat = torch.nn.functional.pad(above.flatten(1), (0, 16))
    d_table, d_weights = tables.scores_back(flat, table, heads, weights)
    torch.testing.assert_close(tables.unpack(d_table, x.shape, 1.0, torch.float64), d_x)
    rows_of_w = [d_weights[n, : heads * d].view(d, heads).t() for n in range(number)]
    torch.testing.assert_close(torch.stack(rows_of_w), d_w)


def test_agreements_are_summed_in_float64() -> None:
    generator = torch.Generator().manual_seed(2)
    rows, heads, width = 9, 4, 64
    above, out = (torch.randn(rows * width + 16, generator=generator) * 1e3 for _ in range(2))
    statistics = torch.ones(rows * 3 * heads + 16)
    tables.agreement(above, out, statistics, rows, heads, width)
    both = (above.double() * out.double())[:-16].view(rows, width // heads, heads).sum(1)
    found = statistics[:-16].view(rows, 3, heads)
    torch.testing.assert_close(found[:, 2], both.float(), rtol=0, atol=0)
    assert (found[:, :2] == 1).all()
