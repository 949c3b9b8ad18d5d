"""Feature maps phi of linear attention, in which a score is a product: s = phi(q) . phi(k), never negative.

Attention divides by the sum of scores, so a factor of phi(q) that is the same for all keys cancels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from regard.attention.spec.base import Value, bounded

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

__all__ = ["Elu", "Favor", "Features"]


@dataclass(frozen=True, repr=False)
class Features(Value):
    """What every feature map offers; features are at least float32, whatever the type of the vectors."""

    def width(self, d: int) -> int:
        """How many features a vector of width d has."""
        raise NotImplementedError

    def of_queries(self, q: Float[Tensor, "*b d"]) -> Float[Tensor, "*b features"]:
        """`[..., width]` for queries `[..., d]`, up to a factor of each query's own."""
        raise NotImplementedError

    def of_keys(self, k: Float[Tensor, "*b d"]) -> Float[Tensor, "*b features"]:
        """`[..., width]` for keys `[..., d]`."""
        raise NotImplementedError

    def held(self, d: int) -> int:
        """How many numbers `gradient` holds for a vector, beside its arguments and what it gives."""
        # What goes into the last operation, what comes out of it, and the gradient between.
        return 3 * self.width(d)

    def gradient(
        self,
        of: Callable[[Float[Tensor, "*b d"]], Float[Tensor, "*b features"]],
        x: Float[Tensor, "*b d"],
        phi: Float[Tensor, "*b features"],
        above: Float[Tensor, "*b features"],
    ) -> Float[Tensor, "*b d"]:
        """The gradient of x, given the one of phi = of(x), which is `of_queries` or `of_keys`."""
        from torch import autograd, enable_grad

        with enable_grad():
            x = x.detach().requires_grad_()
            return autograd.grad(of(x), x, above)[0]


@dataclass(frozen=True, repr=False)
class Elu(Features):
    """phi(x) = elu(x) + 1: x + 1 above zero, exp(x) below (Katharopoulos et al. 2020, eq. 7)."""

    def width(self, d: int) -> int:
        return d

    def of_queries(self, q: Float[Tensor, "*b d"]) -> Float[Tensor, "*b features"]:
        return self.of_keys(q)

    def of_keys(self, k: Float[Tensor, "*b d"]) -> Float[Tensor, "*b features"]:
        from torch import is_grad_enabled

        k = _exact(k)
        # Written out: elu(x) + 1 rounds what lies far below zero to zero.
        if is_grad_enabled():
            # Unlike that of a clamp, its slope at 0 is the same in all releases of torch: 1.
            return k.relu() + k.masked_fill(k > 0, 0).exp()
        return k.clamp(max=0).exp_().add_(k.relu())

    def held(self, d: int) -> int:
        return 0

    def gradient(
        self,
        of: Callable[[Float[Tensor, "*b d"]], Float[Tensor, "*b features"]],
        x: Float[Tensor, "*b d"],
        phi: Float[Tensor, "*b features"],
        above: Float[Tensor, "*b features"],
    ) -> Float[Tensor, "*b d"]:
        # The slope is 1 above zero, where phi is more, and exp(x) = phi below.
        return phi.clamp(max=1).mul_(above)


@dataclass(frozen=True, repr=False)
class Favor(Features):
    """Positive orthogonal random features, with which phi(q) . phi(k) is about exp(q . k / sqrt(d)) (FAVOR+).

        phi(x)_r = exp(w_r . y - |y|^2 / 2) / sqrt(features)        y = x / d^(1/4)

    The rows w_r are Gaussian, orthogonal within each block of d (Choromanski et al. 2021, lemma 1 and section 2.4). They follow
    from the seed and belong to no generator's stream; all heads share them.

    The constants of a query, |y|^2 / 2 and 1 / sqrt(features), are left out, and its largest exponent is taken off all of its
    features: one factor per query, which the sum of scores divides away. Keys keep their features, but for 1 / sqrt(features): a
    factor that their largest exponent sets would change with every key that a set grows by. Features of keys much longer than
    10 d^(1/4) are too small for float32; where no key of a row has any, its output is zero.

    Args:
        features: their number; the error falls with its square root.
        seed: what the rows are drawn from.

    >>> Favor(features=8).redrawn()
    Favor(features=8, seed=1)
    """

    features: int = field(default=256, metadata=bounded(1, 1 << 20))
    seed: int = field(default=0, metadata=bounded(0))

    def redrawn(self) -> Favor:
        """The same with the rows of the next seed (section 4.2: drawn anew while training)."""
        return replace(self, seed=self.seed + 1)

    def width(self, d: int) -> int:
        return self.features

    def rows(self, d: int) -> Float[Tensor, "features d"]:
        """`[features, d]` float64: the rows w_r for vectors of width d."""
        return _orthogonal(self.features, d, self.seed)

    def of_queries(self, q: Float[Tensor, "*b d"]) -> Float[Tensor, "*b features"]:
        products, _ = self._products(q)
        return (products - products.detach().amax(-1, keepdim=True)).exp()

    def of_keys(self, k: Float[Tensor, "*b d"]) -> Float[Tensor, "*b features"]:
        products, y = self._products(k)
        return (products - y.square().sum(-1, keepdim=True) / 2).exp()

    def _products(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """`w_r . y` and y."""
        d = x.shape[-1]
        y = _exact(x) * d**-0.25
        return y @ self.rows(d).to(y).mT, y


@lru_cache(maxsize=64)
def _orthogonal(rows: int, d: int, seed: int) -> Tensor:
    """`[rows, d]` float64: blocks of orthogonal rows, each as long as a Gaussian vector."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    blocks = (rows + d - 1) // d
    gaussian = torch.randn(blocks, d, d, generator=generator, dtype=torch.float64)
    q, r = torch.linalg.qr(gaussian)
    # With these signs the blocks are uniform over the orthogonal matrices (Mezzadri 2007, section 5).
    q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)
    lengths = torch.randn(rows, d, generator=generator, dtype=torch.float64).norm(dim=-1, keepdim=True)
    return q.mT.reshape(blocks * d, d)[:rows] * lengths


def _exact(x: Tensor) -> Tensor:
    from torch import float32, promote_types

    return x.to(promote_types(x.dtype, float32))
