"""Blocks: a mixer and a feed-forward network, each with a residual around it and a layer norm before or behind."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.layers.linear import Linear
from regard.layers.memory import Memory, Recalled
from regard.layers.stacks import context_of
from regard.layers.states import LayerState, Projected
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Block", "FeedForward", "Stack", "StochasticDepth"]


@checked()
class FeedForward(nn.Module):
    """W_2 f(W_1 x + b_1) + b_2, every vector by itself (Vaswani et al. 2017, eq. 2).

    Args:
        width: in and out. hidden: in between. dropout: behind f while training. activation: f, "relu", "gelu" or "silu".
    """

    def __init__(
        self, width: int, hidden: int, dropout: float = 0.0, activation: Literal["relu", "gelu", "silu"] = "relu"
    ) -> None:
        super().__init__()
        self.into = Linear(width, hidden)
        self.activation = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}[activation]()
        self.dropout = Dropout(dropout)
        self.out = Linear(hidden, width)

    def forward(self, values: Float[Tensor, "t d"]) -> Float[Tensor, "t d"]:
        return self.out(self.dropout(self.activation(self.into(values))))


@checked()
class StochasticDepth(nn.Module):
    """x / (1 - p) for all vectors of a set with probability 1 - p, otherwise 0, while training (Huang et al. 2016, section 3).

    On what a block adds: a set then skips the layer. Drawn as `Dropout` is, once for each set.

    Args:
        p: the probability to skip, 0 <= p < 1.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.one = Dropout(p)

    def forward(self, sets: VectorSets) -> VectorSets:
        if not (self.training and self.one.p):
            return sets
        values, layout = sets.values, sets.layout
        factors = self.one(values.new_ones(layout.sets))
        return sets.with_values(values * factors.index_select(0, layout.owners(values.shape[0]))[:, None])


