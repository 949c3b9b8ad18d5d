"""The products of layers: every way computes the same, and a row says how fast each is."""

import pytest
import torch

from benchmarks import products

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="torch without oneDNN")


def test_every_way_computes_the_same() -> None:
    for ways in products.contestants(5, 7, 3).values():
        products.check(ways)
    wrong = {"torch": lambda: torch.zeros(3), "other": lambda: torch.ones(3)}
    with pytest.raises(AssertionError):
        products.check(wrong)


@pytest.mark.unpoisoned
def test_a_row_for_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "SHAPES", {"small": (64, 64, 64)})
    monkeypatch.setattr("benchmarks.measure._SAMPLE_SECONDS", 1e-5)
    rows = products.measure("small", 2)
    assert [row["pass"] for row in rows] == ["forward", "of inputs", "of weights"]
    assert all(row["product"] == "small, 64 x 64 x 64" and row["GFLOP/s"]["oneDNN"] > 0 for row in rows)
