"""`Mixture`: a score that is a learned mean of others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from regard.attention.spec.base import Parameters, Shapes
from regard.attention.spec.score import Score
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs
    from regard.sets import Layout

__all__ = ["Mixture"]


@dataclass(frozen=True, repr=False)
class Mixture(Score):
    """s = sum_c a_c s_c with a = softmax(w), of scores s_c and numbers w learned for each head.

    The mixtures of the Synthesizer (Tay et al. 2021, section 3.3), such as a random one with dot products:
    `Mixture((Synthesized(512, "random"), Dot()))`. Each head weighs the components by itself. Every component has learned
    tensors of its own, whose names end in its number.

    Args:
        scores: the components, at least two. `Kernel` is none: its scores are known only up to a factor of each query.

    Raises:
        InputError: fewer than two, or what is no score, or a `Kernel`.
    """

    scores: tuple[Score, ...]

    def __post_init__(self) -> None:
        super().__post_init__()
        given = self.scores if isinstance(self.scores, tuple) else (self.scores,)
        if len(given) < 2 or not all(isinstance(score, Score) and not score.positive for score in given):
            raise InputError(
                f"Mixture has scores {self.scores!r}, expected two or more, and no Kernel, such as (Dot(), Synthesized(512))"
            )

    @property
    def placed(self) -> bool:
        return any(score.placed for score in self.scores)

    @property
    def reads_edges(self) -> bool:
        return any(score.reads_edges for score in self.scores)

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        lacking = (score.needs(layout, key_layout) for score in self.scores)
        return next((sentence for sentence in lacking if sentence is not None), None)

    def parameters(self, heads: int, d: int) -> Shapes:
        shapes: Shapes = {"score_mixture": (heads, len(self.scores))}
        for c, score in enumerate(self.scores):
            shapes |= {f"{name}_{c}": shape for name, shape in score.parameters(heads, d).items()}
        return shapes

    def numbers_per_pair(self, d: int) -> int:
        return 1 + sum(score.numbers_per_pair(d) for score in self.scores)

    def width(self, d: int) -> int:
        return sum(score.width(d) for score in self.scores)

    def __call__(
        self,
        q: Float[Tensor, "*#b h d"],
        k: Float[Tensor, "*#b h d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h"]:
        shares = parameters["score_mixture"].softmax(-1).unbind(-1)
        first, *rest = (score(q, k, _own(parameters, c), pairs) for c, score in enumerate(self.scores))
        return sum((a * s for a, s in zip(shares[1:], rest, strict=True)), start=shares[0] * first)

    def tile(
        self,
        q: Float[Tensor, "*#b h rows d"],
        k: Float[Tensor, "*#b h keys d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h rows keys"]:
        shares = parameters["score_mixture"].softmax(-1)[..., None, None].unbind(1)
        first, *rest = (score.tile(q, k, _own(parameters, c), pairs) for c, score in enumerate(self.scores))
        return sum((a * s for a, s in zip(shares[1:], rest, strict=True)), start=shares[0] * first)


def _own(parameters: Parameters, component: int) -> Parameters:
    """What a component has learned, by the names that it gave."""
    end = f"_{component}"
    return {name.removesuffix(end): tensor for name, tensor in parameters.items() if name.endswith(end)}
