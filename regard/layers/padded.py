"""Rectangles in and out: `Padded` makes any layer or model of sets one of `(x [s, longest, d], mask)`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regard.errors import InputError
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Bool, Shaped

__all__ = ["Padded"]


class Padded(nn.Module):
    """A module of `VectorSets` for padded tensors; what is padding is neither computed nor seen, wherever it lies.

    Args:
        module: from `VectorSets` to `VectorSets`, or to a tensor with a row per set.

    >>> from regard.layers.attention import SelfAttention
    >>> layer = Padded(SelfAttention(8, 2))
    >>> x, mask = torch.ones(2, 3, 8), torch.tensor([[False, True, True], [True, True, True]])
    >>> layer(x, mask).shape
    torch.Size([2, 3, 8])
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(
        self, x: Shaped[Tensor, "s longest *d"], mask: Bool[Tensor, "s longest"] | None = None
    ) -> Shaped[Tensor, "s ..."]:
        """`[s, longest, e]` with zeros where there is padding; `[s, e]` of a module that gives a vector per set.

        Args:
            x: `[s, longest, d]` vectors, or `[s, longest]` ids. mask: True where one is real; None where all are.

        Raises:
            InputError: x or a mask that are no such tensors, or a module that gives something else.
        """
        if not isinstance(x, Tensor) or x.dim() < 2:
            found = f"shape {list(x.shape)}" if isinstance(x, Tensor) else f"type {type(x).__name__}"
            raise InputError(f"x is of {found}, expected a tensor [sets, longest, width]")
        if mask is None:
            mask = torch.ones(x.shape[:2], dtype=torch.bool, device=x.device)
        sets = VectorSets.from_padded(x, mask)
        out = self.module(sets)
        if isinstance(out, Tensor):
            if out.dim() == 0 or out.shape[0] != len(sets):
                raise InputError(f"the module gives shape {list(out.shape)}, expected {len(sets)} rows: one per set")
            return out
        if not isinstance(out, VectorSets) or len(out) != len(sets):
            raise InputError(f"the module gives {type(out).__name__}, expected as many sets, or a tensor")
        if out.layout is sets.layout or torch.equal(out.layout.offsets, sets.layout.offsets):
            return out.to_padded(mask=mask)[0]
        # A vector per set, as of a pooling; else sets of other lengths, padded after their ends.
        return out.values if out.layout.total == len(out) and out.layout.longest == 1 else out.to_padded()[0]
