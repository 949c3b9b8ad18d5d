"""`Segments`: a segment of a long text attends to the vectors of the segments before as well (Transformer-XL)."""

from __future__ import annotations

from dataclasses import dataclass, field

from regard.attention.adapters.remember import Remember
from regard.attention.spec.attention import Attention
from regard.attention.spec.base import bounded
from regard.attention.spec.biases import TransformerXL
from regard.attention.spec.patterns import Causal

__all__ = ["Segments"]


def _paper() -> Attention:
    return Attention(pattern=Causal(), bias=TransformerXL())


@dataclass(frozen=True, repr=False)
class Segments(Remember):
    """Keys and values of a segment and of the vectors before it (Transformer-XL, Dai et al. 2019, section 3.2):

        h~ = [SG(m) ; h]        q = W_q h        k, v = W_k h~, W_v h~

    h are the vectors that enter a layer, m the last `memory` ones that entered it with the segments before, SG stops gradients: a
    step of training reaches no further back than its segment, and W_k and W_v learn from what is remembered as well. The memory
    holds vectors and not their keys, so that it is always projected by the present weights.

    A memory is given to a model from outside (`regard.models.remembering.memory_of`). Without one, on whole sets, and while a text
    is written, it is the attention itself, as `Remember` is. Places go on from segment to segment.

    Args:
        attention: one that `Remember` takes; that of the paper if not given, whose score knows distances alone.
        memory: how many vectors are remembered at most; 0 for none.

    Raises:
        InputError: an attention that looks ahead, or whose weights change while a set grows.

    >>> Segments(memory=64).attention
    Attention(pattern=Causal(), bias=TransformerXL())
    """

    attention: Attention = field(default_factory=_paper)
    memory: int = field(default=128, metadata=bounded(0))
