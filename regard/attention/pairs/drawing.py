"""Pictures of patterns: as text, and with matplotlib. Queries go down, keys across; a cell is filled where a query may attend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from regard.attention.pairs.pairs import Pairs
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Bool, Float

__all__ = ["example", "grid", "matrix", "on_grid", "plot", "text"]

_SHADES = "·░▒▓█"
_CELLS = 32  # the side of a picture as text
_SAMPLES = 16  # the side of a cell's grid of samples
# Edges that an example gives each vector, to others so many places ahead of it.
_AHEAD = (0, 1, 5)
_EMPTY, _FILLED = "#eef0f3", "#2f6db5"


@runtime_checkable
class Pattern(Protocol):
    """What a picture asks a `regard.attention.spec.patterns.Pattern`."""

    @property
    def reads_edges(self) -> bool: ...

    @property
    def coordinates(self) -> int: ...

    def for_head(self, head: int, /) -> Pattern: ...

    def allows(self, i: Any, j: Any, pairs: Pairs, /) -> Any: ...


def example(pattern: Pattern, n: int) -> Layout:
    """One set of n vectors with what the pattern reads: coordinates on a grid as square as can be, edges around a ring.

    >>> from regard.attention.spec.patterns import Near
    >>> example(Near(1), 6).coords.int().tolist()
    [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    """
    rows = torch.arange(n)
    coords = edges = None
    if pattern.coordinates:
        coords = grid(n, pattern.coordinates)
    if pattern.reads_edges:
        ahead = torch.tensor(sorted({step % n for step in _AHEAD})) if n else torch.zeros(0, dtype=torch.int64)
        keys = (rows[:, None] + ahead) % max(n, 1)
        edges = torch.stack([rows[:, None].expand_as(keys).flatten(), keys.flatten()])
    return Layout(torch.tensor([0, n]), coords, edges)


def grid(n: int, coordinates: int) -> Float[Tensor, "{n} axes"]:
    """`[n, coordinates]` places on a grid as square as can be, row by row; at least two coordinates."""
    axes = max(2, coordinates)
    side = next(side for side in range(1, n + 2) if side**axes >= n)
    return torch.stack([torch.arange(n) // min(side**axis, n + 1) % side for axis in reversed(range(axes))], 1).double()


def matrix(pattern: Pattern, layout: Layout | int, cells: int | None = None) -> Float[Tensor, "cells cells"]:
    """`[m, m]` how much of each cell the pattern allows, from 0 to 1, on the first set of a layout or on an `example` of n vectors.

    Args:
        cells: m, at most; longer sets are shown by samples, the same for queries and keys. None shows every pair.
    """
    layout = example(pattern, layout) if isinstance(layout, int) else layout
    length = int(layout.lengths[0]) if layout.sets else 0
    side = length if cells is None else min(length, cells)
    if side == 0:
        return torch.zeros(0, 0)
    samples = 1 if side == length else min(_SAMPLES, length // side)
    rows = torch.arange(side * samples) * length // (side * samples)
    pairs = Pairs(layout, layout, rows[:, None], rows)
    # Where heads differ, the first one is shown.
    allowed = pattern.for_head(0).allows(pairs.i, pairs.j, pairs).expand(len(rows), len(rows))
    return allowed.reshape(side, samples, side, samples).double().mean(dim=(1, 3))


def text(pattern: Pattern, layout: Layout | int) -> str:
    """A row for each query, or each stretch of queries, shaded by how much it allows; what allows any sample is never blank.

    >>> from regard.attention.spec.patterns import Causal
    >>> print(text(Causal(), 3))
    ██····
    ████··
    ██████
    """
    shares = matrix(pattern, layout, _CELLS)
    shades = (shares * (len(_SHADES) - 1)).ceil().long()
    return "\n".join("".join(_SHADES[shade] * 2 for shade in row) for row in shades.tolist()) or "(no vectors)"


def on_grid(pattern: Pattern, rows: int, columns: int, query: tuple[int, int]) -> Bool[Tensor, "{rows} {columns}"]:
    """`[rows, columns]` which pixels of a picture the query at (row, column) may attend to, pixels counted row by row.

    >>> from regard.attention.spec.patterns import Near
    >>> on_grid(Near(1), 3, 4, query=(0, 2)).int().tolist()
    [[0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]
    """
    place = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).double()
    layout = Layout(torch.tensor([0, rows * columns]), coords=place)
    pairs = Pairs(layout, layout, torch.tensor(query[0] * columns + query[1]), torch.arange(rows * columns))
    return torch.as_tensor(pattern.for_head(0).allows(pairs.i, pairs.j, pairs)).expand(len(place)).view(rows, columns)


def plot(
    pattern: Pattern, layout: Layout | int, axes: Any = None, color: str = _FILLED, title: str | None = None
) -> Any:
    """The matplotlib axes onto which the pattern was drawn; new ones where None are given.

    Args:
        layout: whose first set is shown, or the number of vectors of an `example`.
        color: of what is allowed. title: None means the pattern's text form.
    """
    from matplotlib.colors import LinearSegmentedColormap

    if axes is None:
        from matplotlib import pyplot

        axes = pyplot.subplots(layout="constrained")[1]
    shares = matrix(pattern, layout)
    axes.imshow(shares.numpy(), cmap=LinearSegmentedColormap.from_list("", [_EMPTY, color]), vmin=0, vmax=1)
    lines = torch.arange(-0.5, len(shares)).tolist()
    axes.set_xticks(lines, labels=[])
    axes.set_yticks(lines, labels=[])
    axes.grid(color="white", linewidth=0.8)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="key", ylabel="query", title=repr(pattern) if title is None else title)
    return axes
