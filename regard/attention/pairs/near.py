"""Keys that lie near a query in space, found by cells instead of trying every pair."""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from regard.attention.pairs.pairs import Allows, Intervals, Pairs, Rows, coordinates, expand
from regard.sets.whole import ordered

__all__ = ["near"]

# So many coordinates are cut into cells; 3^n cells are looked at for each query.
_CUT = 2
# Candidates are looked for a little further away, so that no rounding of a coordinate hides one from the exact test.
_FURTHER = 1.01


def near(rows: Rows, allows: Allows, radius: float) -> Intervals:
    """The keys that a pattern allows, which must be none whose coordinates differ by more than `radius`.

    Space is cut into cells as wide as the radius along the first coordinates. In each cell around a query's, the candidates are
    a stretch of the keys in order of the last coordinate; each is then asked about.
    """
    first, counts, order = _candidates(rows, radius * _FURTHER)
    of_row = counts.sum(1).cumsum(0)
    if len(of_row):
        rows.check_named(int(of_row[-1]))
    found, begin = [rows.rows.new_zeros(0)], 0
    while begin < len(of_row):
        before = int(of_row[begin - 1]) if begin else 0
        end = max(begin + 1, int(torch.searchsorted(of_row, before + rows.at_once)))
        which, place = expand(first[begin:end].flatten(), counts[begin:end].flatten())
        row, key = begin + which // first.shape[1], order[place]
        pairs = Pairs(rows.layout, rows.key_layout, rows.rows[row], key)
        allowed = allows(pairs.i, pairs.j, pairs)
        found.append(ordered(rows.on_line(row[allowed], key[allowed])))
        begin = end
    return Intervals.of_places(rows, torch.cat(found))


def _candidates(rows: Rows, reach: float) -> tuple[Tensor, Tensor, Tensor]:
    """`(first [rows, cells], counts [rows, cells], order)`: in a cell, a row's candidates are `order[first : first + count]`."""
    ours, theirs = (_numbers(coordinates(layout)) for layout in (rows.layout, rows.key_layout))
    ours = ours[rows.rows]
    cut = min(_CUT, ours.shape[1] - 1)
    steps = (-1, 0, 1) if reach > 0 else (0,)
    cells, key_cells = ((x[:, :cut] / reach).floor() if reach > 0 else x[:, :cut] for x in (ours, theirs))
    wanted = torch.tensor(list(product(steps, repeat=cut)), dtype=torch.float64, device=ours.device)
    # A cell's number grows by one coordinate after the other, so that it stays small.
    cell, key_cell = rows.sets[:, None].expand(-1, len(wanted)), rows.key_layout.set_of_row
    for axis in range(cut):
        values = key_cells[:, axis].unique()
        place = _find(values, cells[:, axis, None] + wanted[:, axis])
        both = key_cell * len(values) + _find(values, key_cells[:, axis])
        numbers, key_cell = both.unique(return_inverse=True)
        cell = _find(numbers, torch.where((cell < 0) | (place < 0), -1, cell * len(values) + place))
    last, key_last = ours[:, -1], theirs[:, -1].contiguous()
    values, rank = key_last.unique(return_inverse=True)
    line, order = torch.sort(key_cell * (len(values) + 1) + rank, stable=True)
    low = torch.searchsorted(values, last - reach)
    high = torch.searchsorted(values, last + reach, right=True)
    first = torch.searchsorted(line, cell * (len(values) + 1) + low[:, None])
    end = torch.searchsorted(line, cell * (len(values) + 1) + high[:, None])
    return first, torch.where(cell < 0, 0, end - first).clamp(min=0), order


def _numbers(x: Tensor) -> Tensor:
    """Something to sort by: what is no number lies infinitely far away, where nothing is near."""
    return x.double().nan_to_num(nan=torch.inf, posinf=torch.inf, neginf=-torch.inf)


def _find(values: Tensor, wanted: Tensor) -> Tensor:
    """The place of each wanted number in sorted values, -1 where it is not there."""
    if not len(values):
        return torch.full_like(wanted, -1, dtype=torch.int64)
    place = torch.searchsorted(values, wanted.contiguous()).clamp(max=len(values) - 1)
    return torch.where(values[place] == wanted, place, -1)
