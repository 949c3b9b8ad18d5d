"""`Attention`: one value that says which attention is meant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

from regard.attention.spec import biases, normalizers, patterns, scores
from regard.attention.spec.base import Parameters, Part, Shapes, Value
from regard.attention.spec.biases import Bias
from regard.attention.spec.normalizers import Normalizer, Softmax
from regard.attention.spec.patterns import Causal, Everyone, Pattern
from regard.attention.spec.scores import Dot, Kernel, Score
from regard.attention.spec.text_form import names_of
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs

__all__ = ["Attention"]


@dataclass(frozen=True, repr=False)
class Attention(Value):
    """Which attention is meant, without any tensor.

        s_ij = score(q_i, k_j) + bias(q_i, i, j)        for the pairs that the pattern allows
        a_ij = normalizer over those j
        out_i = sum_j a_ij (v_j + value_bias(i, j))

    Args:
        score: how well a key answers a query.
        pattern: which pairs may attend; a tuple holds one pattern per head.
        normalizer: from scores to weights.
        bias: what a pair's place or edge adds, or None.

    >>> Attention(pattern=patterns.Window(64, 16))
    Attention(pattern=Window(left=64, right=16))
    """

    score: Score = field(default_factory=Dot)
    pattern: Pattern | tuple[Pattern, ...] = field(default_factory=Everyone)
    normalizer: Normalizer = field(default_factory=Softmax)
    bias: Bias | None = None

    def __post_init__(self) -> None:
        for name, module, kind in (("score", scores, Score), ("normalizer", normalizers, Normalizer)):
            if not isinstance(getattr(self, name), kind):
                raise InputError(
                    f"Attention has {name} {getattr(self, name)!r}, expected one of {_known(module, kind)}"
                )
        if not self.patterns or not all(isinstance(pattern, Pattern) for pattern in self.patterns):
            raise InputError(
                f"Attention has pattern {self.pattern!r}, expected one of {_known(patterns, Pattern)} or a tuple of them"
            )
        if self.bias is not None and not isinstance(self.bias, Bias):
            raise InputError(f"Attention has bias {self.bias!r}, expected None or one of {_known(biases, Bias)}")
        if self.normalizer.divides != self.score.positive:
            raise InputError(
                f"Attention has score {self.score!r} and normalizer {self.normalizer!r}, "
                "expected Kernel with Sum, or neither: Sum divides by scores that must not be below zero"
            )
        if self.normalizer.divides and self.bias is not None:
            raise InputError(
                f"Attention has bias {self.bias!r} and normalizer {self.normalizer!r}, "
                "expected no bias: Sum divides by scores that must not be below zero"
            )
        # Made here and not when asked for, since code that torch traces can read an attribute but not print a value.
        object.__setattr__(self, "text", repr(self))

    @cached_property
    def text(self) -> str:
        """The text form, which `parse` reads back: what was asked for, where `for_heads` made one pattern per head of it."""
        return repr(self)

    @cached_property
    def _hash(self) -> int:
        return hash((self.score, self.pattern, self.normalizer, self.bias))

    def __hash__(self) -> int:
        return self._hash

    def __getstate__(self) -> dict[str, Any]:
        # Hashes of texts differ from process to process.
        return {name: value for name, value in vars(self).items() if name != "_hash"}

    @property
    def patterns(self) -> tuple[Pattern, ...]:
        """The pattern of every head, or one for all of them."""
        return self.pattern if isinstance(self.pattern, tuple) else (self.pattern,)

    @cached_property
    def _varies(self) -> bool:
        return any(pattern.varies for pattern in self.patterns)

    @property
    def parts(self) -> tuple[Part, ...]:
        """The score, the patterns, the normalizer and the bias, where there is one."""
        return (*self.patterns, self.score, self.normalizer, *(() if self.bias is None else (self.bias,)))

    @property
    def extent(self) -> tuple[float, float]:
        """How many places before a query its first key can lie, in any head, and after it its last."""
        before, after = zip(*(pattern.extent for pattern in self.patterns), strict=True)
        return max(before), max(after)

    @property
    def reads_edges(self) -> bool:
        """Whether it depends on the layout's edges."""
        read_by_bias = self.bias is not None and self.bias.reads_edges
        return self.score.reads_edges or read_by_bias or any(pattern.reads_edges for pattern in self.patterns)

    @property
    def linear(self) -> bool:
        """Whether outputs are quotients of sums over keys, so that no pair needs a weight: `Kernel` over `Everyone` or `Causal`.

        Layers drop no weights of such an attention, as the published systems, which never make any; see `SelfAttention`.

        >>> Attention(scores.Kernel(), patterns.Causal(), normalizers.Sum()).linear
        True
        >>> Attention(scores.Kernel(), patterns.Window(2, 2), normalizers.Sum()).linear
        False
        """
        first, *others = set(self.patterns)
        return isinstance(self.score, Kernel) and not others and isinstance(first, Everyone | Causal)

    @property
    def coordinates(self) -> int:
        """How many coordinates its patterns read."""
        return max(pattern.coordinates for pattern in self.patterns)

    def for_heads(self, heads: int) -> Attention:
        """The same with one pattern per head where a pattern varies with the head; else this very object."""
        # Patterns for another number of heads are refused when they meet the heads.
        return _for_heads(self, heads) if self._varies and len(self.patterns) in (1, heads) else self

    def parameters(self, heads: int, d: int, e: int | None = None) -> Shapes:
        """The names and shapes of the learned tensors, for queries of width d and values of width e (d where None).

        >>> Attention(score=scores.Additive()).parameters(heads=4, d=16)
        {'score_weight': (4, 16)}
        """
        shapes = self.score.parameters(heads, d)
        return shapes if self.bias is None else shapes | self.bias.parameters(heads, d, d if e is None else e)

    def prepare(self, parameters: Parameters, reach: Callable[[], int]) -> Parameters:
        """What `scores` and `tile` get as `parameters`, computed once a call; see `Bias.prepare`."""
        return parameters if self.bias is None else self.bias.prepare(parameters, reach)

    def allows(self, pairs: Pairs) -> Bool[Tensor, "*b _"]:
        """`[..., h]`, or `[..., 1]` where all heads share a pattern: which of these pairs of the same sets may attend."""
        allowed = [pattern.allows(pairs.i, pairs.j, pairs) for pattern in self.patterns]
        return allowed[0][..., None] if len(allowed) == 1 else pairs.stack(allowed)

    def scores(
        self, q: Float[Tensor, "*#b h d"], k: Float[Tensor, "*#b h d"], pairs: Pairs, parameters: Parameters
    ) -> Float[Tensor, "*b h"]:
        """`[..., h]`: the scores of aligned queries and keys `[..., h, d]`, bias included."""
        s = self.score(q, k, parameters, pairs)
        if self.bias is None:
            return s
        return s + self.bias_scale(q.shape[-1]) * self.bias.score_bias(q, pairs, parameters)

    def tile(
        self, q: Float[Tensor, "*#b h rows d"], k: Float[Tensor, "*#b h keys d"], pairs: Pairs, parameters: Parameters
    ) -> Float[Tensor, "*b h rows keys"]:
        """`[..., h, n, m]`: the same for all pairs of `q [..., h, n, d]` and `k [..., h, m, d]`."""
        s = self.score.tile(q, k, parameters, pairs)
        if self.bias is None:
            return s
        return s + self.bias_scale(q.shape[-1]) * self.bias.tile_score_bias(q, pairs, parameters)

    def bias_scale(self, d: int) -> float:
        return self.score.scaling(d) if self.bias is not None and self.bias.scaled else 1.0


@lru_cache(maxsize=256)
def _for_heads(attention: Attention, heads: int) -> Attention:
    patterns = attention.patterns if len(attention.patterns) > 1 else attention.patterns * heads
    each = replace(attention, pattern=tuple(pattern.for_head(head) for head, pattern in enumerate(patterns)))
    # What was asked for says the same in fewer words.
    object.__setattr__(each, "text", attention.text)
    return each


def _known(module: ModuleType, kind: type) -> str:
    return ", ".join(names_of(module, kind))
