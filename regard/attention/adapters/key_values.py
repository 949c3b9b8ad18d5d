"""`KeyValues`: the keys and values of all vectors of growing sets, packed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from regard.attention.adapters.base import Attends
from regard.attention.adapters.room import Move, Room, Rows, attended, moved, next_rows
from regard.attention.dropout import Dropout
from regard.attention.problem import STEPS, Tensors
from regard.attention.spec.attention import Attention
from regard.attention.vocabulary import parse
from regard.errors import InputError
from regard.sets import Layout
from regard.sets.continued import following, last_rows
from regard.sets.layout import offsets_of
from regard.sets.whole import repeated

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["KeyValues"]

T = TypeVar("T")


@dataclass(frozen=True)
class KeyValues:
    """A key-value cache: new queries attend to the keys from before and to those that come with them.

    Sets grow at their own pace, by any number of vectors at a time. Keys that no later query can reach, as those a window has left
    behind, are forgotten. A state never changes; each call gives a new one.

    Where gradients are computed, and where code is traced, each call copies what there is. Elsewhere it writes into a `Room`, so
    that a step takes no longer than its attention; memory is made anew, a quarter larger, when some set is full.

    Args:
        attention: one that `Remember` takes.
        k, v: keys and values.
        layout: whose rows these are; `starts` counts the vectors that each set has forgotten.
        number: `[s]` how many vectors each set has; None where its rows hold no room for more.
        room: the memory, of which k and v are a part; None where they have none but their own.
        states: how many states have written into the memory, this one included.
    """

    attention: Attention
    k: Float[Tensor, "u g d"]
    v: Float[Tensor, "u g e"]
    layout: Layout
    number: Int[Tensor, " s"] | None = None
    room: Room | None = None
    states: int = 0

    @classmethod
    def empty(
        cls,
        attention: Attention,
        sets: int,
        key_heads: int,
        d: int,
        e: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> KeyValues:
        """The state of sets that have no vector yet; d and e are the widths of a head's keys and values."""
        k = torch.zeros(0, key_heads, d, dtype=dtype, device=device)
        offsets = torch.zeros(sets + 1, dtype=torch.int64, device=device)
        return cls(attention, k, k.new_zeros(0, key_heads, e), Layout._trusted([offsets]))

    @property
    def lengths(self) -> Int[Tensor, " s"]:
        """How many vectors of each set are remembered."""
        return self.layout.lengths if self.number is None else self.number

    @property
    def places(self) -> Int[Tensor, " s"]:
        """The place of each set's next vector."""
        return self.layout.places_of_sets[0] + self.lengths

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, dropout: Dropout | None = None
    ) -> tuple[Float[Tensor, "t h e"], KeyValues]:
        """`[t, h, e]` for the next vectors of each set, and the state with them in it; see `State.attend`.

        Raises:
            InputError: vectors that do not come right after those that are remembered.
        """
        if not self.layout.total and self.layout.starts is None:
            self._check(layout)
            state = KeyValues(self.attention, tensors.k, tensors.v, layout)
        elif self._writes(layout):
            state = self._written(tensors, layout)
        else:
            self._check(layout)
            state = self.compact()._and(tensors, layout)
        out = verb(self.attention, replace(tensors, k=state.k, v=state.v), layout, state.layout, dropout)
        return out, state if state.room is not None else state._within_reach()

    def _writes(self, layout: Layout) -> bool:
        """Whether memory is shared with the state to come; a graph of gradients would hold what is written to later."""
        # A score of learned places has none for the room.
        plain = self.layout.coords is None and layout.coords is None and not self.attention.score.placed
        return plain and not torch.is_grad_enabled() and not torch.compiler.is_compiling()

    def _written(self, tensors: Tensors, layout: Layout) -> KeyValues:
        """The state with the new keys and values in its room, or in a larger one."""
        state, at = self, None
        if self.room is not None and self.room.takes(tensors.k, self.states):
            at = self._next_rows("next rows", layout)
        if at is None:
            state = self._moved(layout)
            at = state._next_rows("next rows there", layout)
        room = state.room
        assert room is not None, "memory was made"
        assert at is not None, "with room for what comes"
        room.write(at.rows, tensors.k, tensors.v)
        k, v = (x[: at.layout.total] for x in (room.k, room.v))
        return replace(state, k=k, v=v, layout=at.layout, number=at.number, states=room.states)

    def _next_rows(self, name: str, layout: Layout) -> Rows | None:
        room = self.room
        assert room is not None

        def make() -> Rows | None:
            self._check(layout)
            return next_rows(room.layout, self.lengths, layout)

        return _shared(layout, name, (room.layout, self.number), make)

    def _moved(self, layout: Layout) -> KeyValues:
        """This state in memory with room for the next vectors and more."""

        def make() -> Move:
            self._check(layout)
            return moved(self.layout, self.lengths, self._within(self.lengths), layout.lengths, None)

        # What is kept depends on how far this layer looks, and other layers of a model look further.
        by = (self.layout, self.number, self.attention.extent[0])
        return self._after(_shared(layout, "move", by, make))

    def _within(self, number: Tensor) -> Tensor:
        """Of so many last vectors, how many a later query can reach."""
        before = self.attention.extent[0]
        return number.clamp(max=int(before)) if isfinite(before) else number

    def _after(self, move: Move) -> KeyValues:
        room = Room.of(self.k, self.v, move)
        keys = attended(move.layout, move.number)
        return KeyValues(self.attention, room.k[: keys.total], room.v[: keys.total], keys, move.number, room)

    def compact(self) -> KeyValues:
        """The same state with the rows of its vectors alone, in memory of its own."""
        if self.room is None:
            return self
        layout, number = self.layout, self.lengths
        offsets = offsets_of(number)
        rows = torch.arange(int(offsets[-1]), device=offsets.device)
        rows = rows + repeated(layout.offsets[:-1] - offsets[:-1], number)
        k, v = (x.index_select(0, rows) for x in (self.k, self.v))
        return KeyValues(self.attention, k, v, Layout._trusted([offsets, None, None, None, layout.starts]))

    def _check(self, layout: Layout) -> None:
        if layout.sets != self.layout.sets:
            raise InputError(f"there are {layout.sets} sets, expected the {self.layout.sets} that are remembered")
        if layout.places is not None:
            raise InputError("the next vectors have places, expected rows in order, from starts on")
        starts = torch.zeros_like(layout.lengths) if layout.starts is None else layout.starts
        wrong = ((starts != self.places) & (layout.lengths > 0)).nonzero()
        if len(wrong):
            b = int(wrong[0])
            raise InputError(
                f"set {b} goes on at place {int(starts[b])}, expected starts[{b}] {int(self.places[b])}: so many "
                "vectors it has had"
            )
        if self.layout.total and (layout.coords is None) != (self.layout.coords is None):
            raise InputError("some vectors of the sets have coordinates and some have none, expected all alike")

    def _and(self, tensors: Tensors, layout: Layout) -> KeyValues:
        """The keys and values of each set with the new ones after them."""
        order, longer = _shared(layout, "grown", (self.layout,), lambda: self._grown(layout))

        def joined(before: Tensor, after: Tensor) -> Tensor:
            return torch.cat([before, after]).index_select(0, order)

        return replace(self, k=joined(self.k, tensors.k), v=joined(self.v, tensors.v), layout=longer)

    def _grown(self, layout: Layout) -> tuple[Tensor, Layout]:
        """The order of the rows from before and the new ones, and whose they then are."""
        order = following(self.layout, layout)
        coords = layout.coords
        if coords is not None and self.layout.coords is not None:
            coords = torch.cat([self.layout.coords, coords]).index_select(0, order)
        offsets = self.layout.offsets + layout.offsets
        return order, Layout._trusted([offsets, coords, None, None, self.layout.starts])

    def _within_reach(self) -> KeyValues:
        """Without the keys that no later query can reach."""
        before, layout = self.attention.extent[0], self.layout
        if not isfinite(before) or layout.longest <= before:
            # Whatever the first vectors came with, the cache has no edges.
            if layout.edges is None and layout.places is None:
                return self
            return replace(self, layout=Layout._trusted([layout.offsets, layout.coords, None, None, layout.starts]))
        rows, kept = _shared(layout, "last", (int(before),), lambda: self._last(layout.lengths.clamp(max=int(before))))
        return replace(self, k=self.k.index_select(0, rows), v=self.v.index_select(0, rows), layout=kept)

    def _last(self, number: Tensor) -> tuple[Tensor, Layout]:
        """The rows of the last so many vectors of each set, and whose they are."""
        layout = self.layout
        rows, offsets = last_rows(layout, number)
        coords = None if layout.coords is None else layout.coords.index_select(0, rows)
        return rows, Layout._trusted([offsets, coords, None, None, self.places - number])

    def select(self, sets: Int[Tensor, " chosen"]) -> KeyValues:
        """The state of these sets `[n]` alone, in this order; one may come several times, as hypotheses of a beam do."""
        if torch.equal(sets, torch.arange(self.layout.sets, device=sets.device)):
            return self
        if self.room is None or not self._writes(self.layout):
            state = self.compact()
            rows, chosen = _shared(state.layout, "selected", (sets,), lambda: state._selected(sets))
            return replace(state, k=state.k.index_select(0, rows), v=state.v.index_select(0, rows), layout=chosen)

        if self._selects_rooms(sets):
            regions, number = _shared(self.layout, "chosen rooms", (sets, self.number), lambda: self._rooms(sets))
            room = self.room.selected(sets, regions)
            return KeyValues(self.attention, room.k, room.v, regions, number, room)

        def make() -> Move:
            kept = self._within(self.lengths[sets])
            return moved(self.layout, self.lengths, kept, torch.ones_like(kept), sets)

        return self._after(_shared(self.layout, "chosen", (sets, self.number, self.attention.extent[0]), make))

    def _selects_rooms(self, sets: Tensor) -> bool:
        """Whether sets can move with their room: nothing is forgotten, nobody has written there, and all have as much of it."""
        room = self.room
        if room is None or isfinite(self.attention.extent[0]) or self.states != room.states:
            return False
        regions = room.layout
        even, several = regions.total == regions.sets * regions.longest, min(len(sets), regions.sets) > 1
        return even and several and bool((self.lengths < regions.longest).all())

    def _rooms(self, sets: Tensor) -> tuple[Layout, Tensor]:
        """The layout of the memory of the chosen sets, and how many vectors each has."""
        layout = self.layout
        if len(sets) == layout.sets and layout.starts is None:
            return layout, self.lengths[sets]
        offsets = torch.arange(len(sets) + 1, device=sets.device) * layout.longest
        starts = None if layout.starts is None else layout.starts[sets]
        regions = Layout._trusted([offsets, None, None, None, starts])
        regions.derived[STEPS] = layout.derived[STEPS]
        return regions, self.lengths[sets]

    def _selected(self, sets: Tensor) -> tuple[Tensor, Layout]:
        layout, number = self.layout, self.layout.lengths[sets]
        offsets = offsets_of(number)
        rows = torch.arange(int(offsets[-1]), device=offsets.device) + repeated(
            layout.offsets[sets] - offsets[:-1], number
        )
        coords = None if layout.coords is None else layout.coords.index_select(0, rows)
        starts: Any = None if layout.starts is None else layout.starts[sets]
        return rows, Layout._trusted([offsets, coords, None, None, starts])


