"""The gated unit of the first translations with attention, step by step and along sets in both directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.layers.recurrent import along
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["BothWays", "GatedUnit"]


@checked()
class GatedUnit(nn.Module):
    """A state that is carried on or made anew (Cho et al. 2014; Bahdanau et al. 2015, A.1.1):

        z = sigmoid(W_z x + U_z s + b_z)      r = sigmoid(W_r x + U_r s + b_r)
        s~ = tanh(W x + U (r * s) + b)        s' = (1 - z) * s + z * s~

    Unlike torch's GRU, it multiplies with r before U.

    Args:
        width_in: of x. hidden: of s.
    """

    def __init__(self, width_in: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.into = Linear(width_in, 3 * hidden)
        self.gates = Linear(hidden, 2 * hidden, bias=False)
        self.candidate = Linear(hidden, hidden, bias=False)
        for matrix in self.into.weight.split(hidden):
            nn.init.xavier_uniform_(matrix)
        nn.init.zeros_(self.into.bias)
        for matrix in (*self.gates.weight.split(hidden), self.candidate.weight):
            nn.init.orthogonal_(matrix)

    def step(
        self, x: Float[Tensor, "n 3*{self.hidden}"], state: Float[Tensor, "n {self.hidden}"]
    ) -> Float[Tensor, "n {self.hidden}"]:
        """The next states, for x that have gone through `into`."""
        of_gates, of_candidate = x.split([2 * self.hidden, self.hidden], dim=1)
        z, r = (of_gates + self.gates(state)).sigmoid().chunk(2, dim=1)
        made = (of_candidate + self.candidate(r * state)).tanh()
        return state + z * (made - state)

    def forward(self, values: Float[Tensor, "steps sets d"]) -> tuple[Float[Tensor, "steps sets {self.hidden}"]]:
        """The state at each step, from zeros on, in a tuple as torch's networks give it."""
        state = values.new_zeros(values.shape[1], self.hidden)
        states = []
        for x in self.into(values):
            state = self.step(x, state)
            states.append(state)
        return (torch.stack(states),)


@checked()
class BothWays(nn.Module):
    """h_j = [forward_j; backward_j]: the states of a gated unit along each set, and of another from its end on.

    Args:
        width_in: of the vectors. hidden: of each unit's states.
    """

    def __init__(self, width_in: int, hidden: int) -> None:
        super().__init__()
        self.width, self.hidden = 2 * hidden, hidden
        self.networks = nn.ModuleList(GatedUnit(width_in, hidden) for _ in range(2))

    def forward(self, sets: VectorSets) -> VectorSets:
        if not sets.values.shape[0]:
            return sets.with_values(sets.values.new_zeros(0, self.width))
        return sets.with_values(along(self.networks, sets).flatten(1))

    def first_of_backward(self, states: VectorSets) -> Float[Tensor, "s {self.hidden}"]:
        """backward_1 of each set, which has read all of it; zeros where a set is empty."""
        layout = states.layout
        there = layout.lengths > 0
        first = states.values.new_zeros(layout.sets, self.hidden)
        rows = states.values[:, self.hidden :].index_select(0, layout.offsets[:-1][there])
        return first.index_copy(0, there.nonzero()[:, 0], rows)
