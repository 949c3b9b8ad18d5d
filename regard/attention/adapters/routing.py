"""`Routing`: vectors attend to those of their clusters, whose centroids follow the vectors (Routing Transformer)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from regard.attention.adapters.base import Adapter, Attends, Call
from regard.attention.adapters.folding import check_order_alone, fold, in_places, of_unit_length, unfold
from regard.attention.spec.base import Shapes, bounded
from regard.attention.spec.pattern import Pattern
from regard.attention.spec.patterns import Causal
from regard.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float
    from torch import Tensor

    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.attention.spec.attention import Attention
    from regard.sets import Layout

__all__ = ["Routing"]


@dataclass(frozen=True, repr=False)
class Routing(Adapter):
    """Attention within clusters that are learned with the model: with sqrt(n) clusters, n vectors take n sqrt(n) pairs.

        Q_c = the w queries of the set nearest to centroid c, by q / |q| . c; K_c likewise of the keys
        out_i = mean over the c with i in Q_c of sum over j in K_c of a_ij v_j

    So all clusters are of the same size. A vector that is in no cluster gives zero, and one in several the mean. With the pattern
    `Causal()`, queries are keys as well (so that K_c = Q_c, and the keys that are given are not read) and j is not later than i;
    which vectors a cluster takes depends on the whole set, as in the paper.

    The centroids of each head are no parameters: while training, each moves towards the mean m of the queries and keys, of unit
    length, that are nearest to it, c <- decay c + (1 - decay) m, and is made of unit length again. Scores read q and k as they are.

    Source: Roy et al. 2021 (Routing Transformer), section 4.

    Args:
        attention: the score, such as `Dot()`, and the normalizer; the pattern `Everyone()` or `Causal()`.
        clusters: how many centroids each head has.
        size: w; None means ceil(n / clusters) in a set of n vectors.
        decay: how much of a centroid stays at each step.
        local: the pattern of the first half of the heads, which attend to all that it allows and have no clusters, as half of the
            paper's heads do in a window; None leaves all heads to the clusters.

    Raises:
        InputError: a `local` that is no pattern, or an attention with another pattern, with a bias, or with learned tensors.

    >>> from regard.attention import Window
    >>> Routing(clusters=16, local=Window(64, 64))
    Routing(clusters=16, local=Window(left=64, right=64))
    """

    clusters: int = field(default=8, metadata=bounded(1, 1 << 20))
    size: int | None = field(default=None, metadata=bounded(1))
    decay: float = field(default=0.999, metadata=bounded(0, 1))
    local: Pattern | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order_alone(self)
        if self.local is not None and (not isinstance(self.local, Pattern) or self.local.varies):
            raise InputError(f"Routing has local {self.local!r}, expected None or one pattern such as Window(64, 64)")

    @property
    def shared(self) -> bool:
        return isinstance(self.attention.pattern, Causal)

    @property
    def reads_edges(self) -> bool:
        return self.local is not None and self.local.reads_edges

    @property
    def coordinates(self) -> int:
        return 0 if self.local is None else self.local.coordinates

    @property
    def averages(self) -> tuple[str, ...]:
        return ("centroids",)

    def parameters(self, heads: int, d: int, e: int | None = None) -> Shapes:
        if self.local is not None and heads % 2:
            raise InputError(
                f"there are {heads} heads, expected an even number: half of those of {self.text} are local"
            )
        return {"centroids": (heads - self._local_heads(heads), self.clusters, d)}

    def deviation(self, name: str, shape: Sequence[int]) -> float:
        # About unit length.
        return float(shape[-1]) ** -0.5

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        if key_layout is not layout:
            return f"{self.text} takes clusters of one layout, expected queries and keys of the same layout"
        return None

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Call]:
        from regard.sets import Layout

        lengths = self._sizes(layout.lengths).repeat_interleave(self.clusters)
        clusters = Layout.of_lengths(lengths)
        calls = [Call("clusters, of a head that has some", self.attention, clusters, clusters)]
        if self.local is not None:
            calls.append(Call("local, of a head that is", self._local, layout, layout))
        return calls

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        import torch

        given, parts = in_places(self._with_keys(tensors), layout)[0], []
        local = self._local_heads(given.q.shape[1])
        sets = layout.in_order()
        if local:
            some = replace(given, q=given.q[:, :local], k=given.k[:, :local], v=given.v[:, :local])
            parts.append(verb(self._local, some, sets, None, dropout))
            dropout = None if dropout is None else replace(dropout, seed=(dropout.seed + 1) % (1 << 62))
        routed = replace(given, q=given.q[:, local:], k=given.k[:, local:], v=given.v[:, local:])
        parts.append(self._routed(verb, routed, sets, dropout))
        out = torch.cat(parts, 1)
        return out if layout.row_order is None else out.index_select(0, layout.ranks)

    def _routed(self, verb: Attends, tensors: Tensors, sets: Layout, dropout: Dropout | None) -> Tensor:
        """The heads that have clusters, of rows in order of their places."""
        import torch

        heads, centroids = tensors.q.shape[1], tensors.parameters["centroids"]
        queries = self._members(tensors.q, centroids, sets)
        keys = queries if self.shared else self._members(tensors.k, centroids, sets)
        q, k, v = (
            fold(x).index_select(0, members.rows)
            for x, members in ((tensors.q, queries), (tensors.k, keys), (tensors.v, keys))
        )
        found = verb(
            self.attention, replace(tensors, q=q, k=k, v=v, parameters={}), queries.layout, keys.layout, dropout
        )
        out = found.new_zeros(heads * sets.total, 1, found.shape[2]).index_add(0, queries.rows, found)
        times = torch.bincount(queries.rows, minlength=len(out)).clamp(min=1)
        return unfold(out / times[:, None, None].to(out.dtype), heads)

    def _members(self, x: Tensor, centroids: Tensor, layout: Layout) -> _Members:
        """The rows of `fold(x)` in each cluster of each set, in order of their places."""
        import torch

        from regard.sets import Layout

        x = x.detach().to(torch.promote_types(x.dtype, torch.float32))
        near = torch.einsum("thd,hcd->thc", of_unit_length(x), centroids.to(x))
        head = torch.arange(x.shape[1], device=x.device)[:, None, None, None] * layout.total
        rows, places, lengths = [], [], []
        # Sets of one length are clustered together.
        for length in layout.lengths[layout.lengths > 0].unique().tolist():
            first = layout.offsets[:-1][layout.lengths == length]
            every = first[:, None] + torch.arange(length, device=x.device)
            size = int(self._sizes(first.new_tensor(length)))
            members = near[every].topk(size, dim=1).indices.sort(dim=1).values.permute(2, 0, 3, 1)
            rows.append((members + first[:, None, None] + head).flatten())
            places.append(members.flatten())
            lengths.append(first.new_full((members.numel() // size,), size))
        none = layout.offsets[:0]
        offsets = torch.nn.functional.pad(torch.cat([none, *lengths]).cumsum(0), (1, 0))
        ordered = torch.cat([none, *places]) if self.shared else None
        return _Members(torch.cat([none, *rows]), Layout._trusted([offsets, None, None, None, None, ordered]))

    def follow(self, tensors: Tensors) -> Mapping[str, Float[Tensor, " ..."]]:
        import torch

        before = tensors.parameters["centroids"]
        centroids = of_unit_length(before)
        heads, number, d = centroids.shape
        given = (tensors.q,) if self.shared else (tensors.q, tensors.k)
        moved = torch.zeros(heads * number, d + 1, dtype=centroids.dtype, device=centroids.device)
        for x in given:
            x = x.repeat_interleave(tensors.q.shape[1] // x.shape[1], dim=1)[:, -heads:]
            x = of_unit_length(x.detach().to(centroids.dtype))
            nearest = torch.einsum("thd,hcd->thc", x, centroids).argmax(-1)
            nearest = nearest + torch.arange(heads, device=x.device) * number
            moved.index_add_(0, nearest.flatten(), torch.nn.functional.pad(x, (0, 1), value=1.0).flatten(0, 1))
        total, times = moved.view(heads, number, d + 1).split([d, 1], -1)
        near = of_unit_length(self.decay * centroids + (1 - self.decay) * total / times.clamp(min=1))
        return {"centroids": torch.where(times > 0, near, before)}

    @property
    def _local(self) -> Attention:
        assert self.local is not None
        return replace(self.attention, pattern=self.local & Causal() if self.shared else self.local)

    def _local_heads(self, heads: int) -> int:
        return 0 if self.local is None else heads // 2

    def _with_keys(self, tensors: Tensors) -> Tensors:
        return replace(tensors, k=tensors.q) if self.shared else tensors

    def _sizes(self, lengths: Tensor) -> Tensor:
        """How many vectors each cluster takes of sets of these lengths."""
        if self.size is None:
            return (lengths + self.clusters - 1) // self.clusters
        return lengths.clamp(max=self.size)


class _Members(NamedTuple):
    """The members of all clusters, one after another: their folded rows, and sets of them, whose places are those of their set."""

    rows: Tensor
    layout: Layout
