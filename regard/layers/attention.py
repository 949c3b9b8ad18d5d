"""Self- and cross-attention as layers: projections around the one verb."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from regard.attention.attend import attend
from regard.attention.dropout import Dropout
from regard.attention.spec.attention import Attention
from regard.errors import InputError
from regard.sets import Layout, VectorSets

__all__ = ["Attend", "CrossAttention", "SelfAttention"]

Rotation = Callable[[Tensor, Layout], Tensor]


class Attend(nn.Module):
    """`attend` with its learned tensors; every attention of a model runs through one, so that a hook on it sees everything.

    Args:
        attention: the specification.
        heads: of the queries.
        d: width of queries and keys.
        e: width of values, d where None.
        dropout: probability on the normalized weights while training.
        executor: a name, to run this one and no other; None lets the plan choose.
    """

    def __init__(
        self,
        attention: Attention,
        heads: int,
        d: int,
        e: int | None = None,
        dropout: float = 0.0,
        executor: str | None = None,
    ) -> None:
        super().__init__()
        self.attention = attention
        self.dropout = dropout
        self.executor = executor
        shapes = attention.parameters(heads, d, e)
        # Learned vectors start small, so that at first every allowed key is heard about alike.
        self.learned = nn.ParameterDict(
            {name: nn.Parameter(torch.randn(shape) * 0.1) for name, shape in shapes.items()}
        )

    def forward(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout, key_layout: Layout | None = None) -> Tensor:
        """`[t, h, e]` for q `[t, h, d]`, k `[u, g, d]`, v `[u, g, e]`."""
        drop = Dropout.draw(self.dropout) if self.training and self.dropout else None
        learned = {name: tensor.to(q.dtype) for name, tensor in self.learned.items()}
        return attend(self.attention, q, k, v, layout, key_layout, learned, dropout=drop, executor=self.executor)

    def extra_repr(self) -> str:
        return f"{self.attention!r}, dropout={self.dropout}"


class SelfAttention(nn.Module):
    """Multi-head self-attention: out = W_o [head_1; ...; head_h] with head = attend(W_q x, W_k x, W_v x).

    Source: Vaswani et al. 2017, section 3.2.2; with fewer key heads than heads, Ainslie et al. 2023 (grouped queries).

    Args:
        width: of the vectors, in and out.
        heads: of the queries; a divisor of the width.
        attention: the specification.
        key_heads: of keys and values, a divisor of `heads`; None means as many.
        rotation: what turns queries and keys by their positions (`Rotary`), or None.
        dropout: probability on the normalized weights while training.
        bias: whether the projections add a learned vector.
        width_in: of the vectors that come in, where it is another; None means `width`.

    Raises:
        InputError: widths and heads that do not divide.

    >>> layer = SelfAttention(8, 2)
    >>> layer(VectorSets.pack([torch.ones(3, 8), torch.ones(1, 8)]))
    VectorSets(values [4, 8] float32, 2 sets)
    """

    def __init__(
        self,
        width: int,
        heads: int,
        attention: Attention | None = None,
        key_heads: int | None = None,
        rotation: Rotation | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        width_in: int | None = None,
    ) -> None:
        super().__init__()
        self.width, self.heads, self.key_heads = width, heads, key_heads or heads
        self.d = _divide(width, heads, self.key_heads)
        self.rotation = rotation
        self.project = nn.Linear(width_in or width, (heads + 2 * self.key_heads) * self.d, bias=bias)
        self.attend = Attend(attention or Attention(), heads, self.d, dropout=dropout)
        self.out = nn.Linear(width, width, bias=bias)
        _start(self.out, width)
        _start(self.project, heads * self.d, self.key_heads * self.d, self.key_heads * self.d)

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and behind one it looks at."""
        before, behind = zip(*(pattern.extent for pattern in self.attend.attention.patterns), strict=True)
        return max(before), max(behind)

    def forward(self, sets: VectorSets) -> VectorSets:
        projected = self.project(sets.values).unflatten(-1, (-1, self.d))
        q, k, v = projected.split([self.heads, self.key_heads, self.key_heads], dim=1)
        if self.rotation is not None:
            q, k = self.rotation(q, sets.layout), self.rotation(k, sets.layout)
        return sets.with_values(self.out(self.attend(q, k, v, sets.layout).flatten(1)))


class CrossAttention(nn.Module):
    """Multi-head attention whose queries come from one batch of sets and whose keys and values from another: set b to set b.

    Args:
        width: of the queries' vectors, in and out.
        heads: of the queries; a divisor of the width.
        memory_width: of the other vectors; None means as wide.
        attention, dropout, bias: as in `SelfAttention`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        memory_width: int | None = None,
        attention: Attention | None = None,
        dropout: float = 0.0,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.d = _divide(width, heads, heads)
        self.project_query = nn.Linear(width, width, bias=bias)
        self.project_memory = nn.Linear(memory_width or width, 2 * width, bias=bias)
        self.attend = Attend(attention or Attention(), heads, self.d, dropout=dropout)
        self.out = nn.Linear(width, width, bias=bias)
        _start(self.out, width)
        _start(self.project_query, width)
        _start(self.project_memory, width, width)

    def forward(self, sets: VectorSets, memory: VectorSets) -> VectorSets:
        q = self.project_query(sets.values).unflatten(-1, (self.heads, self.d))
        k, v = self.project_memory(memory.values).unflatten(-1, (-1, self.d)).chunk(2, dim=1)
        return sets.with_values(self.out(self.attend(q, k, v, sets.layout, memory.layout).flatten(1)))


def _divide(width: int, heads: int, key_heads: int) -> int:
    if heads < 1 or width % heads or key_heads < 1 or heads % key_heads:
        found = f"width {width}, {heads} heads and {key_heads} key heads"
        raise InputError(f"attention has {found}, expected heads to divide the width and key heads the heads")
    return width // heads


def _start(linear: nn.Linear, *parts: int) -> None:
    """Each of the matrices that lie in one starts as if it stood alone (Glorot uniform), its added vector at zero."""
    for matrix in linear.weight.split(list(parts)):
        nn.init.xavier_uniform_(matrix)
    if linear.bias is not None:
        nn.init.zeros_(linear.bias)
