"""What masks of torch's attention mean here: a pattern, and which vectors are real."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Causal, Everyone, Pattern
from regard.errors import InputError
from regard.sets import Layout
from regard.sets.layout import offsets_of

if TYPE_CHECKING:
    from jaxtyping import Bool, Shaped

__all__ = ["check_tensors", "edged", "pattern_of", "real_of", "rectangle", "with_pattern"]


def check_tensors(**tensors: object) -> None:
    """Refuse what is no padded tensor; each goes by its name."""
    for name, x in tensors.items():
        if not isinstance(x, Tensor) or x.is_nested or x.dim() not in (2, 3):
            found = type(x).__name__ if not isinstance(x, Tensor) else "nested" if x.is_nested else list(x.shape)
            raise InputError(f"{name} is {found}, expected a padded tensor of two or three axes")


def _masked(mask: Tensor, name: str, shape: tuple[int, int]) -> Tensor:
    """Where a mask of torch's forbids: True, or -inf.

    Raises:
        InputError: another shape or kind, or numbers that are added to scores.
    """
    if not isinstance(mask, Tensor) or tuple(mask.shape) != shape:
        found = list(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"{name} is {found}, expected a tensor of shape {list(shape)}")
    if mask.dtype == torch.bool:
        return mask
    forbidden = torch.isneginf(mask) if mask.is_floating_point() else torch.zeros_like(mask, dtype=torch.bool)
    if not mask.is_floating_point() or bool(((mask != 0) & ~forbidden).any()):
        raise InputError(f"{name} holds numbers of {mask.dtype}, expected bools, or floats that are 0 or -inf")
    return forbidden


def real_of(
    padding: Shaped[Tensor, "sets longest"] | None, sets: int, longest: int
) -> Bool[Tensor, "sets longest"] | None:
    """`[sets, longest]` True where a vector is no padding; None where all are."""
    masked = None if padding is None else _masked(padding, "the padding mask", (sets, longest))
    return None if masked is None or not bool(masked.any()) else ~masked


def pattern_of(
    mask: Shaped[Tensor, "rows columns"] | None, rows: int, columns: int
) -> Pattern | Bool[Tensor, "rows columns"] | None:
    """The pattern of a mask: None where nothing is forbidden, `Causal`, or else what it allows, `[rows, columns]`."""
    if mask is None:
        return None
    allowed = ~_masked(mask, "the mask of rows and columns", (rows, columns))
    if bool(allowed.all()):
        return None
    return Causal() if torch.equal(allowed, torch.ones_like(allowed).tril()) else allowed


def with_pattern(spec: Attention, pattern: Pattern | None) -> Attention:
    """The attention of those pairs only."""
    if pattern is None:
        return spec
    patterns = tuple(pattern if each == Everyone() else each & pattern for each in spec.patterns)
    return replace(spec, pattern=patterns if isinstance(spec.pattern, tuple) else patterns[0])


def edged(
    sets: int, allowed: Bool[Tensor, "longest longest"], real: Bool[Tensor, "sets longest"] | None, packed: bool
) -> Layout:
    """The layout of sets whose rows have edges to the keys that are allowed and no padding; `packed` leaves rows of padding out."""
    longest = allowed.shape[0]
    pairs = allowed.expand(sets, longest, longest)
    number = torch.arange(sets * longest, device=allowed.device)
    lengths = torch.full((sets,), longest, device=allowed.device)
    if real is not None:
        pairs = pairs & real[:, None]
        if packed:
            pairs, lengths, number = pairs & real[:, :, None], real.sum(1), real.flatten().cumsum(0) - 1
    which, i, j = pairs.nonzero().unbind(1)
    return Layout(offsets_of(lengths), edges=number[torch.stack([which * longest + i, which * longest + j])])


@lru_cache(maxsize=4)
def rectangle(sets: int, length: int, device: torch.device) -> Layout:
    """Sets of one length; kept for a few calls with all that is derived from it."""
    # Tensors of inference mode would be of no use in training.
    with torch.inference_mode(False):
        return Layout(torch.arange(sets + 1, device=device) * length)
