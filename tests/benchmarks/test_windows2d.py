"""Windows of two dimensions by unfold are those of `Near`, with gradients; both are measured."""

import pytest
import torch

from benchmarks import windows2d


@pytest.mark.parametrize(("side", "radius"), [(5, 1), (9, 3), (2, 3)])
def test_both_ways_compute_the_same(side, radius):
    both = windows2d.contestants(side, radius, heads=2, width=4)
    ours, theirs = (both[name].forward() for name in ("regard", "unfold"))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    above = torch.randn_like(ours)
    for a, b in zip(*(torch.autograd.grad(out, both["regard"].leaves, above) for out in (ours, theirs)), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_rows_have_times_and_memory_by_the_side():
    ours, theirs = windows2d.windows2d((4, 6), repeats=1)
    for row in (ours, theirs):
        assert row["ms at"].keys() == row["MB at"].keys() == {"4 x 4", "6 x 6"}
        assert all(value > 0 for value in row["ms at"].values())
    assert [row["what"] for row in (ours, theirs)] == ["regard", "unfold"]
