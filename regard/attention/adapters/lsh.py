"""`LSH`: vectors attend to those that random rotations hash into the same bucket (Reformer)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

from regard.attention.adapters.base import Adapter, Attends, Own
from regard.attention.adapters.folding import check_order_alone, fold, folded, in_places, of_unit_length, unfold
from regard.attention.spec.base import bounded
from regard.attention.spec.normalizers import Softmax
from regard.attention.spec.patterns import Causal, Edges
from regard.errors import InputError
from regard.kernels.hashing import hashed, hashed_normal

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torch import Tensor

    from regard.attention.adapters.chunks import Chunks
    from regard.attention.dropout import Dropout
    from regard.attention.problem import Tensors
    from regard.sets import Layout

__all__ = ["LSH"]

# Numbers of rotated vectors that are in memory at once.
_ROTATED = 1 << 24


@dataclass(frozen=True, repr=False)
class LSH(Adapter):
    """Attention among similar vectors, found by locality-sensitive hashing: n vectors take about n chunk rounds pairs.

        x = q_i, k_j = q_j / |q_j|                          shared queries and keys; the keys that are given are not read
        h(x) = argmax [x R; -x R]                           R [d, buckets / 2] Gaussian, of its own for each round and head
        P_i = union over rounds of { j : h(q_j) = h(q_i), c_i - 1 <= c_j <= c_i }
        out_i = sum over j in P_i of a_ij v_j

    In each round the vectors of a set are sorted by (bucket, place) and cut into chunks; c is a vector's chunk. The last chunk is
    shorter, and nothing precedes the first. A vector attends to itself only if it may attend to nothing else. The union is how the
    paper merges rounds: by their sums of exponentials, each pair divided by how often it meets. With `Causal()`, no j is later
    than i.

    The rotations are a hash of (seed, round, head) and belong to no generator's stream. A set of at most `chunk` vectors has one
    bucket, and then every vector attends to all others. Large numbers of buckets are not made of two smaller hashes.

    Source: Kitaev et al. 2020 (Reformer), section 2.

    Args:
        attention: the score `Dot()`, of any scale, and the pattern `Everyone()` or `Causal()`.
        chunk: vectors of a chunk.
        rounds: how many times vectors are hashed.
        buckets: 1 or an even number; None means 2 ceil(n / chunk) for a set of n vectors: a chunk is two buckets, as in the paper.
        seed: of the rotations.

    Raises:
        InputError: an odd number of buckets, or an attention with another pattern, score or normalizer, or with a bias.

    >>> from regard.attention import Attention
    >>> LSH(Attention(pattern=Causal()), chunk=32)
    LSH(attention=Attention(pattern=Causal()), chunk=32)
    """

    chunk: int = field(default=64, metadata=bounded(1))
    rounds: int = field(default=2, metadata=bounded(1, 1 << 10))
    buckets: int | None = field(default=None, metadata=bounded(1, 1 << 20))
    seed: int = field(default=0, metadata=bounded(0))

    def __post_init__(self) -> None:
        super().__post_init__()
        check_order_alone(self)
        if not isinstance(self.attention.normalizer, Softmax):
            found = self.attention.normalizer
            raise InputError(f"LSH has normalizer {found!r}, expected Softmax(), by which rounds can be merged")
        if self.buckets is not None and self.buckets > 1 and self.buckets % 2:
            raise InputError(f"LSH has buckets {self.buckets}, expected 1 or an even number: a vector and its opposite")

    @property
    def shared(self) -> bool:
        return True

    @property
    def own(self) -> str:
        return "chunks"

    def needs(self, layout: Layout, key_layout: Layout) -> str | None:
        if key_layout is not layout:
            return f"{self.text} has queries that are keys as well, expected queries and keys of the same layout"
        return None

    def calls(self, layout: Layout, key_layout: Layout) -> Sequence[Own]:
        """What is computed, of vectors that fall into buckets at random: a plan knows none of them."""
        from regard.attention.adapters.chunks import AT_ONCE

        layout = layout.in_order()
        numbers, places = self._numbers(layout), layout.index
        drawn = [hashed(self.seed, self.seed >> 32, n, places) % numbers for n in range(self.rounds)]
        pairs = sum(self._chunks(layout, bucket).pairs for bucket in drawn)
        name = f"{self.rounds} rounds, as if vectors fell into buckets at random"
        return [Own(name, pairs, min(AT_ONCE, 2 * self.chunk * layout.total))]

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout, dropout: Dropout | None
    ) -> Float[Tensor, "t h e"]:
        from regard.attention.adapters.chunks import attend_in_chunks

        ordered, sets = in_places(tensors, layout)
        heads = ordered.q.shape[1]
        many = folded(sets, heads)
        rounds = [self._chunks(many, self.hashes(ordered.q, sets, n).T.flatten()) for n in range(self.rounds)]
        q, v = fold(ordered.q), fold(ordered.v)
        shared = replace(tensors, q=q, k=of_unit_length(q), v=v)
        out = unfold(attend_in_chunks(self.attention.score, shared, rounds, sets.total, dropout), heads)
        return out if layout.row_order is None else out.index_select(0, layout.ranks)

    def by_pairs(self, verb: Attends, tensors: Tensors, layout: Layout, key_layout: Layout) -> Float[Tensor, "t h e"]:
        """One call for each head, whose edges are the pairs (i, j in P_i)."""
        import torch

        from regard.attention.adapters.chunks import pairs_of
        from regard.sets import Layout

        ordered, sets = in_places(tensors, layout)
        buckets, parts = [self.hashes(ordered.q, sets, n) for n in range(self.rounds)], []
        for head in range(ordered.q.shape[1]):
            edges = pairs_of([self._chunks(sets, bucket[:, head]) for bucket in buckets])
            q, v = ordered.q[:, head, None], ordered.v[:, head, None]
            shared = replace(tensors, q=q, k=of_unit_length(q), v=v)
            parts.append(verb(replace(self.attention, pattern=Edges()), shared, Layout(sets.offsets, edges=edges)))
        out = torch.cat(parts, 1)
        return out if layout.row_order is None else out.index_select(0, layout.ranks)

    def hashes(self, q: Float[Tensor, "t h d"], layout: Layout, n: int) -> Int[Tensor, "t h"]:
        """The bucket of each vector in round n."""
        import torch

        numbers = self._numbers(layout)[:, None]
        most = int(numbers.max()) // 2 if len(numbers) else 0
        if not most:
            return torch.zeros_like(q[..., 0], dtype=torch.int64)
        x = q.detach().to(torch.promote_types(q.dtype, torch.float32))
        # So that few sizes of batches ask for rotations of their own; a column does not depend on their number.
        columns = 1 << (most - 1).bit_length()
        rotations = _rotations((self.seed, self.seed >> 32, n), *q.shape[1:], columns).to(x)[..., :most]
        lacking = torch.arange(most, device=q.device) >= numbers[..., None] // 2
        parts = []
        size = max(1, _ROTATED // (q.shape[1] * most))
        for some, lack in zip(x.split(size), lacking.split(size), strict=True):
            rotated = (some.transpose(0, 1) @ rotations).transpose(0, 1)
            column = rotated.abs().masked_fill(lack, -1).argmax(-1, keepdim=True)
            parts.append(torch.where(rotated.gather(-1, column) < 0, ~column, column).squeeze(-1))
        found = torch.cat(parts)
        # A vector that points away from a column is in the bucket of its opposite.
        return torch.where(found < 0, ~found + numbers // 2, found)

    def _numbers(self, layout: Layout) -> Int[Tensor, " t"]:
        """The number of buckets of each row's set."""
        import torch

        chunks = (layout.lengths + self.chunk - 1) // self.chunk
        number = (2 * chunks).masked_fill(chunks <= 1, 1)
        if self.buckets is not None:
            number = torch.full_like(chunks, self.buckets)
        return number[layout.set_of_row]

    def _chunks(self, layout: Layout, bucket: Int[Tensor, " t"]) -> Chunks:
        """The chunks of one round, from the bucket of each row."""
        from regard.attention.adapters.chunks import chunks_of

        # A chunk takes as much memory as it has room for; no set fills a larger one.
        chunk = min(self.chunk, max(layout.longest, 1))
        return chunks_of(layout, bucket, chunk, isinstance(self.attention.pattern, Causal))


@lru_cache(maxsize=64)
def _rotations(seed: tuple[int, ...], heads: int, d: int, columns: int) -> Tensor:
    """`[h, d, columns]` float64."""
    import torch

    head, row = (torch.arange(n).view(-1, *[1] * (2 - at)) for at, n in enumerate((heads, d)))
    return hashed_normal(*seed, head, row, torch.arange(columns))
