"""`parse`: the value that a text form names, of all that attends and what it is made of."""

from __future__ import annotations

from functools import cache
from typing import Any

from regard.attention.adapters.axes import Axes
from regard.attention.adapters.compressive import Compressive
from regard.attention.adapters.globals import Globals
from regard.attention.adapters.linformer import Linformer
from regard.attention.adapters.lsh import LSH
from regard.attention.adapters.memory_compressed import MemoryCompressed
from regard.attention.adapters.nystrom import Nystrom
from regard.attention.adapters.remember import Remember
from regard.attention.adapters.routing import Routing
from regard.attention.adapters.segments import Segments
from regard.attention.adapters.sinkhorn import Sinkhorn, SortCut
from regard.attention.spec import biases, feature_maps, normalizers, patterns, scores
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import Bias
from regard.attention.spec.feature_maps import Features
from regard.attention.spec.normalizers import Normalizer
from regard.attention.spec.patterns import Pattern
from regard.attention.spec.scores import Score
from regard.attention.spec.text_form import Names, names_of, read

__all__ = ["parse", "vocabulary"]

_ADAPTERS = (
    Axes,
    Compressive,
    Globals,
    Linformer,
    LSH,
    MemoryCompressed,
    Nystrom,
    Remember,
    Routing,
    Segments,
    Sinkhorn,
    SortCut,
)


@cache
def vocabulary() -> Names:
    """What each name makes."""
    names: dict[str, type] = {made.__name__: made for made in (Attention, *_ADAPTERS)}
    for module, kind in (
        *((scores, Score), (feature_maps, Features), (patterns, Pattern)),
        *((normalizers, Normalizer), (biases, Bias)),
    ):
        names |= names_of(module, kind)
    return names


def parse(text: str) -> Any:
    """The value that a text form names: an `Attention`, an adapter, a pattern, a score, a normalizer or a bias.

    The text is a Python expression of known names, numbers, strings, booleans, None, tuples, `&`, `|` and `~`; nothing is
    evaluated, and anything else is refused.

    Raises:
        InputError: text that is no such expression.

    >>> parse("Causal() & ~Window(2, 2)")
    (Causal() & ~Window(left=2, right=2))
    >>> from regard.attention import Attention, First, Window
    >>> parse("Attention(pattern=Window(64, 16) | First(1))") == Attention(pattern=Window(64, 16) | First(1))
    True
    """
    return read(text, vocabulary())
