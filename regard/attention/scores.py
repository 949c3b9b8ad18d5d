"""Scores: how well a key answers a query, before any normalization.

A score is called with aligned queries and keys, `q [..., h, d]` and `k [..., h, d]` that broadcast against each other,
and gives `[..., h]`; that is its meaning. `tile` computes all pairs of `q [..., h, n, d]` and `k [..., h, m, d]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regard.attention.values import Value
from regard.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Additive", "Dot", "Score", "Separable"]

Parameters = Mapping[str, "Tensor"]
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True, repr=False)
class Score(Value):
    """What every score offers; a new one defines `__call__`, and `tile` where it knows a quicker way."""

    def parameters(self, heads: int, d: int) -> Shapes:
        """The learned tensors and their shapes."""
        return {}

    def scaling(self, d: int) -> float:
        """The factor that the score applies to its product, which also covers a bias that says `scaled`."""
        return 1.0

    def numbers_per_pair(self, d: int) -> int:
        """How many numbers `tile` holds for a pair."""
        return d

    def __call__(self, q: Tensor, k: Tensor, parameters: Parameters) -> Tensor:
        raise NotImplementedError

    def tile(self, q: Tensor, k: Tensor, parameters: Parameters) -> Tensor:
        """`[..., h, n, m]` for `q [..., h, n, d]` and `k [..., h, m, d]`."""
        q, k = q.movedim(-3, -2).unsqueeze(-3), k.movedim(-3, -2).unsqueeze(-4)
        return self(q, k, parameters).movedim(-1, -3)


@dataclass(frozen=True, repr=False)
class Dot(Score):
    """s = scale * (q . k), scaled dot product (Vaswani et al. 2017, eq. 1).

    Args:
        scale: the factor; None stands for 1 / sqrt(d), and 1.0 is the unscaled form of lectures.
    """

    scale: float | None = None

    def scaling(self, d: int) -> float:
        return d**-0.5 if self.scale is None else self.scale

    def numbers_per_pair(self, d: int) -> int:
        return 1

    def __call__(self, q: Tensor, k: Tensor, parameters: Parameters) -> Tensor:
        return (q * k).sum(-1) * self.scaling(q.shape[-1])

    def tile(self, q: Tensor, k: Tensor, parameters: Parameters) -> Tensor:
        return (q * self.scaling(q.shape[-1])) @ k.transpose(-2, -1)


@dataclass(frozen=True, repr=False)
class Additive(Score):
    """s = w . f(q + k), with w learned per head.

    With f = tanh it is the additive score of Bahdanau et al. 2015 (A.1.2), whose matrices are the projections that made
    q and k: w . tanh(W [x_q; x_k]) = w . tanh(W_q x_q + W_k x_k). With f = LeakyReLU it is GATv2 (Brody et al. 2022, eq. 7).

    Args:
        activation: "tanh" or "leaky_relu".
        slope: of LeakyReLU below zero.
    """

    activation: str = "tanh"
    slope: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ("tanh", "leaky_relu"):
            raise InputError(f"Additive has activation {self.activation!r}, expected 'tanh' or 'leaky_relu'")

    def parameters(self, heads: int, d: int) -> Shapes:
        return {"score_weight": (heads, d)}

    def __call__(self, q: Tensor, k: Tensor, parameters: Parameters) -> Tensor:
        x = q + k
        x = x.tanh() if self.activation == "tanh" else _leaky_relu(x, self.slope)
        return (x * parameters["score_weight"]).sum(-1)


@dataclass(frozen=True, repr=False)
class Separable(Score):
    """s = LeakyReLU(a . q + b . k), with a and b learned per head: GAT (Velickovic et al. 2018, eq. 3).

    Args:
        slope: of LeakyReLU below zero. With slope 1 the score is a sum of two independent parts, and softmax forgets the query.
    """

    slope: float = 0.2

    def parameters(self, heads: int, d: int) -> Shapes:
        return {"score_query": (heads, d), "score_key": (heads, d)}

    def numbers_per_pair(self, d: int) -> int:
        return 1

    def __call__(self, q: Tensor, k: Tensor, parameters: Parameters) -> Tensor:
        return _leaky_relu((q * parameters["score_query"]).sum(-1) + (k * parameters["score_key"]).sum(-1), self.slope)

    def tile(self, q: Tensor, k: Tensor, parameters: Parameters) -> Tensor:
        ours = (q * parameters["score_query"][:, None]).sum(-1)
        theirs = (k * parameters["score_key"][:, None]).sum(-1)
        return _leaky_relu(ours[..., :, None] + theirs[..., None, :], self.slope)


def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    return x.clamp(min=0) + slope * x.clamp(max=0)
