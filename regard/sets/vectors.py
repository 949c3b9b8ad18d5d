"""`VectorSets`: a batch of sets of vectors, packed one after another and never padded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.errors import InputError
from regard.sets.checks import check_tensor, check_tensors
from regard.sets.layout import Layout, offsets_of
from regard.sets.whole import repeated

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int, Num, Shaped

__all__ = ["VectorSets"]


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

    def __init__(self, values: Float[Tensor, "t d"] | Int[Tensor, " t *f"], layout: Layout) -> None:
        check_tensor("values", values)
        if not isinstance(layout, Layout):
            raise InputError(
                f"layout is of type {type(layout).__name__}, expected a Layout, such as Layout.of_lengths([2, 3])"
            )
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
    def offsets(self) -> Int[Tensor, " bounds"]:
        return self.layout.offsets

    @property
    def coords(self) -> Num[Tensor, "t n"] | None:
        return self.layout.coords

    @property
    def edges(self) -> Int[Tensor, "2 edges"] | None:
        return self.layout.edges

    @property
    def edge_values(self) -> Num[Tensor, "edges m"] | None:
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
        values: Sequence[Shaped[Tensor, " _ *d"]],
        coords: Sequence[Num[Tensor, "_ n"]] | None = None,
        edges: Sequence[Int[Tensor, "2 _"]] | None = None,
        edge_values: Sequence[Num[Tensor, "_ m"]] | None = None,
        places: Sequence[Int[Tensor, " _"]] | None = None,
    ) -> VectorSets:
        """One batch from a list of sets; rows named by `edges[b]` count from the first vector of set `b`.

        Raises:
            InputError: a set whose width, type or numbers differ from the others'; the sentence names it.
        """
        check_tensors("values", values)
        named = {"coords": coords, "edges": edges, "edge_values": edge_values, "places": places}
        for name, parts in named.items():
            if parts is not None:
                check_tensors(name, parts)
        _check_parts(values, coords, edges, edge_values, places)
        joined, offsets = _join(values), offsets_of(torch.tensor([each.shape[0] for each in values], dtype=torch.int64))
        offsets = offsets.to(joined.device)
        shifted = None
        if edges is not None:
            shifted = torch.cat([each + offsets[b] for b, each in enumerate(edges)] or [offsets.new_zeros(2, 0)], dim=1)
        layout = Layout(
            offsets,
            None if coords is None else _join(coords),
            shifted,
            None if edge_values is None else _join(edge_values),
            places=None if places is None else torch.cat([*places, offsets.new_zeros(0)]),
        )
        return cls(joined, layout)

    @classmethod
    def from_padded(cls, values: Shaped[Tensor, "s longest *d"], mask: Bool[Tensor, "s longest"]) -> VectorSets:
        """Sets from rectangles, with the mask True where a vector is real: padding may lie on any side, or between.

        >>> sets = VectorSets.from_padded(torch.ones(2, 3, 4), torch.tensor([[False, False, True], [True, True, True]]))
        >>> sets.offsets.tolist()
        [0, 1, 4]
        """
        check_tensor("values", values)
        check_tensor("the mask", mask)
        if mask.dtype != torch.bool or mask.dim() != 2 or mask.shape != values.shape[:2]:
            found = f"{list(mask.shape)} {mask.dtype}"
            raise InputError(f"the mask has shape {found}, expected {list(values.shape[:2])} of bool, True where real")
        return cls(values[mask], Layout(offsets_of(mask.sum(1))))

    def to_padded(
        self, fill: float = 0, mask: Bool[Tensor, "s longest"] | None = None, left: bool = False
    ) -> tuple[Shaped[Tensor, "s longest *d"], Bool[Tensor, "s longest"]]:
        """The values with `fill` where shorter sets have none, and the mask, True where a vector is real.

        Args:
            fill: of what is no vector.
            mask: where the vectors go, such as the mask that `from_padded` was given: what came in comes out, whatever its padding.
            left: whether `fill` lies before the shorter sets and not after them, where there is no mask.

        Raises:
            InputError: a mask of other sets.

        >>> sets = VectorSets.pack([torch.ones(1, 1), torch.ones(2, 1)])
        >>> sets.to_padded(left=True)[0].squeeze(2).tolist()
        [[0.0, 1.0], [1.0, 1.0]]
        """
        layout = self.layout
        if mask is None:
            place = torch.arange(layout.longest, device=self.device)
            lengths = layout.lengths[:, None]
            mask = place >= layout.longest - lengths if left else place < lengths
        else:
            check_tensor("the mask", mask)
            if mask.dtype != torch.bool or mask.dim() != 2 or not torch.equal(mask.sum(1), layout.lengths):
                found = f"shape {list(mask.shape)} {mask.dtype}" + (
                    f", {mask.sum(1).tolist()} True" if mask.dim() == 2 else ""
                )
                wanted = f"bool, True so many times per set: {layout.lengths.tolist()}"
                raise InputError(f"the mask has {found}, expected {wanted}")
        values = self.values.new_full((*mask.shape, *self.values.shape[1:]), fill)
        values[mask] = self.values
        return values, mask

    def unpack(self) -> list[Shaped[Tensor, " _ *d"]]:
        """The values of each set."""
        return list(torch.split(self.values, self.layout.lengths.tolist()))

    @classmethod
    def _trusted(cls, values: Tensor, layout: Layout) -> VectorSets:
        """Sets from values and a layout that are known to agree."""
        sets = cls.__new__(cls)
        sets.values, sets.layout = values, layout
        return sets

    def with_values(self, values: Shaped[Tensor, " t *d"]) -> VectorSets:
        """Other values, of any width, for the same layout (the very same object, with all it has derived)."""
        if values.shape[0] != self.values.shape[0]:
            raise InputError(f"there are {values.shape[0]} vectors, expected {self.values.shape[0]}: the layout's")
        return self._trusted(values, self.layout)

    def select(self, indices: Sequence[int] | Shaped[Tensor, " chosen"]) -> VectorSets:
        """The sets with these indices, in this order, with their coordinates, edges and edge values."""
        layout, chosen = self.layout, torch.as_tensor(indices, device=self.device)
        if chosen.numel() == 0:
            chosen = chosen.to(torch.int64)
        if chosen.dtype != torch.int64 or chosen.dim() != 1 or ((chosen < 0) | (chosen >= len(self))).any():
            raise InputError(f"sets {chosen.tolist()} were selected, expected numbers from 0 to {len(self) - 1}")
        lengths = layout.lengths[chosen]
        offsets = offsets_of(lengths)
        start = repeated(layout.offsets[chosen] - offsets[:-1], lengths)
        rows = torch.arange(start.shape[0], device=self.device) + start
        edges = edge_values = None
        if layout.edges is not None:
            counts = torch.bincount(layout.set_of_row[layout.edges[0]], minlength=layout.sets)
            by_set = torch.argsort(layout.set_of_row[layout.edges[0]], stable=True)
            span = repeated(offsets_of(counts)[:-1][chosen] - offsets_of(counts[chosen])[:-1], counts[chosen])
            picked = by_set[torch.arange(span.shape[0], device=self.device) + span]
            shift = repeated(offsets[:-1] - layout.offsets[chosen], counts[chosen])
            edges = layout.edges[:, picked] + shift
            edge_values = None if layout.edge_values is None else layout.edge_values.index_select(0, picked)
        coords = None if layout.coords is None else layout.coords.index_select(0, rows)
        starts = None if layout.starts is None else layout.starts[chosen]
        places = None if layout.places is None else layout.places[rows]
        # Unlike an index, its gradient is summed in one fixed order.
        values = self.values.index_select(0, rows)
        return VectorSets(values, Layout._trusted([offsets, coords, edges, edge_values, starts, places]))

    @classmethod
    def concatenate(cls, batches: Sequence[VectorSets]) -> VectorSets:
        """The sets of all batches, in order; coordinates and edges must be in all of them or in none.

        Raises:
            InputError: no batch at all, or one that lacks what the first has, or has it in another width or type.
        """
        if not batches:
            raise InputError("there are no batches to concatenate, expected at least one")
        layouts = [batch.layout for batch in batches]
        for name in Layout.FIELDS:
            has = [getattr(layout, name) is not None for layout in layouts]
            if len(set(has)) > 1:
                lacking = has.index(not has[0])
                raise InputError(f"batch {lacking} and batch 0 differ in having {name}, expected all batches alike")
        for name in ("values", "coords", "edge_values"):
            _check_alike("batch", name, [getattr(batch, name) for batch in batches])
        shifts = offsets_of(torch.tensor([layout.total for layout in layouts]))[:-1].tolist()

        def join(name: str, shifted: Callable[[Tensor, int], Tensor] = lambda f, _: f, dim: int = 0) -> Tensor | None:
            fields = [getattr(layout, name) for layout in layouts]
            return (
                None
                if fields[0] is None
                else torch.cat([shifted(f, s) for f, s in zip(fields, shifts, strict=True)], dim)
            )

        offsets = offsets_of(torch.cat([layout.lengths for layout in layouts]))
        edges = join("edges", lambda f, shift: f + shift, dim=1)
        fields = [offsets, join("coords"), edges, join("edge_values"), join("starts"), join("places")]
        return cls(torch.cat([batch.values for batch in batches]), Layout._trusted(fields))

    def to(
        self,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
        non_blocking: bool = False,
    ) -> VectorSets:
        """The same sets elsewhere; `dtype` touches float values only, never ids, coordinates or offsets."""
        dtype = dtype if self.values.is_floating_point() else None
        values = self.values.to(
            device=self.device if device is None else device, dtype=dtype, non_blocking=non_blocking
        )
        return self._trusted(values, self.layout.to(device, non_blocking))

    def pin_memory(self) -> VectorSets:
        return self._trusted(self.values.pin_memory(), self.layout.pin_memory())


def _check_parts(
    values: Sequence[Tensor],
    coords: Sequence[Tensor] | None,
    edges: Sequence[Tensor] | None,
    edge_values: Sequence[Tensor] | None,
    places: Sequence[Tensor] | None,
) -> None:
    """Refuse sets that do not fit together, or whose fields do not fit their vectors and edges."""
    for name, parts in (("coords", coords), ("edges", edges), ("edge_values", edge_values), ("places", places)):
        if parts is not None and len(parts) != len(values):
            raise InputError(f"there are {name} for {len(parts)} sets, expected {len(values)}: one entry per set")
    if edge_values is not None and edges is None:
        raise InputError(f"there are edge values for {len(edge_values)} sets but no edges, expected both")
    for b, each in enumerate(values):
        if each.dim() == 0:
            raise InputError(f"set {b} is a single number, expected one row per vector")
    for b, each in enumerate(places or ()):
        if each.shape != values[b].shape[:1]:
            found = f"places of shape {list(each.shape)} for {values[b].shape[0]} vectors"
            raise InputError(f"set {b} has {found}, expected one place per vector")
    for b, each in enumerate(edges or ()):
        if each.dim() != 2 or each.shape[0] != 2 or each.dtype != torch.int64:
            raise InputError(f"set {b} has edges of shape {list(each.shape)} {each.dtype}, expected [2, e] int64")
        n = values[b].shape[0]
        outside = each[(each < 0) | (each >= n)]
        if outside.numel():
            raise InputError(f"set {b} has an edge to row {int(outside[0])}, expected rows between 0 and {n - 1}")
    for name, parts, owners, kind in (
        ("coords", coords, [each.shape[0] for each in values], "vector"),
        ("edge values", edge_values, [each.shape[1] for each in edges or ()], "edge"),
    ):
        for b, each in enumerate(parts or ()):
            if each.dim() != 2 or each.shape[0] != owners[b]:
                found = f"{name} of shape {list(each.shape)} for {owners[b]} {kind}s"
                raise InputError(f"set {b} has {found}, expected one row per {kind}")
    for name, parts in (("values", values), ("coords", coords), ("edge values", edge_values)):
        _check_alike("set", name, parts or ())


def _check_alike(noun: str, name: str, parts: Sequence[Tensor | None]) -> None:
    """Refuse fields that cannot be joined: of other widths, numbers of dimensions, or types than the first."""
    kinds = [
        None if part is None else f"[{', '.join(['n', *map(str, part.shape[1:])])}] {part.dtype}" for part in parts
    ]
    for b, kind in enumerate(kinds):
        if kind != kinds[0]:
            raise InputError(f"{noun} {b} has {name} of shape {kind}, expected as in {noun} 0: {kinds[0]}")


def _join(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)) if parts else torch.zeros(0, 0)
