"""`Compressive`: what a memory of segments would forget is compressed and remembered longer (Compressive Transformer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from regard.attention.adapters.segments import Segments
from regard.attention.spec.base import Parameters, Shapes, bounded
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["Compressive"]

_FUNCTIONS = ("convolution", "mean", "max")


@dataclass(frozen=True, repr=False)
class Compressive(Segments):
    """`Segments` with a second memory of compressed vectors (Compressive Transformer, Rae et al. 2019, section 3):

        h~ = [cm ; m ; h]        cm' = [cm ; f(e_1) ; f(e_2) ; ...]        f(e) = sum_r W_r e_r        r = 0 ... c - 1

    m are the last `memory` vectors that entered a layer with the segments before, e_1, e_2, ... groups of c of those that leave m,
    the oldest first, and cm the last `compressed` results; f is a convolution of kernel and stride c, or the mean or the maximum
    of a group. Only whole groups leave m, which may so have up to c - 1 vectors more, and nothing is padded.

    W learns from the attention-reconstruction loss alone (algorithm 2 of the paper): for each layer the mean square of
    attn(h, e) - attn(h, f(e)), the content-based attention of the segment to all that leaves m and to what is made of it. Its
    gradient reaches W and nothing else; that of the task never reaches W, since memories have no gradient. It is added to the
    loss of a training step and is no part of the loss that is told.

    A compressed vector counts as one place. With c = 1 and the mean it is `Segments(memory=memory + compressed)`.

    Args:
        attention, memory: as in `Segments`.
        compressed: how many compressed vectors are remembered at most.
        rate: c, how many vectors become one.
        by: f: "convolution", "mean" or "max"; the last two learn nothing.

    Raises:
        InputError: a number below its bound, or another f.

    >>> Compressive(rate=4).parameters(heads=2, d=8)["compress"]
    (4, 16, 16)
    """

    compressed: int = field(default=128, metadata=bounded(0))
    rate: int = field(default=3, metadata=bounded(1))
    by: str = "convolution"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.by not in _FUNCTIONS:
            raise InputError(f"Compressive has by {self.by!r}, expected one of {', '.join(_FUNCTIONS)}")

    def parameters(self, heads: int, d: int, e: int | None = None) -> Shapes:
        own: Shapes = {"compress": (self.rate, heads * d, heads * d)} if self.by == "convolution" else {}
        return super().parameters(heads, d, e) | own

    def deviation(self, name: str, shape: Sequence[int]) -> float:
        # A result is then about as large as the vectors that it is made of.
        return (shape[0] * shape[1]) ** -0.5 if name == "compress" else super().deviation(name, shape)

    def compress(
        self, groups: Float[Tensor, "groups c width"], parameters: Parameters
    ) -> Float[Tensor, "groups width"]:
        """f of each group, by the learned tensors of the layer."""
        if self.by == "mean":
            return groups.mean(1)
        if self.by == "max":
            return groups.amax(1)
        return groups.flatten(1) @ parameters["compress"].flatten(0, 1)
