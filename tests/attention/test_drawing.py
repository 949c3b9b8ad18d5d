"""Pictures show what the pattern allows."""

import pytest
import torch
from matplotlib.figure import Figure

from regard.attention.pairs.drawing import example, grid, matrix, on_grid, plot, text
from regard.attention.pairs.pairs import Rows
from regard.attention.spec.patterns import AlongAxis, Causal, Edges, First, Near, RandomBlocks, Stride, Window
from regard.sets import Layout

from .catalogue import PATTERNS

EVERY = [
    *(pattern for pattern in PATTERNS if not isinstance(pattern, tuple)),
    Near(1) & Causal(),
    AlongAxis(2),
    Window(1, 1) | First(1) | RandomBlocks(1, 3),
]


@pytest.mark.parametrize("n", [0, 1, 2, 13, 27])
@pytest.mark.parametrize("pattern", EVERY, ids=repr)
def test_every_pattern_draws_itself(pattern, n):
    drawn = [[cell != "·" for cell in line[::2]] for line in pattern.draw(n).splitlines()] if n else []
    layout = example(pattern, n)
    keys = pattern.for_head(0).keys(Rows(torch.arange(n), layout, layout))
    allowed = torch.zeros(n, n, dtype=torch.bool)
    allowed[keys.pairs()] = True
    assert drawn == allowed.tolist()
    assert torch.equal(matrix(pattern, n), allowed.double().reshape(matrix(pattern, n).shape))


def test_nothing_is_said_to_be_nothing():
    assert Window(1, 1).draw(0) == text(Window(1, 1), Layout.of_lengths([])) == "(no vectors)"


def test_long_sets_are_drawn_by_samples():
    lines = Stride(100).draw(10_000).splitlines()
    assert len(lines) == 32
    assert Window(1, 0).draw(5000).splitlines()[0].startswith("░")


def test_the_first_set_of_a_layout_is_drawn():
    layout = Layout(torch.tensor([0, 3, 5]), edges=torch.tensor([[0, 2, 4], [1, 0, 3]]))
    assert Edges().draw(layout).splitlines() == ["··██··", "······", "██····"]


def test_a_grid_is_as_square_as_can_be():
    assert grid(7, 1).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2], [2, 0]]
    assert grid(8, 3).unique(dim=0).tolist() == torch.cartesian_prod(*[torch.arange(2)] * 3).tolist()


def test_a_query_on_a_picture():
    seen = on_grid(AlongAxis(0) | AlongAxis(1), 3, 5, query=(1, 3))
    assert seen.int().tolist() == [[0, 0, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 1, 0]]


def test_a_plot_is_named_after_its_pattern():
    axes = Figure().subplots()
    assert plot(Window(1, 1), 6, axes) is axes
    assert axes.get_title() == "Window(left=1, right=1)"
    assert axes.images[0].get_array().tolist() == matrix(Window(1, 1), 6).tolist()
    assert plot(Window(1, 1), 6, axes, title="near").get_title() == "near"
