"""`edges` packs once a tensor that is queries, keys or values at once, and gives each its gradient where one is asked for."""

from itertools import product

import pytest
import torch
from torch import Tensor

from regard.attention import Additive, Attention, Dot, Edges, Separable, attend
from regard.sets import Layout

SCORES = [Dot(), Additive("leaky_relu"), Additive(), Separable(), Separable(edges=2), Additive("leaky_relu", edges=2)]


def graph() -> Layout:
    generator = torch.Generator().manual_seed(3)
    edges = (torch.rand(9, 9, generator=generator) < 0.5).nonzero().T
    inside = edges[:, (edges[0] < 4) == (edges[1] < 4)]
    values = torch.randn(inside.shape[1], 2, generator=generator, dtype=torch.float64)
    return Layout(torch.tensor([0, 4, 9]), edges=inside, edge_values=values)


def results(score: object, one: str, asked: tuple[bool, ...], heads: int, executor: str) -> list[Tensor | None]:
    generator = torch.Generator().manual_seed(4)

    def drawn(shape: tuple[int, ...], learned: bool) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_(learned)

    attention = Attention(score=score, pattern=Edges())  # type: ignore[arg-type]
    leaves = [drawn((9, heads, 8), each) for each in asked[:3]]
    parameters = {name: drawn(shape, asked[3]) for name, shape in attention.parameters(heads, 8, 8).items()}
    q, k, v = (1.5 * leaf for leaf in leaves)
    k = q if one in ("qk", "qkv") else k
    v = {"qkv": q, "kv": k, "qv": q}.get(one, v)
    out = attend(attention, q, k, v, graph(), None, parameters, executor=executor)
    wanted = [x for x in (*leaves, *parameters.values()) if x.requires_grad]
    return [out, *torch.autograd.grad(out.cos().sum(), wanted, allow_unused=True)] if out.requires_grad else [out]


@pytest.mark.parametrize("one", ["", "qk", "kv", "qv", "qkv"])
@pytest.mark.parametrize("score", SCORES, ids=repr)
def test_all_that_asks_has_its_gradient_and_nothing_else(score: object, one: str) -> None:
    for asked in product([True, False], repeat=4):
        for heads in (2, 3):
            given = results(score, one, asked, heads, "edges"), results(score, one, asked, heads, "blocks")
            for found, true in zip(*given, strict=True):
                assert (found is None or not found.any()) if true is None else torch.allclose(found, true, atol=1e-10)
