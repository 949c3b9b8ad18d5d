"""Whole numbers by NumPy where they lie on the CPU.

For the smallest tensor torch's own operators of this kind wake all threads and wait for them, which takes longer than the work and,
where other programs use the processor too, a thousand times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Int, Shaped

__all__ = ["insertions", "ordered", "repeated"]


def repeated(values: Shaped[Tensor, " values"], counts: Int[Tensor, " values"]) -> Shaped[Tensor, " total"]:
    """Each value as often as its count says, one after another.

    >>> repeated(torch.tensor([7, 8, 9]), torch.tensor([2, 0, 1])).tolist()
    [7, 7, 9]
    """
    if values.is_cuda or torch.compiler.is_compiling():
        return torch.repeat_interleave(values, counts)
    return torch.from_numpy(np.repeat(values.numpy(), counts.numpy()))


def insertions(line: Shaped[Tensor, " line"], values: Shaped[Tensor, "*b"], right: bool = False) -> Int[Tensor, "*b"]:
    """Before which place of an increasing line each value would be inserted; with `right`, behind its equals.

    >>> insertions(torch.tensor([1, 3, 3]), torch.tensor([0, 3, 9])).tolist()
    [0, 1, 3]
    """
    if line.is_cuda or torch.compiler.is_compiling():
        return torch.searchsorted(line, values, right=right)
    return torch.as_tensor(np.searchsorted(line.numpy(), values.numpy(), side="right" if right else "left"))


def ordered(x: Int[Tensor, " values"]) -> Int[Tensor, " values"]:
    """Integers in increasing order; on a CPU in the same memory.

    NumPy's stable sort merges stretches that are in order already, of which intervals and edges are made, in a hundredth of the
    time that others take, and needs a third more than its quickest one for numbers in no order.

    >>> ordered(torch.tensor([3, 1, 2])).tolist()
    [1, 2, 3]
    """
    if x.device.type != "cpu" or torch.compiler.is_compiling():
        return x.sort().values
    x.numpy().sort(kind="stable")
    return x
