"""`VectorSets`: a batch of sets of vectors, packed one after another and never padded; `Layout`: all of it but the values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from regard.errors import InputError

__all__ = ["Layout", "VectorSets"]


class Layout:
    """Where the sets of a batch lie, and what belongs to their vectors beside the values.

    Built once per batch and shared by all layers; what executors derive from it is computed once and kept here.

    Args:
        offsets: `[s + 1]` int64; set `b` owns rows `offsets[b]:offsets[b + 1]`. Empty sets are legal.
        coords: `[t, n]` or None; where each vector lies beyond its place in the order, such as (row, column).
        edges: `[2, e]` int64 or None; (query row, key row), inside a set, without repeats.
        edge_values: `[e, m]` or None; what each edge carries.
        starts: `[s]` int64 or None; the index of each set's first row in its own set (0 where None), for queries that
            continue a set whose first keys came before.

    Raises:
        InputError: a field that does not fit the others; the sentence names the set and the reason.

    >>> layout = Layout(torch.tensor([0, 2, 2, 5]))
    >>> layout.lengths.tolist(), layout.index.tolist()
    ([2, 0, 3], [0, 1, 0, 1, 2])
    """

    FIELDS = ("offsets", "coords", "edges", "edge_values", "starts")

    def __init__(
        self,
        offsets: Tensor,
        coords: Tensor | None = None,
        edges: Tensor | None = None,
        edge_values: Tensor | None = None,
        starts: Tensor | None = None,
    ) -> None:
        self.offsets = offsets
        self.coords = coords
        self.edges = edges
        self.edge_values = edge_values
        self.starts = starts
        self._check()

    @classmethod
    def _trusted(cls, fields: Sequence[Tensor | None]) -> Layout:
        """A layout from fields that are known to agree, in the order of `FIELDS`."""
        layout = cls.__new__(cls)
        for name, field in zip(cls.FIELDS, fields, strict=True):
            setattr(layout, name, field)
        return layout

    @classmethod
    def of_lengths(cls, lengths: Sequence[int] | Tensor) -> Layout:
        """The layout of sets with these numbers of vectors, and nothing else.

        >>> Layout.of_lengths([2, 0, 3]).offsets.tolist()
        [0, 2, 2, 5]
        """
        return cls(_offsets(torch.as_tensor(lengths, dtype=torch.int64)))

    def _fields(self) -> list[Tensor | None]:
        return [getattr(self, name) for name in self.FIELDS]

    def _check(self) -> None:
        offsets = self.offsets
        if offsets.dim() != 1 or offsets.dtype != torch.int64 or offsets.numel() == 0:
            raise InputError(
                f"offsets have shape {list(offsets.shape)} and type {offsets.dtype}, expected [s + 1] of int64"
            )
        if offsets[0] != 0:
            raise InputError(f"offsets begin at {int(offsets[0])}, expected 0")
        if (self.lengths < 0).any():
            b = int((self.lengths < 0).nonzero()[0])
            raise InputError(f"set {b} would have {int(self.lengths[b])} vectors, expected offsets that never decrease")
        if self.coords is not None and (self.coords.dim() != 2 or self.coords.shape[0] != self.total):
            raise InputError(
                f"coords have shape {list(self.coords.shape)}, expected [{self.total}, n]: one row per vector"
            )
        if self.starts is not None and (self.starts.shape != (self.sets,) or self.starts.dtype != torch.int64):
            raise InputError(
                f"starts have shape {list(self.starts.shape)}, expected [{self.sets}] of int64: one per set"
            )
        if self.edges is not None:
            self._check_edges(self.edges)
        elif self.edge_values is not None:
            raise InputError(
                f"there are {self.edge_values.shape[0]} edge values but no edges, expected one row per edge"
            )

    def _check_edges(self, edges: Tensor) -> None:
        if edges.dim() != 2 or edges.shape[0] != 2 or edges.dtype != torch.int64:
            raise InputError(f"edges have shape {list(edges.shape)} and type {edges.dtype}, expected [2, e] of int64")
        outside = ((edges < 0) | (edges >= self.total)).any(0)
        if outside.any():
            e = int(outside.nonzero()[0])
            q, k = edges[:, e].tolist()
            raise InputError(f"edge {e} joins rows {q} and {k}, expected rows between 0 and {self.total - 1}")
        owner = self.set_of_row[edges]
        across = owner[0] != owner[1]
        if across.any():
            e = int(across.nonzero()[0])
            a, b = owner[:, e].tolist()
            raise InputError(f"edge {e} goes from set {a} to set {b}, expected both ends in the same set")
        codes = self.edge_codes
        again = codes[1:] == codes[:-1]
        if again.any():
            q, k = edges[:, self.edge_order[int(again.nonzero()[0]) + 1]].tolist()
            raise InputError(
                f"the edge from row {q} to row {k} of set {int(self.set_of_row[q])} is repeated, expected it once"
            )
        if self.edge_values is not None and (
            self.edge_values.dim() != 2 or self.edge_values.shape[0] != edges.shape[1]
        ):
            found = list(self.edge_values.shape)
            raise InputError(f"edge values have shape {found}, expected [{edges.shape[1]}, m]: one row per edge")

    @property
    def sets(self) -> int:
        """The number of sets."""
        return self.offsets.shape[0] - 1

    @property
    def device(self) -> torch.device:
        return self.offsets.device

    @cached_property
    def total(self) -> int:
        """The number of vectors of all sets."""
        return int(self.offsets[-1])

    @cached_property
    def lengths(self) -> Tensor:
        """`[s]` the number of vectors of each set."""
        return self.offsets.diff()

    @cached_property
    def longest(self) -> int:
        """The number of vectors of the largest set, 0 where there is none."""
        return int(self.lengths.max()) if self.sets else 0

    @cached_property
    def set_of_row(self) -> Tensor:
        """`[t]` the set that owns each row."""
        return torch.repeat_interleave(
            torch.arange(self.sets, device=self.device), self.lengths, output_size=self.total
        )

    @cached_property
    def index(self) -> Tensor:
        """`[t]` each row's index in its own set, counted from the set's start."""
        first = self.offsets[:-1] if self.starts is None else self.offsets[:-1] - self.starts
        return torch.arange(self.total, device=self.device) - first[self.set_of_row]

    @cached_property
    def edge_codes(self) -> Tensor:
        """`[e]` query row * t + key row of every edge, in increasing order."""
        return self._sorted_edges[0]

    @cached_property
    def edge_order(self) -> Tensor:
        """`[e]` the place in `edges` of each entry of `edge_codes`."""
        return self._sorted_edges[1]

    @cached_property
    def _sorted_edges(self) -> tuple[Tensor, Tensor]:
        if self.edges is None:
            none = self.offsets.new_zeros(0)
            return none, none
        codes, order = torch.sort(self.edges[0] * self.total + self.edges[1], stable=True)
        return codes, order

    @cached_property
    def derived(self) -> dict[Any, Any]:
        """What executors computed from this layout, under keys of their own; it lives as long as the layout."""
        return {}

    def to(self, device: torch.device | str | None, non_blocking: bool = False) -> Layout:
        """The same layout on another device."""
        if device is None or torch.device(device) == self.device:
            return self
        return self._trusted([None if f is None else f.to(device, non_blocking=non_blocking) for f in self._fields()])

    def pin_memory(self) -> Layout:
        return self._trusted([None if f is None else f.pin_memory() for f in self._fields()])

    def bare(self) -> Layout:
        """The same sets without coordinates and edges."""
        return self._trusted([self.offsets, None, None, None, self.starts])

    def __repr__(self) -> str:
        parts = [f"{self.sets} sets", f"{self.total} vectors"]
        if self.coords is not None:
            parts.append(f"{self.coords.shape[1]} coordinates")
        if self.edges is not None:
            parts.append(f"{self.edges.shape[1]} edges")
        return f"Layout({', '.join(parts)})"


class VectorSets:
    """A batch of sets of vectors: `values` of all sets one after another, and the `Layout` that says whose they are.

    Args:
        values: `[t, d]` float, or `[t]` or `[t, f]` int64 ids, each standing for its one-hot vector.
        layout: whose rows they are.

    Raises:
        InputError: values whose number of rows is not the layout's.

    >>> sets = VectorSets.pack([torch.ones(2, 3), torch.zeros(0, 3), torch.ones(1, 3)])
    >>> sets
    VectorSets(values [3, 3] float32, 3 sets)
    >>> [tuple(values.shape) for values in sets.unpack()]
    [(2, 3), (0, 3), (1, 3)]
    """

    def __init__(self, values: Tensor, layout: Layout) -> None:
        if values.dim() not in (1, 2) or (values.dim() == 1 and values.is_floating_point()):
            raise InputError(
                f"values have shape {list(values.shape)} and type {values.dtype}, expected [t, d] floats or ids"
            )
        if not values.is_floating_point() and values.dtype != torch.int64:
            raise InputError(f"values are of type {values.dtype}, expected floats, or int64 ids")
        if values.shape[0] != layout.total:
            raise InputError(f"there are {values.shape[0]} vectors, expected {layout.total}: the layout's last offset")
        self.values = values
        self.layout = layout

    @property
    def offsets(self) -> Tensor:
        return self.layout.offsets

    @property
    def coords(self) -> Tensor | None:
        return self.layout.coords

    @property
    def edges(self) -> Tensor | None:
        return self.layout.edges

    @property
    def edge_values(self) -> Tensor | None:
        return self.layout.edge_values

    @property
    def device(self) -> torch.device:
        return self.values.device

    def __len__(self) -> int:
        return self.layout.sets

    def __getitem__(self, b: int) -> VectorSets:
        """Set `b` alone, as a batch of one set."""
        if not -len(self) <= b < len(self):
            raise IndexError(f"set {b} of {len(self)}")
        return self.select([b % len(self)])

    def __iter__(self) -> Iterator[VectorSets]:
        return (self[b] for b in range(len(self)))

    def __repr__(self) -> str:
        kind = str(self.values.dtype).removeprefix("torch.")
        return f"VectorSets(values {list(self.values.shape)} {kind}, {len(self)} sets)"

    @classmethod
    def pack(
        cls,
        values: Sequence[Tensor],
        coords: Sequence[Tensor] | None = None,
        edges: Sequence[Tensor] | None = None,
        edge_values: Sequence[Tensor] | None = None,
    ) -> VectorSets:
        """One batch from a list of sets; rows named by `edges[b]` count from the first vector of set `b`.

        Raises:
            InputError: a set whose width, type or numbers differ from the others'; the sentence names it.
        """
        first = values[0] if values else torch.zeros(0, 0)
        for b, each in enumerate(values):
            if each.shape[1:] != first.shape[1:] or each.dim() != first.dim() or each.dtype != first.dtype:
                found, wanted = f"{list(each.shape)} {each.dtype}", f"{list(first.shape)} {first.dtype}"
                raise InputError(f"set {b} has values of shape {found}, expected the width and type of set 0: {wanted}")
        for name, parts in (("coords", coords), ("edges", edges), ("edge_values", edge_values)):
            if parts is not None and len(parts) != len(values):
                raise InputError(f"there are {name} for {len(parts)} sets, expected {len(values)}: one entry per set")
        for b, each in enumerate(coords or ()):
            if each.dim() != 2 or each.shape[0] != values[b].shape[0]:
                found = f"coords of shape {list(each.shape)} for {values[b].shape[0]} vectors"
                raise InputError(f"set {b} has {found}, expected one row per vector")
        offsets = _offsets(torch.tensor([each.shape[0] for each in values], dtype=torch.int64)).to(first.device)
        for b, each in enumerate(edges or ()):
            n = values[b].shape[0]
            if each.numel() and not 0 <= int(each.min()) <= int(each.max()) < n:
                raise InputError(f"set {b} has an edge to row {int(each.max())}, expected rows between 0 and {n - 1}")
        joined = None
        if edges is not None:
            joined = torch.cat([each + offsets[b] for b, each in enumerate(edges)] or [offsets.new_zeros(2, 0)], dim=1)
        layout = Layout(
            offsets,
            None if coords is None else torch.cat(list(coords)) if coords else torch.zeros(0, 0),
            joined,
            None if edge_values is None else torch.cat(list(edge_values)) if edge_values else torch.zeros(0, 0),
        )
        return cls(torch.cat(list(values)) if values else first, layout)

    @classmethod
    def from_padded(cls, values: Tensor, mask: Tensor) -> VectorSets:
        """Sets from `values [s, n, ...]` and `mask [s, n]`, True where a vector is real.

        >>> sets = VectorSets.from_padded(torch.ones(2, 3, 4), torch.tensor([[True, False, False], [True, True, True]]))
        >>> sets.offsets.tolist()
        [0, 1, 4]
        """
        if mask.dtype != torch.bool or mask.dim() != 2 or mask.shape != values.shape[:2]:
            found = f"{list(mask.shape)} {mask.dtype}"
            raise InputError(f"the mask has shape {found}, expected {list(values.shape[:2])} of bool, True where real")
        return cls(values[mask], Layout(_offsets(mask.sum(1))))

    def to_padded(self, fill: float = 0) -> tuple[Tensor, Tensor]:
        """`values [s, n, ...]` with `fill` behind the shorter sets, and `mask [s, n]`, True where a vector is real."""
        layout = self.layout
        mask = torch.arange(layout.longest, device=self.device) < layout.lengths[:, None]
        values = self.values.new_full((*mask.shape, *self.values.shape[1:]), fill)
        values[mask] = self.values
        return values, mask

    def unpack(self) -> list[Tensor]:
        """The values of each set."""
        return list(torch.split(self.values, self.layout.lengths.tolist()))

    @classmethod
    def _trusted(cls, values: Tensor, layout: Layout) -> VectorSets:
        """Sets from values and a layout that are known to agree."""
        sets = cls.__new__(cls)
        sets.values, sets.layout = values, layout
        return sets

    def with_values(self, values: Tensor) -> VectorSets:
        """Other values, of any width, for the same layout (the very same object, with all it has derived)."""
        if values.shape[0] != self.values.shape[0]:
            raise InputError(f"there are {values.shape[0]} vectors, expected {self.values.shape[0]}: the layout's")
        return self._trusted(values, self.layout)

    def select(self, indices: Sequence[int] | Tensor) -> VectorSets:
        """The sets with these indices, in this order, with their coordinates, edges and edge values."""
        layout, chosen = self.layout, torch.as_tensor(indices, dtype=torch.int64, device=self.device)
        lengths = layout.lengths[chosen]
        offsets = _offsets(lengths)
        start = torch.repeat_interleave(layout.offsets[chosen] - offsets[:-1], lengths)
        rows = torch.arange(start.shape[0], device=self.device) + start
        edges = edge_values = None
        if layout.edges is not None:
            counts = torch.bincount(layout.set_of_row[layout.edges[0]], minlength=layout.sets)
            by_set = torch.argsort(layout.set_of_row[layout.edges[0]], stable=True)
            span = torch.repeat_interleave(
                _offsets(counts)[:-1][chosen] - _offsets(counts[chosen])[:-1], counts[chosen]
            )
            picked = by_set[torch.arange(span.shape[0], device=self.device) + span]
            shift = torch.repeat_interleave(offsets[:-1] - layout.offsets[chosen], counts[chosen])
            edges = layout.edges[:, picked] + shift
            edge_values = None if layout.edge_values is None else layout.edge_values[picked]
        coords = None if layout.coords is None else layout.coords[rows]
        starts = None if layout.starts is None else layout.starts[chosen]
        return VectorSets(self.values[rows], Layout._trusted([offsets, coords, edges, edge_values, starts]))

    @classmethod
    def concatenate(cls, batches: Sequence[VectorSets]) -> VectorSets:
        """The sets of all batches, in order; coordinates and edges must be in all of them or in none.

        Raises:
            InputError: no batch at all, or one that lacks what the first has.
        """
        if not batches:
            raise InputError("there are no batches to concatenate, expected at least one")
        layouts = [batch.layout for batch in batches]
        for name in Layout.FIELDS:
            has = [getattr(layout, name) is not None for layout in layouts]
            if len(set(has)) > 1:
                lacking = has.index(not has[0])
                raise InputError(f"batch {lacking} and batch 0 differ in having {name}, expected all batches alike")
        shifts = _offsets(torch.tensor([layout.total for layout in layouts]))[:-1].tolist()

        def join(name: str, shifted: Callable[[Tensor, int], Tensor] = lambda f, _: f, dim: int = 0) -> Tensor | None:
            fields = [getattr(layout, name) for layout in layouts]
            return (
                None
                if fields[0] is None
                else torch.cat([shifted(f, s) for f, s in zip(fields, shifts, strict=True)], dim)
            )

        offsets = _offsets(torch.cat([layout.lengths for layout in layouts]))
        edges = join("edges", lambda f, shift: f + shift, dim=1)
        fields = [offsets, join("coords"), edges, join("edge_values"), join("starts")]
        return cls(torch.cat([batch.values for batch in batches]), Layout._trusted(fields))

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        non_blocking: bool = False,
    ) -> VectorSets:
        """The same sets elsewhere; `dtype` touches float values only, never ids, coordinates or offsets."""
        dtype = dtype if self.values.is_floating_point() else None
        values = self.values.to(device=device or self.device, dtype=dtype, non_blocking=non_blocking)
        return self._trusted(values, self.layout.to(device, non_blocking))

    def pin_memory(self) -> VectorSets:
        return self._trusted(self.values.pin_memory(), self.layout.pin_memory())


def _offsets(lengths: Tensor) -> Tensor:
    """`[0, l0, l0 + l1, ...]`"""
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0))


def _flatten_layout(layout: Layout) -> tuple[list[Tensor | None], None]:
    return layout._fields(), None


def _unflatten_layout(fields: Any, context: None) -> Layout:
    return Layout._trusted(list(fields))


def _flatten_sets(sets: VectorSets) -> tuple[list[Any], None]:
    return [sets.values, sets.layout], None


def _unflatten_sets(fields: Any, context: None) -> VectorSets:
    return VectorSets._trusted(*fields)


pytree.register_pytree_node(Layout, _flatten_layout, _unflatten_layout, serialized_type_name="regard.Layout")
pytree.register_pytree_node(VectorSets, _flatten_sets, _unflatten_sets, serialized_type_name="regard.VectorSets")
