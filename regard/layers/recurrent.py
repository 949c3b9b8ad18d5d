"""Layers that read a set vector by vector and remember: the networks of Elman and Jordan, and the LSTM.

torch's kernels for rectangles train faster than those for sets of any lengths (`PackedSequence`), so sets of like length are
computed as one rectangle, each with others that are less than four times as long; batches of training hold sets of about one
length. Places behind the end of a set repeat its last vector, and nothing reads what comes out of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from regard.errors import InputError
from regard.layers.checks import checked
from regard.layers.linear import Linear
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["LSTM", "Recurrent", "along"]


# Sets lie in one rectangle with others that are less than so many times as long.
_ALIKE = 4


@checked()
class Recurrent(nn.Module):
    """A recurrent network, whose memory is its last state (Elman) or its last output (Jordan).

        Elman:   h_i = tanh(W x_i + U h_{i-1} + b)      y_i = V h_i + c
        Jordan:  h_i = tanh(W x_i + U y_{i-1} + b)      y_i = tanh(V h_i + c)

    with zeros before the first vector. Bidirectional, a second network reads each set from its end, and y_i = V [h_i; h'_i] + c,
    or for Jordan the sum of both outputs. Jordan's outputs are bounded: with y_i = V h_i + c it would be Elman's network with the
    matrix UV.

    Sources: Elman 1990, Jordan 1986; Schuster and Paliwal 1997 for both directions.

    Args:
        width_in: of the vectors.
        width: of the result; None means that of the vectors.
        hidden: numbers of h in each direction; None means the width of the result, shared between the directions.
        kind: "elman" or "jordan".
        bidirectional: whether a vector knows what comes behind it.

    Raises:
        InputError: sizes below 1, another kind; (when called) a set that does not begin at its first vector.

    >>> layer = Recurrent(8, width=4, bidirectional=True)
    >>> layer(VectorSets.pack([torch.ones(3, 8), torch.ones(1, 8)]))
    VectorSets(values [4, 4] float32, 2 sets)
    """

    def __init__(
        self,
        width_in: int,
        width: int | None = None,
        hidden: int | None = None,
        kind: Literal["elman", "jordan"] = "elman",
        bidirectional: bool = False,
    ) -> None:
        super().__init__()
        self.width, self.hidden, self.context = _sizes(width_in, width, hidden, bidirectional)
        self.bidirectional = bidirectional
        if kind not in ("elman", "jordan"):
            raise InputError(f"a recurrent layer is of kind {kind!r}, expected 'elman' or 'jordan'")
        directions = range(1 + bidirectional)
        if kind == "elman":
            self.networks = nn.ModuleList(_started(nn.RNN(width_in, self.hidden)) for _ in directions)
            self.out: nn.Module | None = Linear(self.hidden * len(directions), self.width)
        else:
            self.networks = nn.ModuleList(_Jordan(width_in, self.hidden, self.width) for _ in directions)
            self.out = None

    def forward(self, sets: VectorSets) -> VectorSets:
        if not sets.values.shape[0]:
            return sets.with_values(sets.values.new_zeros(0, self.width))
        found = along(self.networks, sets)
        return sets.with_values(found.sum(1) if self.out is None else self.out(found.flatten(1)))


@checked()
class LSTM(nn.Module):
    """Long short-term memory: gates decide what a cell c takes in, forgets and shows.

        i = sigmoid(W_i x_n + U_i h_{n-1} + b_i)      f = sigmoid(W_f x_n + U_f h_{n-1} + b_f)
        o = sigmoid(W_o x_n + U_o h_{n-1} + b_o)      g = tanh(W_g x_n + U_g h_{n-1} + b_g)
        c_n = f * c_{n-1} + i * g                     h_n = o * tanh(c_n)                     y_n = V h_n + c

    with zeros before the first vector. Bidirectional, a second network reads each set from its end, and y_n = V [h_n; h'_n] + c.
    Each b is the sum of two, as torch has it; that of the forget gate starts at 1, so that at first the cell keeps what it holds.

    Sources: Hochreiter and Schmidhuber 1997 (input and output gate), Gers et al. 2000 (forget gate); no peepholes. Jozefowicz et
    al. 2015 for the start of the forget gate, Graves and Schmidhuber 2005 for both directions.

    Args:
        width_in: of the vectors.
        width: of the result; None means that of the vectors.
        hidden: numbers of c and h in each direction; None means the width of the result, shared between the directions.
        bidirectional: whether a vector knows what comes behind it.

    Raises:
        InputError: sizes below 1; (when called) a set that does not begin at its first vector.

    >>> layer = LSTM(8, width=4, hidden=16)
    >>> layer.context
    (inf, 0.0)
    """

    def __init__(
        self, width_in: int, width: int | None = None, hidden: int | None = None, bidirectional: bool = False
    ) -> None:
        super().__init__()
        self.width, self.hidden, self.context = _sizes(width_in, width, hidden, bidirectional)
        self.bidirectional = bidirectional
        directions = range(1 + bidirectional)
        self.networks = nn.ModuleList(_started(nn.LSTM(width_in, self.hidden)) for _ in directions)
        self.out = Linear(self.hidden * len(directions), self.width)

    def forward(self, sets: VectorSets) -> VectorSets:
        if not sets.values.shape[0]:
            return sets.with_values(sets.values.new_zeros(0, self.width))
        return sets.with_values(self.out(along(self.networks, sets).flatten(1)))


class _Jordan(nn.Module):
    """One direction of a Jordan network, step by step."""

    def __init__(self, width_in: int, hidden: int, width: int) -> None:
        super().__init__()
        self.into = Linear(width_in, hidden)
        self.back = Linear(width, hidden, bias=False)
        self.out = Linear(hidden, width)

    def forward(self, values: Tensor) -> tuple[Tensor]:
        """`[steps, sets, width]` for values `[steps, sets, width_in]`, in a tuple as torch's networks give it."""
        found: list[Tensor] = []
        for x in self.into(values):
            h = (x + self.back(found[-1]) if found else x).tanh()
            found.append(self.out(h).tanh())
        return (torch.stack(found),)


def _sizes(
    width_in: int, width: int | None, hidden: int | None, bidirectional: bool
) -> tuple[int, int, tuple[float, float]]:
    """The width, the size of the state, and how far it looks: what came before reaches on without an end."""
    width = width_in if width is None else width
    hidden = -(-width // (1 + bidirectional)) if hidden is None else hidden
    if min(width_in, width, hidden) < 1:
        found = f"{width_in} numbers in, {width} out and {hidden} in its state"
        raise InputError(f"a recurrent layer has {found}, expected at least 1 of each")
    return width, hidden, (math.inf, math.inf if bidirectional else 0.0)


def _started(network: nn.RNNBase) -> nn.RNNBase:
    """With orthogonal matrices from state to state, which neither shrink nor blow up what is remembered, and open forget gates."""
    hidden = network.hidden_size
    for name, tensor in network.named_parameters():
        if name.startswith("weight_hh"):
            for gate in tensor.split(hidden):
                nn.init.orthogonal_(gate)
        elif name.startswith("bias"):
            nn.init.zeros_(tensor)
        else:
            for gate in tensor.split(hidden):
                nn.init.xavier_uniform_(gate)
    if isinstance(network, nn.LSTM):
        nn.init.ones_(network.get_parameter("bias_ih_l0")[hidden : 2 * hidden])
    return network


def along(networks: nn.ModuleList, sets: VectorSets) -> Float[Tensor, "t directions n"]:
    """`[t, directions, n]` what each direction's network gives for each vector on its way; there is at least one vector."""
    if torch.compiler.is_compiling():
        # What torch traces breaks here: how many steps there are is not known before there is a batch.
        from regard.layers.untraced import untraced

        return untraced(_by_rectangles, networks, sets)
    return _by_rectangles(networks, sets)


def _by_rectangles(networks: nn.ModuleList, sets: VectorSets) -> Tensor:
    layout, both = sets.layout, len(networks) == 2
    layout.check_rows_in_order("a recurrent layer")
    order = layout.kept(("recurrent order", both), lambda: _new_order(layout, both))
    with torch.autocast(sets.device.type, enabled=False):
        # The gradient of an embedding is summed in one fixed order, as that of an index is, and faster.
        rows = embedding(order.rows, sets.values.to(next(networks.parameters()).dtype))
        parts = rows.split([steps * number for steps, number in order.shapes] * len(networks))
        found = []
        for n, part in enumerate(parts):
            direction, rectangle = divmod(n, len(order.shapes))
            states = networks[direction](part.unflatten(0, order.shapes[rectangle]))[0]
            found.append(states.flatten(0, 1))
        return embedding(order.back, torch.cat(found))


@dataclass(frozen=True)
class _Order:
    """Sets by their length, the longest first, in rectangles of steps and sets: all of one direction, then all of the other."""

    shapes: list[tuple[int, int]]
    """The steps and the sets of each rectangle."""
    rows: Tensor
    """`[n]` the row at each place of all rectangles."""
    back: Tensor
    """`[t, directions]` the places of each row."""


def _new_order(layout: Layout, both: bool) -> _Order:
    """By NumPy, as it is for the CPU to say how many steps there are."""
    if layout.starts is not None and bool((layout.starts != 0).any()):
        b = int((layout.starts != 0).nonzero()[0])
        found = f"set {b} begins at index {int(layout.starts[b])}"
        raise InputError(f"{found}, expected sets from their beginning on: recurrent layers need what came before")
    offsets = layout.offsets.cpu().numpy()
    lengths = np.diff(offsets)
    every = np.argsort(-lengths, kind="stable")[: np.count_nonzero(lengths)]
    back = np.empty((layout.total, 1 + both), np.int64)
    shapes, rows, begun = [], [], 0
    while len(every):
        longest = int(lengths[every[0]])
        # Lengths decrease, so that those of more than this part of the longest lie at the beginning.
        sets, every = np.split(every, [np.count_nonzero(_ALIKE * lengths[every] > longest)])
        steps, last = np.arange(longest)[:, None], lengths[sets] - 1
        each = offsets[sets] + np.minimum(steps, last)
        there = steps <= last
        back[each[there], 0] = begun + np.flatnonzero(there)
        begun += each.size
        shapes.append((longest, len(sets)))
        rows.append(each.ravel())
    forth = np.concatenate(rows)
    if both:
        # Read from the end, each row takes the place of the one as far from the beginning.
        owner = np.repeat(np.arange(len(lengths)), lengths)
        mirror = offsets[owner] + offsets[owner + 1] - 1 - np.arange(layout.total)
        back[:, 1] = begun + back[mirror, 0]
        forth = np.concatenate([forth, mirror[forth]])
    return _Order(shapes, *(torch.from_numpy(each).to(layout.device) for each in (forth, back)))
