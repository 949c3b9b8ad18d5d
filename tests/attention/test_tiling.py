"""Tiles hold all that a pattern allows, and say where nothing of it is forbidden."""

import pytest
import torch

from regard.attention.pairs.pairs import Pairs, Rows
from regard.attention.pairs.tiles import tiles
from regard.attention.spec.patterns import Causal, Everyone, First, Stride, Window
from regard.sets import Layout

PATTERNS = (
    Window(2, 1),
    Everyone(),
    ~Everyone(),
    Causal(),
    Window(3, 3) | First(1),
    Stride(3) & Causal(),
    ~Window(1, 1),
)


@pytest.mark.parametrize("at_once", [1, 100, 1 << 20])
@pytest.mark.parametrize("rows", [1, 8, 100])
@pytest.mark.parametrize("pattern", PATTERNS, ids=repr)
def test_tiles_are_what_the_pattern_allows(pattern, rows, at_once):
    layout, key_layout = Layout.of_lengths([7, 0, 63, 1, 2, 20]), Layout.of_lengths([5, 3, 70, 0, 2, 20])
    every = torch.arange(layout.total)
    found = tiles(layout, pattern.keys(Rows(every, layout, key_layout, at_once)), rows)
    pairs = Pairs(layout, key_layout, every[:, None], torch.arange(key_layout.total))
    allowed = pattern.allows(pairs.i, pairs.j, pairs)
    allowed &= layout.set_of_row[:, None] == key_layout.set_of_row
    assert torch.equal(torch.cat([torch.arange(*bounds) for bounds in zip(found.begin, found.end, strict=True)]), every)
    touched = []
    for n, (begin, end) in enumerate(zip(found.begin.tolist(), found.end.tolist(), strict=True)):
        assert 0 < end - begin <= rows
        spans = range(*found.spans[n : n + 2].tolist())
        covered = torch.zeros(key_layout.total, dtype=torch.bool)
        for span in spans:
            start, stop = int(found.start[span]), int(found.stop[span])
            assert not covered[start:].any(), "spans are sorted and disjoint"
            covered[start:stop] = True
            assert bool(found.full[span]) == bool(allowed[begin:end, start:stop].all())
        assert torch.equal(covered, allowed[begin:end].any(0))
        touched.append((end - begin) * int(covered.sum()))
    assert found.pairs.tolist() == touched
