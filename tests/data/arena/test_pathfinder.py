"""Pathfinder: what is drawn is a function of (seed, index), and its label is what a walk along the paths finds."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, distance_transform_edt
from scipy.ndimage import label as components

from regard.data.arena import pathfinder
from regard.data.arena.pathfinder import PATH_X, PATHFINDER, draw

RULES = {"pathfinder": PATHFINDER, "path-x": PATH_X}
COUNTS = {"pathfinder": 60, "path-x": 4}


@pytest.fixture(scope="module", params=RULES)
def drawn(request):
    rules = RULES[request.param]
    return rules, [draw(rules, 0, index) for index in range(COUNTS[request.param])]


def test_sizes_and_brightness(drawn):
    rules, drawings = drawn
    for drawing in drawings:
        assert drawing.pixels.shape == (rules.side, rules.side)
        assert drawing.pixels.dtype == np.uint8
        assert drawing.pixels.min() == 0
        assert drawing.pixels.max() == 255


def test_both_disks_are_on_one_path_where_the_label_says_so(drawn):
    """Gaps between dashes are at most twice the margin, so a path that is grown by a little more is in one piece."""
    rules, drawings = drawn
    both = {0: [], 1: []}
    for drawing in drawings:
        touched, joined = [], []
        for path in drawing.paths:
            distances = distance_transform_edt(path == 0)
            touched.append([distances[end] <= 1 for end in drawing.ends])
            pieces, _ = components(binary_dilation(path > 0, iterations=max(rules.margins) + 1))
            joined.append(all(touched[-1]) and len({pieces[end] for end in drawing.ends}) == 1)
        both[drawing.label].append(any(joined))
        if not drawing.label:
            assert (touched[0][0] and touched[1][1]) or (touched[1][0] and touched[0][1])
    assert all(both[1])
    # In a small picture a path often passes by the end of the other one.
    assert np.mean(both[0]) < 0.6


def test_a_disk_lies_at_each_end(drawn):
    rules, drawings = drawn
    for drawing in drawings:
        for row, column in drawing.ends:
            around = drawing.pixels[max(0, row - 1) : row + 1, max(0, column - 1) : column + 1]
            assert around.min() >= 255 * 0.9 / max(rules.target, rules.distractor, 1)


def test_paths_are_dashes_that_do_not_meet():
    """A long path is 14 pieces, but where two of its own dashes touch; in the small picture no gap is left between them."""
    paths = [path for index in range(4) for path in draw(PATH_X, 0, index).paths]
    counts = [components(path > 0.5 * PATH_X.target, np.ones((3, 3)))[1] for path in paths]
    assert PATH_X.dashes - 2 <= np.median(counts) <= max(counts) <= PATH_X.dashes + 1


def test_long_paths_of_the_small_task_are_darker_than_short_ones():
    """The intensity cue: 1.5 against 2, and none where intensities are equal."""
    cue, even = PATHFINDER, replace(PATHFINDER, target=PATHFINDER.distractor)
    for index in range(10):
        published, equal = draw(cue, 0, index), draw(even, 0, index)
        np.testing.assert_allclose(published.paths / cue.target, equal.paths / even.target)
        on_path = published.paths.max(0) > 0.5 * cue.target
        assert published.pixels[on_path].mean() < equal.pixels[on_path].mean()
        assert published.label == equal.label
        assert published.ends == equal.ends
    assert PATH_X.target == PATH_X.distractor


def test_labels_are_balanced():
    labels = [draw(PATHFINDER, 3, index).label for index in range(200)]
    assert 70 <= sum(labels) <= 130


def test_seed_and_index_decide(drawn):
    rules, drawings = drawn
    again = draw(rules, 0, 2)
    np.testing.assert_array_equal(again.pixels, drawings[2].pixels)
    assert again.label == drawings[2].label
    assert not np.array_equal(draw(rules, 1, 2).pixels, drawings[2].pixels)
    assert not np.array_equal(drawings[1].pixels, drawings[2].pixels)


def test_what_is_kept_up_to_date_is_the_dilation(monkeypatch):
    """`near` is the mask of the picture, dilated by the margin, as the published rules compute it at each step."""
    extended, seen = pathfinder._Pen._extended, []

    def checked(self, surface, last, generator):
        inner = surface.near[self.border : -self.border, self.border : -self.border]
        whole = pathfinder._dilated(surface.mask, pathfinder._disk_kernel(self.margin))
        np.testing.assert_array_equal(inner, whole)
        seen.append(1)
        return extended(self, surface, last, generator)

    monkeypatch.setattr(pathfinder._Pen, "_extended", checked)
    draw(PATHFINDER, 0, 0)
    draw(PATH_X, 0, 0)
    assert len(seen) > 100
