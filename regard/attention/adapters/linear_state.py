"""The running state of linear attention: all that a causal set needs to remember of its vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from regard.attention.adapters.base import Attends
from regard.attention.dropout import Dropout
from regard.attention.problem import Tensors
from regard.attention.spec import feature_maps
from regard.attention.spec.attention import Attention
from regard.attention.spec.feature_maps import Features
from regard.attention.spec.patterns import Causal
from regard.attention.spec.scores import Kernel
from regard.attention.spec.text_form import names_of, read
from regard.errors import InputError
from regard.sets import Layout
from regard.sets.layout import offsets_of
from regard.sets.whole import repeated

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["LinearState"]

# How many vectors of a set have their pairs computed at once.
_AT_ONCE = 64


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
        sums, totals = self.sums.clone(), self.totals.clone()
        for b, (begin, end) in enumerate(layout.offsets.unfold(0, 2, 1).tolist()):
            phi = self.phi.of_keys(k[begin:end])
            sums[b] += phi.permute(1, 2, 0) @ v[begin:end].to(phi.dtype).transpose(0, 1)
            totals[b] += phi.sum(0)
        return LinearState(self.phi, sums, totals)

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
        state, parts = self, []
        for begin in range(0, layout.longest, _AT_ONCE):
            number = (layout.lengths - begin).clamp(0, _AT_ONCE)
            rows = torch.arange(int(number.sum()), device=number.device)
            rows += repeated(layout.offsets[:-1] + begin - offsets_of(number)[:-1], number)
            some = Layout.of_lengths(number)
            q, k, v = (x.index_select(0, rows) for x in (tensors.q, tensors.k, tensors.v))
            parts.append((rows, state._outputs(q, k, v, some)))
            state = state.after(k, v, some)
        out = tensors.q.new_zeros(*tensors.q.shape[:2], tensors.v.shape[2])
        for rows, part in parts:
            out = out.index_copy(0, rows, part)
        return out, state

    def _outputs(self, q: Tensor, k: Tensor, v: Tensor, layout: Layout) -> Tensor:
        """`[t, h, e]` for a few vectors of each set: what was summed before, and the pairs among them."""
        parts = []
        for b, (begin, end) in enumerate(layout.offsets.unfold(0, 2, 1).tolist()):
            keys = self.phi.of_keys(k[begin:end]).transpose(0, 1)[:, None]
            queries = self.phi.of_queries(q[begin:end]).transpose(0, 1).unflatten(0, (k.shape[1], -1))
            pairs = (queries @ keys.mT).tril()
            values = v[begin:end].transpose(0, 1)[:, None].to(pairs.dtype)
            total = queries @ self.totals[b][:, None, :, None] + pairs.sum(-1, keepdim=True)
            # Scores that are all zero give zeros, as in `Sum`.
            out = (queries @ self.sums[b][:, None] + pairs @ values) / total.masked_fill(total == 0, torch.inf)
            parts.append(out.flatten(0, 1).transpose(0, 1).to(q.dtype))
        return torch.cat(parts) if parts else q.new_zeros(0, q.shape[1], v.shape[2])

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
        phi = self.phi.of_keys(k)
        state = LinearState(
            self.phi, torch.addcmul(self.sums, phi.unsqueeze(-1), v.unsqueeze(-2).to(phi.dtype)), self.totals + phi
        )
        of_query = self.phi.of_queries(q).unflatten(1, (k.shape[1], -1))
        total = of_query @ state.totals.unsqueeze(-1)
        # Scores that are all zero give zeros, as in `Sum`.
        out = (of_query @ state.sums) / total.masked_fill(total == 0, torch.inf)
        return out.flatten(1, 2).to(q.dtype), state


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