@checked()
class Block(nn.Module):
    """x + mixer(norm(x)), then x + feed_forward(norm(x)); or, post-norm, norm(x + mixer(x)), then norm(x + feed_forward(x)).

    With `cross` the block is a decoder's: between the two, x + cross(norm(x), context), or norm(x + cross(x, context)).

    Post-norm is Vaswani et al. 2017 (section 3.1); pre-norm trains without warm-up (Xiong et al. 2020, table 1).

    Args:
        mixer: from `VectorSets` to `VectorSets` of the same width.
        feed_forward: from values to values.
        width: of the vectors.
        norm: "pre" or "post".
        dropout: on what each of them adds, while training.
        cross: from `VectorSets` and a context to `VectorSets`, such as `CrossAttention`; None for an encoder's block.
        skip: the probability that a set skips what one of them adds, while training; see `StochasticDepth`.
    """

    def __init__(
        self,
        mixer: nn.Module,
        feed_forward: nn.Module,
        width: int,
        norm: Literal["pre", "post"] = "pre",
        dropout: float = 0.0,
        cross: nn.Module | None = None,
        skip: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.pre = width, norm == "pre"
        self.mixer, self.feed_forward = mixer, feed_forward
        self.norm_mixer, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.dropout, self.depth = Dropout(dropout), StochasticDepth(skip)
        self.cross = cross
        if cross is not None:
            self.norm_cross = nn.LayerNorm(width)

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and behind one it looks at."""
        return context_of([self.mixer])

    def new_state(self, sets: int) -> LayerState:
        """The state of sets without any vector yet, for `forward` to go on from; as `SelfAttention.new_state`."""
        if not isinstance(self.mixer, SelfAttention):
            raise InputError(f"{type(self.mixer).__name__} remembers nothing, expected attention that looks back only")
        return self.mixer.new_state(sets)

    def forward(
        self,
        sets: VectorSets,
        position: Float[Tensor, "t d"] | None = None,
        context: VectorSets | Projected | None = None,
        state: LayerState | None = None,
        memory: Recalled | None = None,
    ) -> VectorSets:
        """The same sets.

        Args:
            position: which the mixer reads added to each vector, or None.
            context: the sets that `cross` attends to, set b to set b, or what it projected of them.
            state: from which the mixer goes on, with the next vectors of sets that grow.
            memory: the vectors that entered the block with the segments before, for a mixer that attends to them.

        Raises:
            InputError: a context without `cross`, or the other way round.
        """
        if (context is None) != (self.cross is None):
            found = "a context but no cross-attention" if self.cross is None else "cross-attention but no context"
            raise InputError(f"the block has {found}, expected both or neither")
        x = sets.values
        seen = self.norm_mixer(x) if self.pre else x
        read = sets.with_values(seen if position is None else seen + position.to(seen.dtype))
        if memory is not None:
            found = self.mixer(read, memory=memory.changed(self.norm_mixer) if self.pre else memory)
        else:
            found = self.mixer(read) if state is None else self.mixer(read, state)
        mixed = found.values
        if self.pre:
            x = x + self._added(mixed, sets)
            if self.cross is not None:
                x = x + self._added(self.cross(sets.with_values(self.norm_cross(x)), context).values, sets)
            x = x + self.fed(sets.with_values(x))
        else:
            x = self.norm_mixer(x + self._added(mixed, sets))
            if self.cross is not None:
                x = self.norm_cross(x + self._added(self.cross(sets.with_values(x), context).values, sets))
            x = self.norm_feed_forward(x + self._added(self.feed_forward(x), sets))
        # A mixer may have changed what edges carry.
        return found.with_values(x)

    def mixed(
        self, sets: VectorSets, position: Float[Tensor, "t d"] | None = None, state: LayerState | None = None
    ) -> VectorSets:
        """What the mixer of a pre-norm block adds to each vector; see `forward`."""
        read = self.norm_mixer(sets.values)
        given = sets.with_values(read if position is None else read + position.to(read.dtype))
        found = self.mixer(given) if state is None else self.mixer(given, state)
        return found.with_values(self._added(found.values, sets))

    def fed(self, sets: VectorSets) -> Float[Tensor, "t d"]:
        """What the feed-forward network of a pre-norm block adds to each vector."""
        return self._added(self.feed_forward(self.norm_feed_forward(sets.values)), sets)

    def _added(self, values: Tensor, sets: VectorSets) -> Tensor:
        """What is added to the vectors, after dropout."""
        if not self.training:
            return values
        return self.depth(sets.with_values(self.dropout(values))).values


@checked()
class Stack(nn.Module):
    """Blocks one after another, and a layer norm at the end where the blocks are pre-norm.

    Args:
        blocks: any number, possibly none. width: of the vectors. final_norm: whether a layer norm ends the stack.
    """

    def __init__(self, blocks: Iterable[nn.Module], width: int, final_norm: bool = True) -> None:
        super().__init__()
        self.width = width
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width) if final_norm else nn.Identity()

    @property
    def context(self) -> tuple[float, float]:
        """How many vectors before and behind one it looks at."""
        return context_of(self.blocks)

    def new_states(self, sets: int) -> list[LayerState]:
        """For each block the state of sets without any vector yet; as `SelfAttention.new_state`."""
        blocks: Iterable[Any] = self.blocks
        return [block.new_state(sets) for block in blocks]

    def projected(self, context: VectorSets) -> list[Projected]:
        """For each block the keys and values of a context that several calls attend to."""
        blocks: Iterable[Any] = self.blocks
        return [block.cross.projected(context) for block in blocks]

    def forward(
        self,
        sets: VectorSets,
        positions: Float[Tensor, "blocks t d"] | None = None,
        context: VectorSets | Sequence[Projected] | None = None,
        states: Sequence[LayerState] | None = None,
        memory: Memory | None = None,
    ) -> VectorSets:
        """The same sets.

        Args:
            positions: such as `Floater`'s, for the mixers of the blocks.
            context: for the cross-attention of every block, or for each what it projected of it, as `projected` gives them.
            states: one for each block, as `new_states` gives them, to go on from.
            memory: of the segments before these sets, which is then one of these as well.
        """
        if states is not None and len(states) != len(self.blocks):
            raise InputError(f"there are {len(states)} states, expected {len(self.blocks)}: one for each block")
        contexts = [context] * len(self.blocks) if context is None or isinstance(context, VectorSets) else context
        if len(contexts) != len(self.blocks):
            raise InputError(f"there are {len(contexts)} contexts, expected {len(self.blocks)}: one for each block")
        for n, block in enumerate(self.blocks):
            # Blocks of other kinds take no more than what they need.
            given: dict[str, Any] = {} if context is None else {"context": contexts[n]}
            if states is not None:
                given["state"] = states[n]
            if memory is not None:
                given["memory"] = memory.recall(n, sets.values)
            sets = block(sets, **given) if positions is None else block(sets, positions[n], **given)
        return sets.with_values(self.norm(sets.values))
