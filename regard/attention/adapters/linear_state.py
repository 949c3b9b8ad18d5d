"""The running state of linear attention: all that a causal set needs to remember of its vectors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from regard.attention.adapters.base import Attends
from regard.attention.dropout import Dropout
from regard.attention.problem import Tensors
from regard.attention.spec import feature_maps
from regard.attention.spec.attention import Attention
from regard.attention.spec.feature_maps import Elu, Features
from regard.attention.spec.patterns import Causal
from regard.attention.spec.scores import Kernel
from regard.attention.spec.text_form import names_of, read
from regard.errors import InputError
from regard.kernels import available
from regard.kernels.threads import share
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Bool, Float, Int

__all__ = ["LinearState"]

# How many vectors of a set have their pairs computed at once, and for how many sets.
_AT_ONCE, _SETS = 64, 64
# So many numbers of the sums go to a thread at once.
_PART = 1 << 16


@dataclass(frozen=True)
class LinearState:
    """The running state of causal linear attention (Katharopoulos et al. 2020, eq. 18 to 20).

        S_i = S_(i-1) + phi(k_i) v_i^T        z_i = z_(i-1) + phi(k_i)        out_i = phi(q_i) S_i / phi(q_i) z_i

    A step takes the same time and memory wherever in its set it is. A state never changes; each step gives a new one.

    Args:
        phi: the feature map of the score.
        sums: `[s, g, width of phi, e]`, S of each set and key head.
        totals: `[s, g, width of phi]`, z.

    >>> from regard.attention.spec.normalizers import Sum
    >>> state = LinearState.empty(Attention(Kernel(), Causal(), Sum()), sets=2, key_heads=1, d=4, e=4)
    >>> out, state = state.step(torch.zeros(2, 1, 4), torch.zeros(2, 1, 4), torch.ones(2, 1, 4))
    >>> out[:, 0, 0].tolist()
    [1.0, 1.0]
    """

    phi: Features
    sums: Float[Tensor, "s g features e"]
    totals: Float[Tensor, "s g features"]

    @classmethod
    def empty(
        cls,
        attention: Attention,
        sets: int,
        key_heads: int,
        d: int,
        e: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> LinearState:
        """The state of sets that have no vector yet; d and e are the widths of a head's keys and values.

        Raises:
            InputError: an attention that is not causal and linear.
        """
        score = attention.score
        if not isinstance(score, Kernel) or attention.patterns != (Causal(),):
            raise InputError(f"{attention!r} has no running state, expected score Kernel and pattern Causal()")
        exact = torch.promote_types(dtype, torch.float32)
        totals = torch.zeros(sets, key_heads, score.phi.width(d), dtype=exact, device=device)
        return cls(score.phi, totals.new_zeros(*totals.shape, e), totals)

    def after(self, k: Float[Tensor, "t g d"], v: Float[Tensor, "t g e"], layout: Layout) -> LinearState:
        """The state after more vectors of each set, as after one step for each of them.

        Args:
            k: `[t, g, d]` keys. v: `[t, g, e]` values. layout: whose rows they are.
        """
        states = []
        for sets in _bunches(layout):
            state = self.select(sets)
            for piece in _pieces(layout, sets):
                state = state._with(*piece.keys(self.phi, k, v))
            states.append(state)
        return self._joined(states)

    def attend(
        self, verb: Attends, tensors: Tensors, layout: Layout, dropout: Dropout | None = None
    ) -> tuple[Float[Tensor, "t h e"], LinearState]:
        """`[t, h, e]` for the next vectors of each set, and the state with them in it; see `State.attend`.

        Time and memory do not grow with the vectors from before, and memory not with the pairs of the new ones.

        Raises:
            InputError: dropout, for which each pair would need a weight.
        """
        if dropout is not None:
            raise InputError("a running state computes no weight of a pair, expected no dropout")
        if layout.sets != len(self.totals):
            raise InputError(f"there are {layout.sets} sets, expected the {len(self.totals)} that are remembered")
        if layout.longest == 1 and layout.total == layout.sets:
            return self.step(tensors.q, tensors.k, tensors.v)
        states, rows, parts = [], [], []
        for sets in _bunches(layout):
            state = self.select(sets)
            for piece in _pieces(layout, sets):
                keys, values = piece.keys(self.phi, tensors.k, tensors.v)
                out = state._outputs(piece.of(tensors.q, self.phi.of_queries), keys, values)
                rows.append(piece.rows[piece.real])
                parts.append(out[piece.real].to(tensors.q.dtype))
                state = state._with(keys, values)
            states.append(state)
        out = tensors.q.new_zeros(*tensors.q.shape[:2], tensors.v.shape[2])
        if parts:
            out = out.index_copy(0, torch.cat(rows), torch.cat(parts))
        return out, self._joined(states)

    def _with(self, keys: Tensor, values: Tensor) -> LinearState:
        """The state after a piece's features of keys `[s, n, g, features]` and values `[s, n, g, e]`."""
        return LinearState(
            self.phi, self.sums + keys.permute(0, 2, 3, 1) @ values.transpose(1, 2), self.totals + keys.sum(1)
        )

    def _outputs(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """`[s, n, h, e]` for a piece: what was summed before, and the pairs among its own vectors."""
        by_key_head = queries.transpose(1, 2).unflatten(1, (keys.shape[2], -1))
        pairs = (by_key_head @ keys.permute(0, 2, 3, 1).unsqueeze(2)).tril()
        total = by_key_head @ self.totals[:, :, None, :, None] + pairs.sum(-1, keepdim=True)
        # Scores that are all zero give zeros, as in `Sum`.
        out = by_key_head @ self.sums.unsqueeze(2) + pairs @ values.transpose(1, 2).unsqueeze(2)
        return (out / total.masked_fill(total == 0, torch.inf)).flatten(1, 2).transpose(1, 2)

    def _joined(self, states: list[LinearState]) -> LinearState:
        """The states of bunches of sets as one; this very one where there are none."""
        if len(states) < 2:
            return states[0] if states else self
        return LinearState(self.phi, torch.cat([x.sums for x in states]), torch.cat([x.totals for x in states]))

    def select(self, sets: Int[Tensor, " chosen"]) -> LinearState:
        """The state of these sets alone, in this order; see `State.select`."""
        return LinearState(self.phi, self.sums.index_select(0, sets), self.totals.index_select(0, sets))

    def step(
        self, q: Float[Tensor, "s h d"], k: Float[Tensor, "s g d"], v: Float[Tensor, "s g e"]
    ) -> tuple[Float[Tensor, "s h e"], LinearState]:
        """One more vector of every set: `[s, h, e]`, what it attends to, itself included, and the state with it.

        Args:
            q: `[s, h, d]` queries. k: `[s, g, d]` keys. v: `[s, g, e]` values.
        """
        compute = self._compiled if v.shape[2] >= 16 and _plain((self.sums, q, k, v)) else self._in_operators
        out, sums, totals = compute(q, k, v)
        return out if out.dtype == q.dtype else out.to(q.dtype), LinearState(self.phi, sums, totals)

    def _compiled(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What `_in_operators` computes, in one pass over the sums."""
        from regard.attention.adapters.kernels import Sizes, step

        elu = isinstance(self.phi, Elu)
        if not elu:
            q, k = self.phi.of_queries(q), self.phi.of_keys(k)
        s, g, m, e = self.sums.shape
        exact = self.sums.dtype
        given = [x if x.dtype == exact else x.to(exact) for x in (self.sums, self.totals, q, k, v)]
        made = torch.empty(s, q.shape[1], e, dtype=exact), torch.empty_like(given[0]), torch.empty_like(given[1])
        n = s * g
        step_by = max(1, _PART // (m * e))
        bounds = [0, n] if n <= step_by else [*range(0, n, step_by), n]
        arrays = [x.contiguous().view(-1).numpy() for x in (*made, *given)]
        share(step, bounds, Sizes(q.shape[1] // g, m, e, elu), *arrays)
        return made

    def _in_operators(self, q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs, S and z with one more vector of each set."""
        phi = self.phi.of_keys(k)
        sums = torch.addcmul(self.sums, phi.unsqueeze(-1), v.unsqueeze(-2).to(phi.dtype))
        totals = self.totals + phi
        of_query = self.phi.of_queries(q).unflatten(1, (k.shape[1], -1))
        total = of_query @ totals.unsqueeze(-1)
        # Scores that are all zero give zeros, as in `Sum`.
        out = (of_query @ sums) / total.masked_fill(total == 0, torch.inf)
        return out.flatten(1, 2), sums, totals


def _plain(tensors: Sequence[Tensor]) -> bool:
    """Whether a kernel can compute with the memory of these tensors, of which nothing else is asked than the numbers."""
    if torch.compiler.is_compiling() or not available():
        return False
    return all(type(x) is Tensor and x.is_cpu and not x.requires_grad and x.numel() for x in tensors)


class _Piece(NamedTuple):
    """The next few vectors of several sets: their rows `[s, n]`, and which of them are `real`; a set may have fewer, or none."""

    rows: Int[Tensor, "s n"]
    real: Bool[Tensor, "s n"]

    def of(self, x: Tensor, phi: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """`[s, n, ...]` of the rows of a tensor, or their features; zeros where there are none."""
        rows = x.index_select(0, self.rows.flatten()).unflatten(0, self.rows.shape)
        return (rows if phi is None else phi(rows)).masked_fill(~self.real[:, :, None, None], 0)

    def keys(self, phi: Features, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The features of its keys, and its values in their type."""
        keys = self.of(k, phi.of_keys)
        return keys, self.of(v).to(keys.dtype)


def _bunches(layout: Layout) -> Iterator[Tensor]:
    """The sets, a few at a time."""
    return iter(torch.arange(layout.sets, device=layout.device).split(_SETS))


def _pieces(layout: Layout, sets: Tensor) -> Iterator[_Piece]:
    """The vectors of some sets, a few of each at a time."""
    first, lengths = layout.offsets[sets], layout.lengths[sets]
    for begin in range(0, int(lengths.max()) if len(sets) else 0, _AT_ONCE):
        number = lengths - begin
        place = torch.arange(min(int(number.max()), _AT_ONCE), device=number.device)
        real = place < number[:, None]
        yield _Piece(((first + begin)[:, None] + place).where(real, 0), real)


def _parts(state: LinearState) -> tuple[list[Any], Features]:
    return [state.sums, state.totals], state.phi


pytree.register_pytree_node(
    LinearState,
    _parts,
    lambda parts, phi: LinearState(phi, *parts),
    serialized_type_name="regard.attention.adapters.remember.LinearState",
    to_dumpable_context=repr,
    from_dumpable_context=lambda text: read(text, names_of(feature_maps, Features)),
)