def _shared(layout: Layout, name: str, by: tuple[object, ...], make: Callable[[], T]) -> T:
    """What `make` gives, once for all layers of a model, whose states share a layout: they grow and are selected together.

    Args:
        by: what it is made by; what was made by something else is made anew.
    """
    if torch.compiler.is_compiling() or layout.coords is not None:
        # Coordinates may have gradients, and what is kept holds no graph.
        return make()
    made: tuple[tuple[object, ...], T] | None = layout.derived.get(name)
    if made is None or not all(_same(a, b) for a, b in zip(made[0], by, strict=True)):
        with torch.inference_mode(False):
            # A tensor may be written to between two calls.
            made = tuple(x.clone() if isinstance(x, Tensor) else x for x in by), make()
        layout.derived[name] = made
    return made[1]


def _same(a: object, b: object) -> bool:
    if a is b:
        return True
    return torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a == b


def _parts(state: KeyValues) -> tuple[list[Any], Attention]:
    state = state.compact()
    return [state.k, state.v, state.layout], state.attention


pytree.register_pytree_node(
    KeyValues,
    _parts,
    lambda parts, attention: KeyValues(attention, *parts),
    serialized_type_name="regard.attention.adapters.key_values.KeyValues",
    to_dumpable_context=repr,
    from_dumpable_context=parse,
)
