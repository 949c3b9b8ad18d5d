"""Average precision is what pycocotools says, bit by bit."""

import math

import numpy as np
import pytest
from detections import drawn

from regard.tasks.average_precision import BOX_METRICS, THRESHOLDS, average_precision, hits
from regard.tasks.configs import PerSetBoxes
from regard.tasks.corpus import corpus_metrics

# stats[1] and stats[0] of COCOeval (pycocotools 2.0.11), boxes given to it as left, top, width and height.
COCO = {
    0: (0.4509300930093009, 0.1974612476592558),
    1: (0.41467760070136495, 0.1913334518090565),  # with ties among scores
    2: (0.34110079891737005, 0.10476733676837897),
    3: (0.5170917689416908, 0.21773170862889735),  # with ties among scores
    4: (0.03992654170073382, 0.017311703328649883),  # with more than 100 boxes of a label in a picture
}


@pytest.mark.parametrize("seed", COCO)
def test_numbers_are_those_of_pycocotools(seed: int) -> None:
    found = [metric.of(drawn(seed)) for metric in BOX_METRICS]
    assert found == pytest.approx(COCO[seed], abs=1e-12)


def test_it_is_the_area_below_precision_over_recall() -> None:
    """Three boxes, of which the first and the third are right, of two: precision 1 up to recall 1/2, then 2/3."""
    found = np.array([[True], [False], [True]]).repeat(len(THRESHOLDS), 1)
    expected = (51 * 1 + 50 * 2 / 3) / 101
    np.testing.assert_allclose(average_precision(np.array([0.9, 0.8, 0.7]), found, 2), expected)
    assert average_precision(np.zeros(0), np.zeros((0, 10), bool), 2).tolist() == [0] * 10


def test_a_target_is_found_once() -> None:
    box = np.array([[0, 0, 10, 10.0]])
    scores, right = hits(box.repeat(3, 0), np.array([0.1, 0.9, 0.5]), box)
    assert scores.tolist() == [0.9, 0.5, 0.1]
    assert right.tolist() == [[True] * 10, [False] * 10, [False] * 10]
    assert hits(box, np.ones(1), np.zeros((0, 4)))[1].tolist() == [[False] * 10]


def test_what_has_no_target_is_left_out_and_labels_never_told_count() -> None:
    told = {"label": "a", "score": 0.9, "box": [0, 0, 9, 9]}
    target = {"label": "a", "box": [0, 0, 9, 9]}
    whole = [{"boxes": [told], "target": [target, {"label": "new", "box": [1, 1, 5, 5]}]}, {"boxes": [told]}]
    assert [metric.of(whole) for metric in BOX_METRICS] == pytest.approx([0.5, 0.5])
    assert math.isnan(BOX_METRICS[0].of([{"boxes": [told], "target": []}]))
    assert BOX_METRICS[0].of([{"boxes": [], "target": [target]}]) == 0
    assert corpus_metrics(PerSetBoxes()) == BOX_METRICS
