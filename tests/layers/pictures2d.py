"""Pictures of many sizes as sets of pixels, and back from what torch makes of one."""

import torch
from torch import Tensor

from regard import VectorSets


def pictures_of(*sizes: tuple[int, int], width: int = 3, kind: torch.dtype = torch.float64) -> VectorSets:
    generator = torch.Generator().manual_seed(4)
    values = [torch.randn(h * w, width, generator=generator, dtype=torch.float64).to(kind) for h, w in sizes]
    coords = [torch.cartesian_prod(torch.arange(float(h)), torch.arange(float(w))).view(h * w, 2) for h, w in sizes]
    return VectorSets.pack(values, coords=coords)


def flat(pixels: Tensor) -> Tensor:
    """The pixels of a picture `[1, channels, h, w]`, row by row."""
    return pixels[0].flatten(1).T
