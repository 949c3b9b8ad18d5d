"""A bound on the pairs that attention would compare in one set, so that a text of a million words is refused and not waited for."""

from __future__ import annotations

import torch
from torch import nn

from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Causal, Everyone, Window
from regard.attention.spec.scores import Kernel
from regard.data.examples import Dataset
from regard.errors import InputError
from regard.layers.attention import Attend

__all__ = ["MOST_PAIRS", "check_pairs", "pairs_of"]

MOST_PAIRS = 1 << 33
"""Pairs of one head in one set: 92,681 vectors that all attend to one another, some minutes of two cores."""


def check_pairs(model: nn.Module, part: Dataset, device: torch.device) -> None:
    """Refuse a part whose longest set has more than `MOST_PAIRS` pairs in a layer of the model, on a CPU.

    Raises:
        InputError: the set, its length and the attention.
    """
    lengths = part.lengths
    longest = max(range(len(lengths)), key=lengths.__getitem__, default=0)
    inputs = lengths[longest] if len(lengths) else 0
    step: int = getattr(model, "step", 1)
    vectors = -(-inputs // step)
    if vectors**2 <= MOST_PAIRS or device.type != "cpu":
        return
    attentions = {m.attention for m in model.modules() if isinstance(m, Attend) and isinstance(m.attention, Attention)}
    for attention in attentions:
        pairs = pairs_of(attention, vectors)
        if pairs > MOST_PAIRS:
            found = (
                f"{part[longest].name} has {inputs:,} vectors, and {attention!r} would compare {pairs:,} pairs of them"
            )
            raise InputError(
                f"{found}, expected at most {MOST_PAIRS:,}: shorter sets, such as by data.longest of texts, or a pattern "
                "with fewer pairs, such as Window(64, 64)"
            )


def pairs_of(attention: Attention, vectors: int) -> int:
    """The pairs that a head of such an attention compares in one set, where its patterns are windows, everyone, or all before.

    Of other patterns it is 0, since counting their pairs takes long, and so it is of linear attention, which compares none.

    >>> from regard.attention import Causal, Window
    >>> pairs_of(Attention(pattern=Window(2, 1)), 100), pairs_of(Attention(pattern=Causal()), 100)
    (400, 10000)
    """
    before, after = attention.extent
    if before + after + 1 < vectors:
        return int(before + after + 1) * vectors
    plain = all(isinstance(pattern, Everyone | Causal | Window) for pattern in attention.patterns)
    return vectors**2 if plain and not isinstance(attention.score, Kernel) else 0
