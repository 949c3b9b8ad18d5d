"""`Layout`: all of a batch of sets but the values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, SupportsIndex, TypeVar

import torch
from torch import Tensor

from regard.errors import InputError
from regard.sets.checks import MOST_PLACES, check_places, check_tensor, whole_numbers
from regard.sets.whole import ordered, repeated

if TYPE_CHECKING:
    from jaxtyping import Int, Num

__all__ = ["Layout", "keep", "offsets_of"]

T = TypeVar("T")

# Farther places, a float64 could not tell from their neighbors.
_MOST_START = 1 << 53


class Layout:
    """Where the sets of a batch lie, and what belongs to their vectors beside the values.

    Built once per batch and shared by all layers; what executors derive from it is computed once and kept here.

    Args:
        offsets: `[s + 1]` int64; set `b` owns rows `offsets[b]:offsets[b + 1]`. Empty sets are legal.
        coords: `[t, n]` or None; where each vector lies beyond its place in the order, such as (row, column).
        edges: `[2, edges]` int64 or None; (query row, key row), inside a set, without repeats.
        edge_values: `[edges, m]` or None; what each edge carries, which a layer may change (`with_edge_values`).
        starts: `[s]` int64 or None; the index of each set's first row in its own set (0 where None), for queries that
            continue a set whose first keys came before.
        places: `[t]` int64 or None; the place of each vector in its set, counted from 0 and distinct within a set, where the
            order of the rows is another. What reads an order (patterns, positions, biases) reads places. Not together with
            `starts`, which say the same of rows in order.

    Raises:
        InputError: a field that does not fit the others; the sentence names the set and the reason.

    >>> layout = Layout(torch.tensor([0, 2, 2, 5]))
    >>> layout.lengths.tolist(), layout.index.tolist()
    ([2, 0, 3], [0, 1, 0, 1, 2])
    """

    FIELDS = ("offsets", "coords", "edges", "edge_values", "starts", "places")
    # For layouts that were stored before there were places.
    places: Int[Tensor, " t"] | None = None

    def __init__(
        self,
        offsets: Int[Tensor, " bounds"],
        coords: Num[Tensor, "t n"] | None = None,
        edges: Int[Tensor, "2 edges"] | None = None,
        edge_values: Num[Tensor, "edges m"] | None = None,
        starts: Int[Tensor, " bounds-1"] | None = None,
        places: Int[Tensor, " t"] | None = None,
    ) -> None:
        self.offsets = offsets
        self.coords = coords
        self.edges = edges
        self.edge_values = edge_values
        self.starts = starts
        self.places = places
        for name in self.FIELDS:
            check_tensor(name, getattr(self, name), none=name != "offsets")
        self._check()

    @classmethod
    def _trusted(cls, fields: Sequence[Tensor | None]) -> Layout:
        """A layout from fields that are known to agree, in the order of `FIELDS`; those left out at the end are None."""
        layout = cls.__new__(cls)
        for name, field in zip(cls.FIELDS, [*fields, *[None] * (len(cls.FIELDS) - len(fields))], strict=True):
            setattr(layout, name, field)
        return layout

    @classmethod
    def of_lengths(cls, lengths: Iterable[SupportsIndex] | Int[Tensor, " s"]) -> Layout:
        """The layout of sets with these numbers of vectors, and nothing else.

        Raises:
            InputError: lengths that are no whole numbers; the sentence names the set.

        >>> Layout.of_lengths([2, 0, 3]).offsets.tolist()
        [0, 2, 2, 5]
        """
        return cls(offsets_of(whole_numbers("lengths", lengths)))

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
        if self.starts is not None and (self.starts.abs() > _MOST_START).any():
            b = int((self.starts.abs() > _MOST_START).nonzero()[0])
            raise InputError(
                f"set {b} starts at place {int(self.starts[b])}, expected at most 2^53: a place is a float64 too"
            )
        if self.places is not None:
            check_places(self.places, self.set_of_row, self.starts)
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

    @property
    def host(self) -> Layout:
        """The same layout on the CPU, this very object where it lies there.

        What is decided before anything runs is derived from it, so that nobody waits for a GPU at every number.
        """
        return self if self.device.type == "cpu" else self._copy_on_host

    @cached_property
    def _copy_on_host(self) -> Layout:
        with torch.inference_mode(False):
            return self._trusted([None if f is None else f.detach().cpu() for f in self._fields()])

    @cached_property
    def total(self) -> int:
        """The number of vectors of all sets."""
        return int((self.offsets if torch.compiler.is_compiling() else self.host.offsets)[-1])

    @cached_property
    def lengths(self) -> Int[Tensor, " s"]:
        """`[s]` the number of vectors of each set."""
        return self.offsets.diff()

    @cached_property
    def longest(self) -> int:
        """The number of vectors of the largest set, 0 where there is none."""
        lengths = self.lengths if torch.compiler.is_compiling() else self.host.lengths
        return int(lengths.max()) if self.sets else 0

    @cached_property
    def set_of_row(self) -> Int[Tensor, " t"]:
        """`[t]` the set that owns each row."""
        return repeated(torch.arange(self.sets, device=self.device), self.lengths)

    @cached_property
    def index(self) -> Int[Tensor, " t"]:
        """`[t]` each row's index in its own set, counted from the set's start: its place, where there are places."""
        if self.places is not None:
            return self.places
        # Tensors of inference mode would be of no use in training.
        with torch.inference_mode(False):
            first = self.offsets[:-1] if self.starts is None else self.offsets[:-1] - self.starts
            return torch.arange(self.total, device=self.device) - first[self.set_of_row]

    def owners(self, rows: int) -> Int[Tensor, " {rows}"]:
        """`set_of_row`, for the number of rows, which code that torch traces cannot read off the offsets."""
        if not torch.compiler.is_compiling():
            return self.set_of_row
        return torch.searchsorted(self.offsets[1:].contiguous(), torch.arange(rows, device=self.device), right=True)

    def order(self, rows: int) -> Int[Tensor, " {rows}"]:
        """`index`, for the number of rows, which code that torch traces cannot read off the offsets."""
        if self.places is not None or not torch.compiler.is_compiling():
            return self.index
        first = self.offsets[:-1] if self.starts is None else self.offsets[:-1] - self.starts
        return torch.arange(rows, device=self.device) - first[self.owners(rows)]

    @cached_property
    def places_of_sets(self) -> tuple[Int[Tensor, " s"], Int[Tensor, " s"]]:
        """`[s]` the first place of each set, and `[s]` the number of places from there to its last one."""
        first = torch.zeros_like(self.lengths) if self.starts is None else self.starts
        if self.places is None:
            return first, self.lengths
        ends = [
            first.scatter_reduce(0, self.set_of_row, self.places, how, include_self=False) for how in ("amin", "amax")
        ]
        return ends[0], torch.where(self.lengths > 0, ends[1] - ends[0] + 1, 0)

    @cached_property
    def row_order(self) -> Int[Tensor, " t"] | None:
        """`[t]` the rows of each set in order of their places; None where they are in order already."""
        if self.places is None:
            return None
        with torch.inference_mode(False):
            order = torch.argsort(self.set_of_row * MOST_PLACES + self.places)
            return None if torch.equal(order, torch.arange(self.total, device=self.device)) else order

    def check_rows_in_order(self, layer: str) -> None:
        """Refuse sets whose rows are not in order of their places, for a layer that reads the rows next to each one.

        Raises:
            InputError: the layout has places; the sentence begins with the layer.
        """
        if self.places is not None:
            raise InputError(
                f"{layer} reads rows in their order and these sets have places, which tell another one: expected sets without"
            )

    @cached_property
    def ranks(self) -> Int[Tensor, " t"]:
        """`[t]` the row that each vector has where those of each set lie in order of their places."""
        with torch.inference_mode(False):
            rows = torch.arange(self.total, device=self.device)
            return rows if self.row_order is None else torch.empty_like(rows).index_copy_(0, self.row_order, rows)

    def in_order(self) -> Layout:
        """The same sets with their rows in order of their places: this very object where there are none.

        Its `places` are None where no place is left out between the first and the last of a set.
        """
        if self.places is None:
            return self
        layout: Layout = self.kept("in order", self._in_order)
        if layout.edge_values is not self.edge_values:
            layout = layout.with_edge_values(self.edge_values)
        if self.coords is not None and self.coords.requires_grad:
            # What is kept holds no graph.
            layout = layout._sharing()
            layout.coords = self._ordered(self.coords)
        return layout

    def _in_order(self) -> Layout:
        assert self.places is not None
        first, number = self.places_of_sets
        complete = torch.equal(number, self.lengths)
        places = None if complete else self._ordered(self.places)
        starts = first if complete and bool(first.any()) else None
        coords = None if self.coords is None else self._ordered(self.coords.detach())
        edges = None if self.edges is None else self.ranks[self.edges]
        return Layout._trusted([self.offsets, coords, edges, self.edge_values, starts, places])

    def _ordered(self, rows: Tensor) -> Tensor:
        return rows if self.row_order is None else rows.index_select(0, self.row_order)

    def with_edge_values(self, values: Num[Tensor, "edges m"] | None) -> Layout:
        """The same layout with other values on its edges, in the order of `edges`; it shares all that is derived, which reads none.

        Raises:
            InputError: values that are not one row for each edge.
        """
        edges = 0 if self.edges is None else self.edges.shape[1]
        if values is not None and (values.dim() != 2 or values.shape[0] != edges):
            raise InputError(f"edge values have shape {list(values.shape)}, expected [{edges}, m]: one row per edge")
        if torch.compiler.is_compiling():
            fields = dict(zip(self.FIELDS, self._fields(), strict=True)) | {"edge_values": values}
            return self._trusted([fields[name] for name in self.FIELDS])
        layout = self._sharing()
        layout.edge_values = values
        return layout

    def _sharing(self) -> Layout:
        """A copy that shares all that is derived, now and later."""
        self.derived  # noqa: B018  made before it is shared
        layout = type(self).__new__(type(self))
        vars(layout).update(vars(self))
        return layout

    @cached_property
    def edge_codes(self) -> Int[Tensor, " edges"]:
        """`[edges]` query row * t + key row of every edge, in increasing order."""
        if self.edges is None:
            return self.offsets.new_zeros(0)
        return ordered(self.edges[0] * self.total + self.edges[1])

    @cached_property
    def edge_order(self) -> Int[Tensor, " edges"]:
        """`[edges]` the place in `edges` of each entry of `edge_codes`."""
        if self.edges is None:
            return self.offsets.new_zeros(0)
        return torch.argsort(self.edges[0] * self.total + self.edges[1], stable=True)

    @cached_property
    def derived(self) -> dict[Any, Any]:
        """What executors computed from this layout, under keys of their own; it lives as long as the layout."""
        return {}

    def kept(self, key: object, make: Callable[[], T]) -> T:
        """What `make` gives, computed once and kept in `derived`; code that torch traces computes it anew."""
        return make() if torch.compiler.is_compiling() else keep(self.derived, key, make)

    def to(self, device: torch.device | str | None, non_blocking: bool = False) -> Layout:
        """The same layout on another device."""
        fields = [None if f is None else f.to(device, non_blocking=non_blocking) for f in self._fields()]
        # The very same object where nothing moved, with all it has derived.
        if fields[0] is self.offsets:
            return self
        moved = self._trusted(fields)
        if self.device.type == "cpu":
            moved.__dict__["_copy_on_host"] = self  # in the place of a copy
        return moved

    def __getstate__(self) -> dict[str, Num[Tensor, " ..."] | None]:
        # What was derived is quicker to derive again than to send to another process.
        return dict(zip(self.FIELDS, self._fields(), strict=True))

    def pin_memory(self) -> Layout:
        return self._trusted([None if f is None else f.pin_memory() for f in self._fields()])

    def singles(self) -> Layout:
        """The layout of one vector for each set."""
        return self._trusted([torch.arange(self.sets + 1, device=self.device)])

    def __repr__(self) -> str:
        parts = [f"{self.sets} sets", f"{self.total} vectors"]
        if self.coords is not None:
            parts.append(f"{self.coords.shape[1]} coordinates")
        if self.edges is not None:
            parts.append(f"{self.edges.shape[1]} edges")
        return f"Layout({', '.join(parts)})"


def keep(derived: dict[Any, Any], key: object, make: Callable[[], T]) -> T:
    """What is kept under the key, made where nothing is: also while inferring, in a form that training can use."""
    if key not in derived:
        # Tensors of inference mode would be of no use in training.
        with torch.inference_mode(False):
            derived[key] = make()
    found: T = derived[key]
    return found


def offsets_of(lengths: Int[Tensor, " s"]) -> Int[Tensor, " s+1"]:
    """`[0, l0, l0 + l1, ...]`"""
    return torch.nn.functional.pad(lengths.cumsum(0), (1, 0))
