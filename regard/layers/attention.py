"""Self- and cross-attention as layers: projections around the one verb, or around any module that has its call."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from regard.attention.adapters.base import START, Adapter, check_attention
from regard.attention.adapters.globals import Globals
from regard.attention.adapters.remember import Remember
from regard.attention.adapters.states import begin
from regard.attention.dropout import Dropout
from regard.attention.problem import Tensors
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Everyone
from regard.attention.verb import attend
from regard.errors import InputError
from regard.layers.checks import checked
from regard.layers.global_projections import GlobalProjections
from regard.layers.linear import Linear, linear
from regard.layers.memory import Recalled
from regard.layers.states import LayerState, Projected
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float, Shaped

__all__ = ["Attend", "CrossAttention", "SelfAttention", "mark_learned", "orderless"]

# Of one layer's attention beside its projections: 4 GiB of float32.
_MOST_NUMBERS = 1 << 30

Rotation = Callable[[Tensor, Layout], Tensor]


@checked()
class Attend(nn.Module):
    """`attend` with its learned tensors; every attention of a model runs through one, so that a hook on it sees everything.

    Args:
        attention: the specification, or an adapter.
        heads: of the queries.
        d: width of queries and keys.
        e: width of values, d where None.
        dropout: probability on the normalized weights while training; nothing is dropped of linear attention, see `SelfAttention`.
        executor: a name, to run this one and no other; None lets the plan choose.
    """

    def __init__(
        self,
        attention: Attention | Adapter,
        heads: int,
        d: int,
        e: int | None = None,
        dropout: float = 0.0,
        executor: str | None = None,
    ) -> None:
        super().__init__()
        self.attention, self.d, self.e = attention, d, e
        self.learned_vectors: frozenset[Literal["queries", "keys"]] = frozenset()
        """Which of them stand for no vector of a set; see `mark_learned`."""
        self.executor = executor
        check_attention(attention)
        self.dropout = 0.0 if attention.linear else dropout
        shapes = attention.parameters(heads, d, e)
        numbers = sum(math.prod(shape) for shape in shapes.values())
        if numbers > _MOST_NUMBERS:
            raise InputError(f"{attention.text} learns {numbers:,} numbers, expected at most {_MOST_NUMBERS:,}")
        deviations = {
            name: attention.deviation(name, shape) if isinstance(attention, Adapter) else START
            for name, shape in shapes.items()
        }
        begun = {name: torch.randn(shape) * deviations[name] for name, shape in shapes.items()}
        averages = attention.averages if isinstance(attention, Adapter) else ()
        self.learned = nn.ParameterDict({name: nn.Parameter(x) for name, x in begun.items() if name not in averages})
        for name in averages:
            self.register_buffer(name, begun[name])

    @property
    def parameters_of_attention(self) -> dict[str, Shaped[Tensor, " ..."]]:
        """All tensors that the attention names: those that are learned, and those that follow what the layer sees."""
        return {**self.learned, **dict(self.named_buffers(recurse=False))}

    @property
    def extent(self) -> tuple[float, float]:
        """How many places before a query, and after it, lies what it depends on."""
        return self.attention.extent

    def forward(
        self,
        q: Float[Tensor, "t h d"],
        k: Float[Tensor, "u g d"],
        v: Float[Tensor, "u g e"],
        layout: Layout,
        key_layout: Layout | None = None,
        state: LayerState | None = None,
    ) -> Float[Tensor, "t h e"]:
        """`[t, h, e]` for q `[t, h, d]`, k `[u, g, d]`, v `[u, g, e]`; with a state, for the next vectors of sets that grow."""
        drop = Dropout.draw(self.dropout) if self.training and self.dropout else None
        learned = {name: tensor.to(q.dtype) for name, tensor in self.learned.items()}
        # Copies, since backward passes may read them after the originals have moved.
        followed = {name: tensor.clone() for name, tensor in self._buffers.items() if tensor is not None}
        learned |= followed
        if state is not None:
            if drop is not None:
                raise InputError("a layer in training, with dropout, was given a state, expected one that infers")
            return state.attend(self._verb, Tensors(q, k, v, learned), layout)
        if followed and self.training:
            self._follow(Tensors(q, k, v, followed))
        return attend(self.attention, q, k, v, layout, key_layout, learned, dropout=drop, executor=self.executor)

    @torch.no_grad()
    def _follow(self, tensors: Tensors) -> None:
        """Move the tensors that follow what the layer sees."""
        assert isinstance(self.attention, Adapter)
        for name, moved in self.attention.follow(tensors).items():
            getattr(self, name).copy_(moved)

    def _verb(
        self,
        attention: Attention,
        tensors: Tensors,
        layout: Layout,
        key_layout: Layout | None = None,
        dropout: Dropout | None = None,
    ) -> Tensor:
        q, k, v = tensors.q, tensors.k, tensors.v
        return attend(
            attention, q, k, v, layout, key_layout, tensors.parameters, dropout=dropout, executor=self.executor
        )

    def new_state(self, sets: int, key_heads: int, like: Shaped[Tensor, " ..."]) -> LayerState:
        """The state of sets without any vector yet, whose vectors will be of the type and on the device of a tensor.

        Raises:
            InputError: an attention that looks at later vectors; see `Remember`.
        """
        attention = self.attention
        if isinstance(attention, Adapter) and not isinstance(attention, Remember):
            raise InputError(f"{attention.text} remembers nothing, expected an attention that looks back only")
        remember = Remember(attention) if isinstance(attention, Attention) else attention
        return LayerState(begin(remember, sets, key_heads, self.d, self.e, like.dtype, like.device), sets, like.device)

    def extra_repr(self) -> str:
        return f"{self.attention!r}, dropout={self.dropout}"


@checked()
class SelfAttention(nn.Module):
    """Multi-head self-attention: out = W_o [head_1; ...; head_h] with head = attend(W_q x, W_k x, W_v x).

    Source: Vaswani et al. 2017, section 3.2.2; with fewer key heads than heads, Ainslie et al. 2023 (grouped queries).

    Args:
        width: of the vectors, in and out.
        heads: of the queries; a divisor of the width.
        attention: what attends: a specification, an adapter, or a module with the call of `Attend`, whose dropout is
            its own. Where an adapter is `shared`, keys are the queries and have no projection; for `Globals` the layer has
            further projections (`regard.layers.global_projections`).
        key_heads: of keys and values, a divisor of `heads`; None means as many.
        rotation: what turns queries and keys by their positions (`Rotary`), or None.
        dropout: probability on the normalized weights while training. Linear attention (`Kernel` scores over `Everyone` or
            `Causal`: linear Transformer, Performer) makes no weights, whose number grows with the pairs, and nothing is
            dropped of it; `attend` does drop them where it is given a `Dropout`, and computes all pairs for it.
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
        attention: Attention | Adapter | nn.Module | None = None,
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
        self.shared = isinstance(attention, Adapter) and attention.shared
        if self.shared and self.key_heads != heads:
            raise InputError(
                f"there are {self.key_heads} key heads, expected {heads}: queries are the keys of {attention!r}"
            )
        projected = [n * self.d for n in self._heads]
        self.project = Linear(width_in or width, sum(projected), bias=bias)
        self.globals: GlobalProjections | None = None
        if isinstance(attention, Globals):
            self.globals = GlobalProjections(attention, width_in or width, heads, self.key_heads, self.d, bias)
            attention = attention.whole
            self.attend_globals = _attends(attention, heads, self.d, dropout)
        self.attend = _attends(attention, heads, self.d, dropout)
        self.out = Linear(width, width, bias=bias)
        _start(self.out, width)
        _start(self.project, *projected)

    @property
    def _heads(self) -> list[int]:
        """How many heads of queries, keys and values are projected; of queries and values where keys are the queries."""
        return [self.heads, self.key_heads] if self.shared else [self.heads, self.key_heads, self.key_heads]

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and after one it looks at."""
        extent: tuple[float, float] = getattr(self.attend, "extent", (math.inf, math.inf))
        return extent

    def new_state(self, sets: int) -> LayerState:
        """The state of sets without any vector yet, for `forward` to go on from.

        Raises:
            InputError: an attention that looks at later vectors, or a module that remembers nothing.
        """
        if not isinstance(self.attend, Attend):
            raise InputError(
                f"{type(self.attend).__name__} remembers nothing, expected an attention that looks back only"
            )
        return self.attend.new_state(sets, self.key_heads, self.project.weight)

    def forward(self, sets: VectorSets, state: LayerState | None = None, memory: Recalled | None = None) -> VectorSets:
        """The same sets.

        Args:
            state: of sets that grow, whose next vectors these are; they attend to those from before as well.
            memory: of the segments before these, whose vectors are keys as well.
        """
        projected = self.project(sets.values).unflatten(-1, (-1, self.d))
        q, *own, v = projected.split(self._heads, dim=1)
        k, keys = q if self.shared else own[0], sets.layout
        if self.globals is not None:
            return sets.with_values(self._with_globals(self.globals, sets, q, k, v))
        if memory is not None:
            keys, earlier = memory.keys, self._earlier(memory.values)
            k, v = (memory.followed(*each) for each in zip(earlier, (k, v), strict=True))
        if self.rotation is not None:
            q = self.rotation(q, sets.layout)
            k = q if self.shared else self.rotation(k, keys)
        given: dict[str, Any] = {} if state is None else {"state": state}
        if memory is not None:
            given["key_layout"] = keys
        return sets.with_values(self.out(self.attend(q, k, v, sets.layout, **given).flatten(1)))

    def _with_globals(self, own: GlobalProjections, sets: VectorSets, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """`[t, width]` for queries, keys and values of which the global vectors have others."""
        layout, split = sets.layout, own.split(sets.layout)
        global_q, global_k, global_v = own(sets.values, split)
        k, v = own.for_others(sets.values, split, k, v)
        if self.rotation is not None:
            q, k, global_k = (self.rotation(each, layout) for each in (q, k, global_k))
            global_q = self.rotation(global_q, split.global_layout)
        q = q.index_select(0, split.others)
        of_globals = self.attend_globals(global_q, global_k, global_v, split.global_layout, layout)
        of_others = self.attend(q, k, v, split.other_layout, layout)
        out = self.out if own.out is None else own.out
        both = torch.cat([out(of_globals.flatten(1)), self.out(of_others.flatten(1))])
        return both.index_select(0, split.order)

    def _earlier(self, values: Tensor) -> Sequence[Tensor]:
        """The keys and values of vectors that ask nothing."""
        first, bias = self.heads * self.d, self.project.bias
        made = linear(values, self.project.weight[first:], None if bias is None else bias[first:])
        return made.unflatten(-1, (-1, self.d)).chunk(2, dim=1)


@checked()
class CrossAttention(nn.Module):
    """Multi-head attention whose queries come from one batch of sets and whose keys and values from another: set b to set b.

    Args:
        width: of the queries' vectors, in and out.
        heads: of the queries; a divisor of the width.
        memory_width: of the other vectors; None means as wide.
        attention, dropout, bias, width_in: as in `SelfAttention`.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        memory_width: int | None = None,
        attention: Attention | Adapter | nn.Module | None = None,
        dropout: float = 0.0,
        bias: bool = True,
        width_in: int | None = None,
    ) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.d = _divide(width, heads, heads)
        self.project_query = Linear(width_in or width, width, bias=bias)
        self.project_memory = Linear(memory_width or width, 2 * width, bias=bias)
        self.attend = _attends(attention, heads, self.d, dropout)
        self.out = Linear(width, width, bias=bias)
        _start(self.out, width)
        _start(self.project_query, width)
        _start(self.project_memory, width, width)

    @property
    def orderless(self) -> bool:
        """Whether the place of a query changes nothing, so that those of several sets may stand in a row (`Contexts`)."""
        return orderless(getattr(self.attend, "attention", None))

    def projected(self, memory: VectorSets) -> Projected:
        """The keys and values of a memory that several calls attend to."""
        k, v = self.project_memory(memory.values).unflatten(-1, (-1, self.d)).chunk(2, dim=1)
        return Projected(k, v, memory.layout)

    def forward(self, sets: VectorSets, memory: VectorSets | Projected) -> VectorSets:
        """The same sets, each of which has attended to the set of its number in the memory, or as `Projected` says."""
        known = memory if isinstance(memory, Projected) else self.projected(memory)
        q = self.project_query(sets.values).unflatten(-1, (self.heads, self.d))
        layout = sets.layout if known.queries is None else known.queries
        return sets.with_values(self.out(self.attend(q, known.k, known.v, layout, known.layout).flatten(1)))


def mark_learned(layer: nn.Module, *sides: Literal["queries", "keys"]) -> None:
    """Say of the attentions in a layer that their queries, or keys, are vectors that were learned, for those who look inside."""
    for module in layer.modules():
        if isinstance(module, Attend):
            module.learned_vectors = frozenset(sides)


def orderless(attention: object) -> bool:
    """Whether it is an attention to which the places of queries and keys mean nothing."""
    if (
        not isinstance(attention, Attention)
        or attention.bias is not None
        or attention.score.placed
        or attention.score.reads_edges
    ):
        return False
    return set(attention.patterns) == {Everyone()}


def _attends(attention: Attention | Adapter | nn.Module | None, heads: int, d: int, dropout: float) -> nn.Module:
    """The module that attends."""
    if isinstance(attention, nn.Module):
        return attention
    return Attend(Attention() if attention is None else attention, heads, d, dropout=dropout)


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
