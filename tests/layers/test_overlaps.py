"""Overlaps of boxes against a plain count, and their gradients."""

import pytest
import torch

from regard.layers.boxes import corners, generalized_iou, iou, unbounded


def plain(a: list[float], b: list[float]) -> tuple[float, float]:
    """IoU and GIoU of two boxes given by their ends, as torchvision's `generalized_box_iou` writes them down."""
    areas = [(x[2] - x[0]) * (x[3] - x[1]) for x in (a, b)]
    sides = [max(0.0, min(a[n + 2], b[n + 2]) - max(a[n], b[n])) for n in (0, 1)]
    union = sum(areas) - sides[0] * sides[1]
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    overlap = sides[0] * sides[1] / union
    return overlap, overlap - (hull - union) / hull


def test_overlaps_are_those_of_the_plain_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.rand(n, 4, generator=generator, dtype=torch.float64) * 0.5 + 0.05 for n in (30, 40))
    a[3], b[4] = b[4], b[4]
    found = iou(a[:, None], b), generalized_iou(a[:, None], b)
    for i, j in ((i, j) for i in range(30) for j in range(40)):
        expected = plain(corners(a[i]).tolist(), corners(b[j]).tolist())
        assert [float(each[i, j]) for each in found] == pytest.approx(expected, abs=1e-12)
    assert float(found[1][3, 4]) == 1.0
    assert -1 < float(found[1].min()) < 0


def test_a_generalized_overlap_has_a_gradient_where_boxes_do_not_touch() -> None:
    boxes = torch.tensor([[0.2, 0.2, 0.1, 0.1], [0.5, 0.4, 0.3, 0.2]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.8, 0.7, 0.2, 0.2], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: generalized_iou(x, target), boxes)
    (slope,) = torch.autograd.grad(generalized_iou(boxes, target).sum(), boxes)
    assert (slope[:, :2] > 0).all()


def test_boxes_without_area_are_no_nan() -> None:
    point = torch.zeros(4, requires_grad=True)
    value = iou(point, point) + generalized_iou(point, point)
    value.backward()
    assert float(value.detach()) == 0
    assert point.grad is not None
    assert point.grad.isfinite().all()


def test_logits_of_the_ends_are_finite() -> None:
    values = torch.tensor([0.0, 0.25, 1.0])
    torch.testing.assert_close(unbounded(values).sigmoid(), values, atol=2e-5, rtol=0)
