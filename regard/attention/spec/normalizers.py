"""Normalizers: from the scores of a row's allowed keys to its weights.

Each is one formula over `s`, in which a forbidden pair has score -inf, and `rows`, which reduces along each row's allowed
keys whatever the executor's shape of things: `rows.max(s)`, `rows.sum(x)` and `rows.count(s)`, all shaped to broadcast with s.
A row with no allowed key has maximum 0, sum 1 and count 1, so its weights come out zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from regard.attention.spec.base import Part

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["Normalizer", "Relu", "RowReducer", "Sigmoid", "Softmax", "Sum"]


@runtime_checkable
class RowReducer(Protocol):
    """Reductions over each row's allowed keys."""

    def count(self, s: Float[Tensor, "*b"]) -> Float[Tensor, "*#b"]:
        """The number of allowed keys, at least 1, in the type of s."""
        ...

    def max(self, s: Float[Tensor, "*b"]) -> Float[Tensor, "*#b"]:
        """The largest score, without gradient; 0 where no key is allowed."""
        ...

    def sum(self, x: Float[Tensor, "*b"]) -> Float[Tensor, "*#b"]:
        """The sum; 1 where no key is allowed."""
        ...


@dataclass(frozen=True, repr=False)
class Normalizer(Part):
    """What every normalizer offers."""

    @property
    def divides(self) -> bool:
        """Whether it divides by the very scores, which then must not be below zero."""
        return False

    def weights(self, s: Float[Tensor, "*b"], rows: RowReducer) -> Float[Tensor, "*b"]:
        raise NotImplementedError


@dataclass(frozen=True, repr=False)
class Softmax(Normalizer):
    """a_j = exp(s_j) / sum_l exp(s_l) (Vaswani et al. 2017, eq. 1)."""

    def weights(self, s: Float[Tensor, "*b"], rows: RowReducer) -> Float[Tensor, "*b"]:
        p = (s - rows.max(s)).exp()
        return p / rows.sum(p)


@dataclass(frozen=True, repr=False)
class Relu(Normalizer):
    """a_j = max(s_j, 0) / n, with n the row's number of allowed keys (Wortsman et al. 2023, section 3)."""

    def weights(self, s: Float[Tensor, "*b"], rows: RowReducer) -> Float[Tensor, "*b"]:
        return s.relu() / rows.count(s)


@dataclass(frozen=True, repr=False)
class Sigmoid(Normalizer):
    """a_j = sigmoid(s_j - log n), with n the row's number of allowed keys (Ramapuram et al. 2024, section 3.1)."""

    def weights(self, s: Float[Tensor, "*b"], rows: RowReducer) -> Float[Tensor, "*b"]:
        return (s - rows.count(s).log()).sigmoid()


@dataclass(frozen=True, repr=False)
class Sum(Normalizer):
    """a_j = s_j / sum_l s_l, for scores that are not below zero (Katharopoulos et al. 2020, eq. 4).

    Scores that are all zero (products of features too small for the type) give zero weights, as no keys would.
    """

    @property
    def divides(self) -> bool:
        return True

    def weights(self, s: Float[Tensor, "*b"], rows: RowReducer) -> Float[Tensor, "*b"]:
        s = s.relu()  # Of legal scores, only the -inf of forbidden pairs changes.
        total = rows.sum(s)
        # Divided by infinity, zeros are zeros, and so are their gradients.
        return s / total.masked_fill(total == 0, float("inf"))
