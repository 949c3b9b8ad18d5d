"""All scores; see `score` for what every score offers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from regard.attention.spec.base import Parameters, Shapes, bounded
from regard.attention.spec.edge_values import lacking_edge_values, projected_edges
from regard.attention.spec.feature_maps import Elu, Features
from regard.attention.spec.score import Score
from regard.attention.spec.score_mixture import Mixture
from regard.attention.spec.scores_of_edges import EdgeDot
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.pairs.pairs import Pairs
    from regard.sets import Layout

__all__ = ["Additive", "Dot", "EdgeDot", "Kernel", "Mixture", "Score", "Separable", "Synthesized"]


@dataclass(frozen=True, repr=False)
class Dot(Score):
    """s = scale * (q . k), scaled dot product (Vaswani et al. 2017, eq. 1).

    Args:
        scale: the factor; None stands for 1 / sqrt(d), and 1.0 is the unscaled form of lectures.
    """

    scale: float | None = field(default=None, metadata=bounded())

    def scaling(self, d: int) -> float:
        return d**-0.5 if self.scale is None else self.scale

    def numbers_per_pair(self, d: int) -> int:
        return 1

    def __call__(
        self,
        q: Float[Tensor, "*#b h d"],
        k: Float[Tensor, "*#b h d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h"]:
        return (q * k).sum(-1) * self.scaling(q.shape[-1])

    def tile(
        self,
        q: Float[Tensor, "*#b h rows d"],
        k: Float[Tensor, "*#b h keys d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h rows keys"]:
        return (q * self.scaling(q.shape[-1])) @ k.transpose(-2, -1)


@dataclass(frozen=True, repr=False)
class Additive(Score):
    """s = w . f(q + k), with w learned per head; with `edges`, s = w . f(q + k + W x), x the values of the pair's edge.

    With f = tanh it is the additive score of Bahdanau et al. 2015 (A.1.2), whose matrices are the projections that made
    q and k: w . tanh(W [x_q; x_k]) = w . tanh(W_q x_q + W_k x_k). With f = LeakyReLU it is GATv2 (Brody et al. 2022, eq. 7); W x
    for edges that carry values is that paper's code. Pairs that are no edge have x = 0.

    Args:
        activation: "tanh" or "leaky_relu".
        slope: of LeakyReLU below zero.
        edges: the number of values of each edge that the score reads, by a W learned per head; 0 reads none.
    """

    activation: str = "tanh"
    slope: float = field(default=0.2, metadata=bounded())
    edges: int = field(default=0, metadata=bounded(0))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.activation not in ("tanh", "leaky_relu"):
            raise InputError(f"Additive has activation {self.activation!r}, expected 'tanh' or 'leaky_relu'")

    @property
    def reads_edges(self) -> bool:
        return self.edges > 0

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        return lacking_edge_values(self, self.edges, layout, key_layout) if self.edges else None

    def parameters(self, heads: int, d: int) -> Shapes:
        shapes: Shapes = {"score_weight": (heads, d)}
        return shapes | ({"score_edges": (self.edges, heads, d)} if self.edges else {})

    def __call__(
        self,
        q: Float[Tensor, "*#b h d"],
        k: Float[Tensor, "*#b h d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h"]:
        x = q + k
        if self.edges:
            x = x + projected_edges(parameters["score_edges"], pairs, q)
        x = x.tanh() if self.activation == "tanh" else _leaky_relu(x, self.slope)
        return (x * parameters["score_weight"]).sum(-1)


@dataclass(frozen=True, repr=False)
class Separable(Score):
    """s = LeakyReLU(a . q + b . k), with a and b learned per head: GAT (Velickovic et al. 2018, eq. 3).

    With `edges`, s = LeakyReLU(a . q + b . k + c . x), x the values of the pair's edge, 0 where the pair is none.

    Args:
        slope: of LeakyReLU below zero. With slope 1 the score is a sum of two independent parts, and softmax forgets the query.
        edges: the number of values of each edge that the score reads, by a c learned per head; 0 reads none.
    """

    slope: float = field(default=0.2, metadata=bounded())
    edges: int = field(default=0, metadata=bounded(0))

    @property
    def reads_edges(self) -> bool:
        return self.edges > 0

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        return lacking_edge_values(self, self.edges, layout, key_layout) if self.edges else None

    def parameters(self, heads: int, d: int) -> Shapes:
        shapes: Shapes = {"score_query": (heads, d), "score_key": (heads, d)}
        return shapes | ({"score_edges": (self.edges, heads, 1)} if self.edges else {})

    def numbers_per_pair(self, d: int) -> int:
        return 1

    def __call__(
        self,
        q: Float[Tensor, "*#b h d"],
        k: Float[Tensor, "*#b h d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h"]:
        x = (q * parameters["score_query"]).sum(-1) + (k * parameters["score_key"]).sum(-1)
        if self.edges:
            x = x + projected_edges(parameters["score_edges"], pairs, q).squeeze(-1)
        return _leaky_relu(x, self.slope)

    def tile(
        self,
        q: Float[Tensor, "*#b h rows d"],
        k: Float[Tensor, "*#b h keys d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h rows keys"]:
        ours = (q * parameters["score_query"][:, None]).sum(-1)
        theirs = (k * parameters["score_key"][:, None]).sum(-1)
        x = ours[..., :, None] + theirs[..., None, :]
        if self.edges:
            x = x + projected_edges(parameters["score_edges"], pairs, q).squeeze(-1).movedim(-1, -3)
        return _leaky_relu(x, self.slope)


@dataclass(frozen=True, repr=False)
class Kernel(Score):
    """s = phi(q) . phi(k): linear attention (Katharopoulos et al. 2020, eq. 4), with the normalizer `Sum` only.

    Args:
        phi: the feature map, `Elu()` (the paper's) or `Favor()` (random features of the softmax kernel).
    """

    phi: Features = field(default_factory=Elu)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.phi, Features):
            raise InputError(f"Kernel has phi {self.phi!r}, expected Elu() or Favor()")

    @property
    def positive(self) -> bool:
        return True

    def numbers_per_pair(self, d: int) -> int:
        return 1

    def width(self, d: int) -> int:
        return self.phi.width(d)

    def __call__(
        self,
        q: Float[Tensor, "*#b h d"],
        k: Float[Tensor, "*#b h d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h"]:
        return (self.phi.of_queries(q) * self.phi.of_keys(k)).sum(-1)

    def tile(
        self,
        q: Float[Tensor, "*#b h rows d"],
        k: Float[Tensor, "*#b h keys d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h rows keys"]:
        return self.phi.of_queries(q) @ self.phi.of_keys(k).mT


@dataclass(frozen=True, repr=False)
class Synthesized(Score):
    """Scores that no key has a part in (Tay et al. 2021, sections 3.1 and 3.2), learned per head for places i and j:

    - "dense": s = w_j . relu(q_i) + b_j; the projection that made q is the first layer of the paper's F (eq. 4)
    - "random": s = R_ij (eq. 6)
    - "factorized": s = a_i . b_j, of a small rank (eq. 8)
    - "factorized_dense": s = (l_(j mod r) . relu(q_i) + c_(j mod r)) (u_(j div r) . relu(q_i) + e_(j div r)), a place being told by
      two numbers: r vectors l and places / r vectors u (section 3.2, where tiling repeats both)

    Args:
        places: how many places are learned; longer sets are refused.
        kind: "dense", "random", "factorized" (random), or "factorized_dense".
        rank: the width of a and b, or r.
    """

    places: int = field(metadata=bounded(1))
    kind: str = "dense"
    rank: int = field(default=8, metadata=bounded(1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind not in ("dense", "random", "factorized", "factorized_dense"):
            known = "'dense', 'random', 'factorized' or 'factorized_dense'"
            raise InputError(f"Synthesized has kind {self.kind!r}, expected {known}")

    @property
    def placed(self) -> bool:
        return True

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        for x, what in ((layout, "queries"), (key_layout, "keys")):
            longest = int(x.index.max()) + 1 if x.total else 0
            if longest > self.places:
                return f"the {what} have {longest:,} places in a set, expected at most the {self.places:,} of {self!r}"
        return None

    def parameters(self, heads: int, d: int) -> Shapes:
        if self.kind == "dense":
            return {"score_keys": (self.places, heads, d), "score_shift": (self.places, heads)}
        if self.kind == "random":
            return {"score_pairs": (self.places, self.places, heads)}
        if self.kind == "factorized_dense":
            sizes = {"left": self.rank, "right": -(-self.places // self.rank)}
            vectors: Shapes = {f"score_{side}": (size, heads, d) for side, size in sizes.items()}
            return vectors | {f"score_{side}_shift": (size, heads) for side, size in sizes.items()}
        return {"score_queries": (self.places, heads, self.rank), "score_keys": (self.places, heads, self.rank)}

    def numbers_per_pair(self, d: int) -> int:
        return {"dense": 1, "random": 3, "factorized": 1, "factorized_dense": 3}[self.kind]

    def __call__(
        self,
        q: Float[Tensor, "*#b h d"],
        k: Float[Tensor, "*#b h d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h"]:
        assert pairs is not None, "a score that is placed is told the pairs"
        if self.kind == "random":
            return _rows(parameters["score_pairs"].flatten(0, 1), pairs.i * self.places + pairs.j)
        if self.kind == "factorized_dense":
            x, (left, right) = q.relu(), self._halves(pairs.j)
            both = (
                (x * _rows(parameters[name], place)).sum(-1) + _rows(parameters[f"{name}_shift"], place)
                for name, place in (("score_left", left), ("score_right", right))
            )
            return next(both) * next(both)
        keys = _rows(parameters["score_keys"], pairs.j)
        if self.kind == "factorized":
            return (_rows(parameters["score_queries"], pairs.i) * keys).sum(-1)
        return (q.relu() * keys).sum(-1) + _rows(parameters["score_shift"], pairs.j)

    def tile(
        self,
        q: Float[Tensor, "*#b h rows d"],
        k: Float[Tensor, "*#b h keys d"],
        parameters: Parameters,
        pairs: Pairs | None = None,
    ) -> Float[Tensor, "*b h rows keys"]:
        assert pairs is not None, "a score that is placed is told the pairs"
        i, j = pairs.i, pairs.j
        if i.shape[-1] != 1 or j.shape[-2] != 1:
            return super().tile(q, k, parameters, pairs)
        if self.kind == "random":
            return _crossed(parameters["score_pairs"], i, j).movedim(-1, -3)
        if self.kind == "factorized_dense":
            return self._factorized_tile(q.relu(), parameters, j)
        keys = _rows(parameters["score_keys"], j.squeeze(-2)).movedim(-3, -1)
        if self.kind == "factorized":
            return _rows(parameters["score_queries"], i.squeeze(-1)).movedim(-2, -3) @ keys
        shift = _rows(parameters["score_shift"], j.squeeze(-2))
        return q.relu() @ keys + shift.movedim(-1, -2).unsqueeze(-2)

    def _halves(self, place: Any) -> tuple[Any, Any]:
        """The two numbers that tell a place."""
        return place.remainder(self.rank), place.div(self.rank, rounding_mode="floor")

    def _factorized_tile(
        self, x: Float[Tensor, "*#b h rows d"], parameters: Parameters, place: Any
    ) -> Float[Tensor, "*b h rows keys"]:
        """Each query with all l and all u, of which a key takes one of each: place `[..., 1, keys]`."""
        products = []
        for name, number in zip(("score_left", "score_right"), self._halves(place), strict=True):
            table, shift = parameters[name], parameters[f"{name}_shift"]
            scores = x @ table.permute(1, 2, 0) + shift.T[:, None]
            products.append(scores.take_along_dim(number.unsqueeze(-3), -1))
        return products[0] * products[1]


def _rows(table: Tensor, place: Any) -> Tensor:
    """`table[place]`."""
    from regard.attention.pairs.rows import looked_up

    return looked_up(table.flatten(1), place).unflatten(-1, table.shape[1:])


def _crossed(table: Tensor, i: Any, j: Any) -> Tensor:
    """`table[i, j]`."""
    from regard.attention.pairs.rows import crossed

    return crossed(table, i, j)


def _leaky_relu(x: Tensor, slope: float) -> Tensor:
    # Unlike that of a clamp, its slope at 0 is the same in all releases of torch: 1 + slope, as in the kernels.
    return x.masked_fill(x < 0, 0) + slope * x.masked_fill(x > 0, 0)
