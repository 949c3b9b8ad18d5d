"""Real graphs for the benchmark."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from regard.errors import InputError

__all__ = ["tolokers"]


@cache
def tolokers() -> tuple[int, Tensor]:
    """Nodes, and `[2, e]` edges in both directions, of tolokers: people who worked on the same tasks (Platonov et al. 2023).

    Raises:
        InputError: `REGARD_DATA` names no folder that holds it.
    """
    path = Path(os.environ.get("REGARD_DATA", "")) / "heterophilous" / "tolokers.npz"
    if not path.is_file():
        raise InputError(f"the graph is not in {path}, expected REGARD_DATA to name the folder of data sets")
    with np.load(path) as found:
        edges = torch.from_numpy(found["edges"]).T
        nodes = len(found["node_labels"])
    both = torch.cat([edges, edges.flip(0)], 1)
    codes = (both[0] * nodes + both[1]).unique()
    return nodes, torch.stack([codes // nodes, codes % nodes])
