"""What a layer remembers: `LayerState` of sets that grow, such as sentences being written, `Projected` of those it attends to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.attention.adapters.base import Attends, State
from regard.attention.problem import STEPS, Tensors
from regard.errors import InputError
from regard.sets import Layout, VectorSets
from regard.sets.layout import offsets_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Contexts", "LayerState", "Projected"]


class LayerState:
    """The state of one layer: each forward pass that is given it goes on from it, and leaves the new vectors in it.

    Args:
        value: what the layer's attention remembers; it never changes and is replaced. sets: how many there are.

    >>> from regard.layers.attention import SelfAttention
    >>> from regard.attention import Attention, Causal
    >>> from regard.sets import VectorSets
    >>> layer = SelfAttention(8, 2, Attention(pattern=Causal()))
    >>> state = layer.new_state(sets=2)
    >>> _ = layer(VectorSets(torch.ones(5, 8), state.following([2, 3])), state)
    >>> layer(VectorSets(torch.ones(1, 8), state.following([1, 0])), state)
    VectorSets(values [1, 8] float32, 2 sets)
    >>> state.places.tolist()
    [3, 3]
    """

    def __init__(self, value: State, sets: int, device: torch.device | str | None = None) -> None:
        self.value = value
        self.places = torch.zeros(sets, dtype=torch.int64, device=device)
        """`[s]` the place of each set's next vector."""

    def following(self, number: int | Sequence[int] | Int[Tensor, " s"] = 1) -> Layout:
        """The layout of the next vectors: so many of every set, or of each."""
        if isinstance(number, int) and number >= 0:
            offsets = torch.arange(len(self.places) + 1, device=self.places.device) * number
            return Layout._trusted([offsets, None, None, None, self.places])
        lengths = torch.as_tensor(number, dtype=torch.int64, device=self.places.device).expand(self.places.shape)
        return Layout(offsets_of(lengths), starts=self.places)

    def attend(self, verb: Attends, tensors: Tensors, layout: Layout) -> Float[Tensor, "t h e"]:
        """The output for the next vectors, which are then remembered.

        Raises:
            InputError: vectors that do not come right after those that are remembered.
        """
        starts = torch.zeros_like(self.places) if layout.starts is None else layout.starts
        if layout.sets != len(self.places) or not torch.equal(starts, self.places):
            raise InputError(
                f"the sets go on at places {starts.tolist()}, expected {self.places.tolist()}: "
                "the layout that `following` gives"
            )
        out, self.value = self.value.attend(verb, tensors, layout)
        self.places = self.places + layout.lengths
        return out

    def select(self, sets: Sequence[int] | Int[Tensor, " chosen"]) -> None:
        """Keep these sets alone, in this order; one may come several times, as hypotheses of a beam do.

        Raises:
            InputError: a set that is not there.
        """
        chosen = torch.as_tensor(sets, dtype=torch.int64, device=self.places.device)
        if ((chosen < 0) | (chosen >= len(self.places))).any():
            raise InputError(f"sets {chosen.tolist()} were selected, expected numbers from 0 to {len(self.places) - 1}")
        self.value, self.places = self.value.select(chosen), self.places[chosen]


@dataclass(frozen=True, eq=False)
class Projected:
    """The keys and values of sets that are attended to again and again, projected once.

    Args:
        k, v: keys and values. layout: whose rows these are.
        queries: which rows of the queries attend to each set, where their own layout does not say so.
    """

    k: Float[Tensor, "u g d"]
    v: Float[Tensor, "u g e"]
    layout: Layout
    queries: Layout | None = None

    def select(self, sets: Int[Tensor, " chosen"]) -> Projected:
        """These sets alone, in this order; one may come several times."""
        k = VectorSets._trusted(self.k.flatten(1), self.layout).select(sets)
        v = VectorSets._trusted(self.v.flatten(1), self.layout).select(sets)
        return Projected(k.values.unflatten(1, self.k.shape[1:]), v.values.unflatten(1, self.v.shape[1:]), k.layout)


class Contexts:
    """What rows that are written attend to: the keys of a set for each, in every block.

    Rows of the same set stand in a row and attend to its keys together, so that a beam copies none of them.

    Args:
        blocks: for each block the keys of all sets. orderless: whether the place of a query means nothing to any block; where it
            does, each row has keys of its own.
    """

    def __init__(self, blocks: Sequence[Projected], orderless: bool) -> None:
        # A layout of its own, so that plans for some rows serve when there are a few less, and for nothing but steps.
        layout = Layout._trusted(blocks[0].layout._fields())
        layout.derived[STEPS] = {}
        self.blocks, self._orderless = [replace(block, layout=layout) for block in blocks], orderless
        self._set = torch.arange(layout.sets, device=layout.device)
        if orderless:
            self._group(torch.ones_like(layout.lengths))

    def __len__(self) -> int:
        """The number of rows; at first one for each set."""
        return len(self._set)

    def select(self, rows: Int[Tensor, " chosen"]) -> None:
        """Keep these rows, in this order; one may come several times."""
        owner = self._set[rows]
        if not self._orderless or bool((owner.diff() < 0).any()):
            self._keep(owner)
            self._set = torch.arange(len(owner), device=owner.device)
            if self._orderless:
                self._group(torch.ones_like(owner))
            return
        number = torch.bincount(owner, minlength=self.blocks[0].layout.sets)
        if 2 * int((number > 0).sum()) <= len(number):
            # Most sets are done; what is left of them is small enough to be copied.
            there = number.nonzero()[:, 0]
            self._keep(there)
            owner, number = torch.searchsorted(there, owner), number[there]
        self._group(number)
        self._set = owner

    def _keep(self, sets: Tensor) -> None:
        """These sets of keys alone, with one layout for all blocks, so that a plan for one of them serves the others."""
        blocks = [block.select(sets) for block in self.blocks]
        blocks[0].layout.derived[STEPS] = self.blocks[0].layout.derived[STEPS]
        self.blocks = [replace(block, layout=blocks[0].layout, queries=None) for block in blocks]

    def _group(self, number: Tensor) -> None:
        """So many rows attend to each set."""
        queries = self.blocks[0].queries
        if queries is None or not torch.equal(queries.lengths, number):
            queries = Layout._trusted([offsets_of(number)])
        # A beam that stays as wide keeps the layout, and with it the plan.
        self.blocks = [replace(block, queries=queries) for block in self.blocks]
