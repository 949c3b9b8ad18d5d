"""`Axes`: reorder vectors with coordinates into lines along each axis, and attend within the lines."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from regard.attention.adapters.base import Adapter, Attends, Call
from regard.attention.spec.attention import Attention
from regard.attention.spec.base import MOST_COORDINATES, bounded
from regard.attention.spec.patterns import AlongAxis
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["Axes"]


@dataclass(frozen=True, repr=False)
class Axes(Adapter):
    """Attention along each axis in turn, for vectors on a grid: n vectors of a square take n sqrt(n) pairs and not n^2.

    With A_k the attention whose pattern is `attention.pattern & AlongAxis(k)`,

        sum      out = A_0(q, k, v) + A_1(q, k, v) + ...
        stack    out = ... A_1(q, k, A_0(q, k, v))

    so that with "stack" every vector depends on all, by way of its lines. A line is a set of its own, whose vectors are at the
    places that they have in the whole: patterns, biases and scores by place are those of the whole set. The learned tensors are
    shared by the axes. Vectors need not fill the grid; where a coordinate is no number, lines of the other axes leave the
    vector out. Dropout draws for each axis anew.

    Source: Ho et al. 2019 (Axial Transformer), section 3.1.

    Args:
        attention: along each axis; one that reads no edges.
        axes: how many coordinates there are.
        combine: "sum" or "stack".

    Raises:
        InputError: another number of axes or way to combine, or an attention that reads edges.

    >>> Axes(combine="stack").along(1)
    Attention(pattern=(Everyone() & AlongAxis(k=1)))
    """

    axes: int = field(default=2, metadata=bounded(1, MOST_COORDINATES))
    combine: str = "sum"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.combine not in ("sum", "stack"):
            raise InputError(f"Axes has combine {self.combine!r}, expected 'sum' or 'stack'")
        if self.attention.reads_edges:
            raise InputError(f"Axes has attention {self.attention!r}, which reads edges, expected one that reads none")

    def along(self, axis: int) -> Attention:
        """What the adapter computes along an axis, as an attention of the whole sets."""
        patterns = tuple(pattern & AlongAxis(axis) for pattern in self.attention.patterns)
        return replace(self.attention, pattern=patterns[0] if len(patterns) == 1 else patterns)

    @property
    def extent(self) -> tuple[float, float]:
        before, after = self.attention.extent
        times = self.axes if self.combine == "stack" else 1
        return times * before, times * after

    @property
    def coordinates(self) -> int:
        return max(self.axes, self.attention.coordinates)

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        if key_layout is not layout:
            return f"{self.text} goes along lines of one layout, expected queries and keys of the same layout"
        number = 0 if layout.coords is None else layout.coords.shape[1]
        if number != self.axes:
            return f"the sets have {number} coordinates, expected {self.axes} for {self.text}"
        return None

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Call]:
        lines = [_lines(layout, axis).layout for axis in range(self.axes)]
        return [Call(f"axis {axis}", self.attention, line, line) for axis, line in enumerate(lines)]

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        out: Tensor | None = None
        for axis in range(self.axes):
            lines = _lines(layout, axis)
            # Every axis draws by a seed of its own.
            drop = None if dropout is None else replace(dropout, seed=(dropout.seed + axis) % (1 << 62))
            q, k, v = (x.index_select(0, lines.rows) for x in (tensors.q, tensors.k, tensors.v))
            found = verb(self.attention, replace(tensors, q=q, k=k, v=v), lines.layout, None, drop)
            found = found.new_zeros(layout.total, *found.shape[1:]).index_copy(0, lines.rows, found)
            if self.combine == "stack" and axis + 1 < self.axes:
                # The values are those of all heads from now on, and so must the keys be.
                k = tensors.k.repeat_interleave(tensors.q.shape[1] // tensors.k.shape[1], dim=1)
                tensors = replace(tensors, k=k, v=found)
            else:
                out = found if out is None else out + found
        assert out is not None
        return out


class _Lines(NamedTuple):
    """Sets that are the lines along an axis, and which `rows` of the whole layout they hold, one after another."""

    layout: Layout
    rows: Tensor


def _lines(layout: Layout, axis: int) -> _Lines:
    lines: _Lines = layout.kept(("lines", axis), lambda: _new_lines(layout, axis))
    if layout.coords is None or not layout.coords.requires_grad:
        return lines
    # What is kept holds no graph.
    lines.layout.derived  # noqa: B018  shared with the copy
    learned = copy(lines.layout)
    learned.coords = layout.coords.index_select(0, lines.rows)
    return lines._replace(layout=learned)


def _new_lines(layout: Layout, axis: int) -> _Lines:
    import torch

    from regard.sets import Layout
    from regard.sets.layout import offsets_of

    assert layout.coords is not None, "an adapter that lacks coordinates is refused"
    coords = layout.coords.detach()
    others = torch.cat(
        [layout.set_of_row[:, None].double(), coords[:, :axis].double(), coords[:, axis + 1 :].double()], 1
    )
    # What is no number equals nothing, not even itself.
    rows = (~others.isnan().any(1)).nonzero()[:, 0]
    rows = rows[layout.index[rows].argsort(stable=True)]
    line = others[rows].unique(dim=0, return_inverse=True)[1]
    rows = rows[line.argsort(stable=True)]
    offsets = offsets_of(torch.bincount(line))
    return _Lines(Layout(offsets, coords[rows], places=layout.index[rows]), rows)
