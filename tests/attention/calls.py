"""Adapters that compute by themselves: how tests call them, and what holds for all of them."""

import torch

from regard import attend

from .catalogue import Case
from .checks import EXACT, results


def as_called(adapter, x, dropout=None, executor=None):
    return attend(adapter, x.q, x.k, x.v, x.layout, None, x.parameters, dropout=dropout, executor=executor)


def spoils_its_own_set_alone(case: Case) -> None:
    """Vectors of one set that are no numbers change nothing of the others, nor of their gradients."""
    x = case.inputs((9, 14, 5))
    before = results(as_called, case.attention, x)
    for bad in (torch.nan, torch.inf):
        leaves = {name: x.leaves[name].detach().clone() for name in "qkv"}
        for leaf in leaves.values():
            leaf[9:23:2] = bad
        after = results(as_called, case.attention, x.but(**leaves))
        for name in ("out", "d q", "d k", "d v"):
            for rows in (slice(0, 9), slice(23, 28)):
                assert torch.allclose(before[name][rows], after[name][rows], atol=EXACT), name
