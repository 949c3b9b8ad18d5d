"""`Attention`: one value that says which attention is meant; `parse` reads its text form back through a whitelist."""

from __future__ import annotations

import ast
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from regard.attention.spec import biases, feature_maps, normalizers, patterns, scores
from regard.attention.spec.base import Part, Value
from regard.attention.spec.biases import Bias
from regard.attention.spec.feature_maps import Features
from regard.attention.spec.normalizers import Normalizer, Softmax
from regard.attention.spec.patterns import Everyone, Pattern
from regard.attention.spec.scores import Dot, Parameters, Score, Shapes
from regard.errors import InputError, nearest

if TYPE_CHECKING:
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs

__all__ = ["Attention", "parse"]


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
    >>> parse("Attention(pattern=Window(64, 16) | First(1))") == Attention(pattern=patterns.Window(64, 16) | patterns.First(1))
    True
    """

    score: Score = field(default_factory=Dot)
    pattern: Pattern | tuple[Pattern, ...] = field(default_factory=Everyone)
    normalizer: Normalizer = field(default_factory=Softmax)
    bias: Bias | None = None

    def __post_init__(self) -> None:
        for name, kind in (("score", Score), ("normalizer", Normalizer)):
            if not isinstance(getattr(self, name), kind):
                raise InputError(f"Attention has {name} {getattr(self, name)!r}, expected one of {_known(kind)}")
        if not self.patterns or not all(isinstance(pattern, Pattern) for pattern in self.patterns):
            raise InputError(
                f"Attention has pattern {self.pattern!r}, expected one of {_known(Pattern)} or a tuple of them"
            )
        if self.bias is not None and not isinstance(self.bias, Bias):
            raise InputError(f"Attention has bias {self.bias!r}, expected None or one of {_known(Bias)}")
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

    def allows(self, pairs: Pairs) -> Tensor:
        """`[..., h]`, or `[..., 1]` where all heads share a pattern: which of these pairs of the same sets may attend."""
        allowed = [pattern.allows(pairs.i, pairs.j, pairs) for pattern in self.patterns]
        return allowed[0][..., None] if len(allowed) == 1 else pairs.stack(allowed)

    def scores(self, q: Tensor, k: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
        """`[..., h]`: the scores of aligned queries and keys `[..., h, d]`, bias included."""
        s = self.score(q, k, parameters, pairs)
        if self.bias is None:
            return s
        return s + self.bias_scale(q.shape[-1]) * self.bias.score_bias(q, pairs, parameters)

    def tile(self, q: Tensor, k: Tensor, pairs: Pairs, parameters: Parameters) -> Tensor:
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


# Longer texts would only be there to exhaust the parser.
_LONGEST_TEXT = 10_000
# What `&`, `|` and `~` make has no name of its own in the text form.
_OPERATORS = (patterns.And, patterns.Or, patterns.Not)


def _vocabulary() -> dict[str, Callable[..., Any]]:
    names: dict[str, Callable[..., Any]] = {"Attention": Attention}
    for module, kind in (
        *((scores, Score), (feature_maps, Features), (patterns, Pattern)),
        *((normalizers, Normalizer), (biases, Bias)),
    ):
        for name in module.__all__:
            thing = getattr(module, name)
            if isinstance(thing, type) and issubclass(thing, kind) and thing not in (kind, *_OPERATORS):
                names[name] = thing
    return names


def _known(kind: type) -> str:
    return ", ".join(
        name for name, thing in _vocabulary().items() if isinstance(thing, type) and issubclass(thing, kind)
    )


def parse(text: str) -> Any:
    """The value that a text form names: an `Attention`, a pattern, a score, a normalizer or a bias.

    The text is a Python expression of known names, numbers, strings, booleans, None, tuples, `&`, `|` and `~`; nothing is
    evaluated, and anything else is refused.

    Raises:
        InputError: text that is no such expression.

    >>> parse("Causal() & ~Window(2, 2)")
    (Causal() & ~Window(left=2, right=2))
    """
    if len(text) > _LONGEST_TEXT:
        raise InputError(f"the text of {len(text):,} characters is too long, expected at most {_LONGEST_TEXT:,}")
    try:
        return _build(ast.parse(text.strip(), mode="eval").body, text)
    except InputError:
        raise
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(
            f"the text {text!r} is no specification, expected such as 'Window(64, 16) | First(1)'"
        ) from error


def _build(node: ast.AST, text: str) -> Any:
    match node:
        case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float | str):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if isinstance(value, int | float):
            return -value
        case ast.Tuple(elts=parts):
            return tuple(_build(part, text) for part in parts)
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return ~_pattern(operand, text)
        case ast.BinOp(left=a, op=ast.BitAnd(), right=b):
            return _pattern(a, text) & _pattern(b, text)
        case ast.BinOp(left=a, op=ast.BitOr(), right=b):
            return _pattern(a, text) | _pattern(b, text)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=options):
            known = _vocabulary()
            if name not in known:
                raise InputError(f"{name!r} in {text!r} is no part of an attention: {nearest(name, known)}")
            names = [option.arg for option in options if option.arg is not None]
            if len(set(names)) < len(options):
                raise InputError(f"{ast.unparse(node)!r} in {text!r} does not name each option once")
            values = [_build(arg, text) for arg in args]
            named = {name: _build(option.value, text) for name, option in zip(names, options, strict=True)}
            if isinstance(made := known[name], type):
                options_of = [each.name for each in fields(made)]
                for option in named:
                    if option not in options_of:
                        raise InputError(f"{name} in {text!r} has no option {option!r}: {nearest(option, options_of)}")
            try:
                return made(*values, **named)
            except TypeError as error:
                raise InputError(f"{ast.unparse(node)} in {text!r} has options that do not fit: {error}") from error
    raise InputError(
        f"{ast.unparse(node)!r} in {text!r} is no part of a specification, expected such as 'Window(64, 16)'"
    )


def _pattern(node: ast.AST, text: str) -> Pattern:
    value = _build(node, text)
    if not isinstance(value, Pattern):
        raise InputError(
            f"{ast.unparse(node)!r} in {text!r} is no pattern, expected one on both sides of & and |, and behind ~"
        )
    return value
