"""`Sketch`: an attention without a run, as a page shows it: who may attend to whom, at what cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from regard.attention.pairs.drawing import example
from regard.attention.planning import plan
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Or, Pattern
from regard.attention.verb import attend
from regard.attention.vocabulary import parse
from regard.errors import InputError
from regard.inspector.around import Around
from regard.inspector.calls import Call
from regard.inspector.seen import Seen, seen_in
from regard.models.model import Place

if TYPE_CHECKING:
    from torch import Tensor

    from regard.layers.attention import Attend

__all__ = ["MOST_LENGTH", "Sketch"]

MOST_LENGTH = 8192
"""Vectors of a set without a run."""
_WIDTH = 64  # of each head


@dataclass
class Sketch:
    """An attention on one set of vectors that are all zeros, so that weights are those of the pattern and the bias alone.

    Coordinates are those of a grid, edges go around a ring.

    Args:
        text: a pattern such as "Window(64, 16) | First(1)", or an Attention. length: of the set. heads: 0 for as many as differ.
        vectors: queries, keys and values `[length, heads, d]` in place of zeros. names: of the vectors; their numbers if none.

    Raises:
        InputError: another text, a length that is none, or vectors or names that are not as many.
    """

    text: str
    length: int = 64
    heads: int = 0
    vectors: tuple[Tensor, Tensor, Tensor] | None = field(default=None, repr=False)
    names: Sequence[str] = ()
    name: str = field(default="pattern", init=False)
    title: str = field(init=False)
    seen: list[Seen] = field(init=False, repr=False)
    around: dict[Attend, Around] = field(default_factory=dict, init=False)
    prediction: dict[str, Any] = field(default_factory=dict, init=False)
    plan: str = field(init=False)

    def __post_init__(self) -> None:
        if not 1 <= self.length <= MOST_LENGTH:
            raise InputError(f"--length is {self.length}, expected 1 to {MOST_LENGTH}")
        value = parse(self.text)
        attention = Attention(pattern=value) if isinstance(value, Pattern | tuple) else value
        if not isinstance(attention, Attention):
            raise InputError(f"{self.text!r} is no pattern and no Attention, expected one such as Window(64, 16)")
        patterns = attention.patterns
        if self.vectors is not None:
            self.heads = self.vectors[0].shape[1]
        heads = self.heads or (len(patterns) if len(patterns) > 1 else 4 if patterns[0].varies else 1)
        union = patterns[0]
        for pattern in patterns[1:]:
            union = Or(union, pattern)
        layout = example(union, self.length)
        zeros = torch.zeros(self.length, heads, _WIDTH)
        q, k, v = (zeros, zeros, zeros) if self.vectors is None else self.vectors
        if not len(q) == len(k) == len(v) == self.length or len(self.names) not in (0, self.length):
            found = f"{len(q)} queries, {len(k)} keys, {len(v)} values and {len(self.names)} names"
            raise InputError(f"there are {found}, expected {self.length} of each")
        learned = attention.parameters(heads, q.shape[-1], v.shape[-1])
        parameters = {name: torch.zeros(shape) for name, shape in learned.items()}
        out = attend(attention, q, k, v, layout, parameters=parameters)
        self.plan = str(plan(attention, layout, heads=heads, d=q.shape[-1]))
        call = Call(attention, q, k, v, layout, layout, parameters, out)
        names = self.names or [str(n) for n in range(self.length)]
        places = [Place(range(n, n + 1), name) for n, name in enumerate(names)]
        self.seen = seen_in(torch.nn.Identity(), [call], places)
        self.title = attention.text

    def turned(self, module: Attend | None) -> bool:
        """Nothing is."""
        return False
