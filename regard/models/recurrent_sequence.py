"""The modules of a recurrent encoder and decoder: whole sequences, step after step for all sets at once, or one id at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from regard.attention.adapters.base import Adapter
from regard.attention.spec.attention import Attention
from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.layers.attention import Attend
from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.layers.embed import Embed
from regard.layers.gated import BothWays, GatedUnit
from regard.layers.states import Contexts, Projected
from regard.models.front import ModelFront
from regard.models.sequences import SequenceModel, check_ids
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["RecurrentDecoder", "RecurrentModel", "RecurrentSizes", "RecurrentStepper"]


class RecurrentSizes(NamedTuple):
    """How wide each part is; the names are those of `RecurrentEncoderDecoder`.

    Args:
        width, hidden, aligned, maxout: of ids, states, what is compared, and what tells the next id.
        after: whether it is told from the state after the last id. dropout: on what tells it.
    """

    width: int
    hidden: int
    aligned: int
    maxout: int
    after: bool = False
    dropout: float = 0.0


class RecurrentDecoder(nn.Module):
    """The unit that writes, its attention and its readout; see `RecurrentEncoderDecoder` for the formulas.

    Args:
        sizes: of its parts. attention: from states to what was read.
    """

    def __init__(self, sizes: RecurrentSizes, attention: Attention | Adapter) -> None:
        super().__init__()
        n, both, width = sizes.hidden, 2 * sizes.hidden, sizes.width
        self.after, self.width, self.dropout = sizes.after, sizes.maxout, Dropout(sizes.dropout)
        self.start = nn.Linear(n, n)
        self.query = nn.Linear(n, sizes.aligned, bias=False)
        self.key = nn.Linear(both, sizes.aligned, bias=False)
        self.attend = Attend(attention, 1, sizes.aligned, both)
        self.unit = GatedUnit(width, n)
        self.of_context = nn.Linear(both, 3 * n, bias=False)
        self.readout = nn.Linear(n + width + both, 2 * sizes.maxout)

    def projected(self, memory: VectorSets) -> Projected:
        """The keys U_a h_j, computed once, and the values h_j."""
        return Projected(self.key(memory.values)[:, None], memory.values[:, None], memory.layout)

    def step(
        self, x: Float[Tensor, "n d"], state: Float[Tensor, "n m"], layout: Layout, known: Projected
    ) -> tuple[Float[Tensor, "n m"], Float[Tensor, "n e"]]:
        """s_i and c_i.

        Args:
            x: W E y_{i-1}, as the unit's `into` gives it. state: s_{i-1}. layout: whose rows these are, among the sets of `known`.
        """
        context = self.attend(self.query(state)[:, None], known.k, known.v, layout, known.layout)[:, 0]
        return self.unit.step(x + self.of_context(context), state), context

    def told(
        self,
        before: Float[Tensor, "n m"],
        after: Float[Tensor, "n m"],
        y: Float[Tensor, "n d"],
        c: Float[Tensor, "n e"],
    ) -> Float[Tensor, "n maxout"]:
        """t_i, for s_{i-1}, s_i, E y_{i-1} and c_i."""
        pairs = self.readout(torch.cat([after if self.after else before, y, c], dim=1))
        hidden: Tensor = self.dropout(pairs.unflatten(1, (-1, 2)).amax(2))
        return hidden


@checked()
class RecurrentModel(SequenceModel):
    """`RecurrentEncoderDecoder` for some data.

    Args:
        front: of the inputs, and `dropout` on its vectors and on those of ids. encoder, decoder: the units.
        targets: what was learned of ids.
        embed: of ids; None where the front's is theirs too.
        tied: whether its table makes the scores.
    """

    def __init__(
        self,
        front: ModelFront,
        encoder: BothWays,
        decoder: RecurrentDecoder,
        targets: Encoding,
        embed: Embed | None = None,
        tied: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(decoder.width, targets, embed, tied)
        self.front, self.encoder, self.decoder = front, encoder, decoder
        self.dropout = Dropout(dropout)

    def source_embed(self) -> nn.Module:
        return self.front.embed

    @property
    def memory_width(self) -> int:
        return self.encoder.width

    def cross_attentions(self) -> list[nn.Module]:
        return [self.decoder.attend]

    def memory(self, batch: Batch) -> VectorSets:
        """h_j of every vector."""
        vectors = self.front(batch)
        found: VectorSets = self.encoder(vectors.with_values(self.dropout(vectors.values)))
        return found

    def started(self, memory: VectorSets) -> Float[Tensor, "s n"]:
        """s_0 of every set."""
        state: Tensor = self.decoder.start(self.encoder.first_of_backward(memory)).tanh()
        return state

    def teacher_forced(self, memory: VectorSets, before: VectorSets) -> VectorSets:
        y = self.dropout(self.embed(before).values)
        if not len(y):
            return before.with_values(y.new_zeros(0, self.width))
        steps = before.layout.kept("steps", lambda: _Steps(before.layout))
        memory = memory.select(steps.sets)
        known, state = self.decoder.projected(memory), self.started(memory)
        x = self.decoder.unit.into(y.index_select(0, steps.rows)).split(steps.counts)
        befores, afters, contexts, layout = [], [], [], None
        for of_step, number in zip(x, steps.counts, strict=True):
            if layout is None or number < len(state):
                # Sets that are complete stand last, and are left out.
                state, known = state[:number], _first(known, number)
                layout = Layout.of_lengths([1] * number).to(y.device)
            befores.append(state)
            state, context = self.decoder.step(of_step, state, layout, known)
            afters.append(state)
            contexts.append(context)
        parts = (torch.cat(part).index_select(0, steps.back) for part in (befores, afters, contexts))
        s, next_s, c = parts
        return before.with_values(self.decoder.told(s, next_s, y, c))

    @torch.no_grad()
    def stepper(self, batch: Batch) -> RecurrentStepper:
        return RecurrentStepper(self, self.memory(batch))


class _Steps:
    """The rows of sets step after step, of the longest set first."""

    def __init__(self, layout: Layout) -> None:
        lengths, self.sets = layout.lengths.sort(descending=True, stable=True)
        self.counts = [int((lengths > step).sum()) for step in range(layout.longest)]
        first = layout.offsets[self.sets]
        self.rows = torch.cat([first[:number] + step for step, number in enumerate(self.counts)])
        self.back = torch.empty_like(self.rows)
        self.back[self.rows] = torch.arange(len(self.rows), device=self.rows.device)


def _first(known: Projected, number: int) -> Projected:
    """The keys and values of the first sets."""
    offsets = known.layout.offsets[: number + 1]
    rows = int(offsets[-1])
    return Projected(known.k[:rows], known.v[:rows], Layout._trusted([offsets]))


class RecurrentStepper:
    """One id at a time: the state of each row, and the keys of its set, computed once.

    Args:
        model: not in training. memory: of the encoder, a set for each row.
    """

    def __init__(self, model: RecurrentModel, memory: VectorSets) -> None:
        self.model, self.vocabulary = model, model.vocabulary
        self._state = model.started(memory)
        self._contexts = Contexts([model.decoder.projected(memory)], orderless=True)

    def __len__(self) -> int:
        return len(self._state)

    @torch.no_grad()
    def next(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """The scores of the id after these, one for each row, which are then part of the rows."""
        check_ids(ids, len(self))
        model, (known,) = self.model, self._contexts.blocks
        layout = known.queries or Layout.of_lengths([1] * len(self)).to(ids.device)
        y = model.embed(VectorSets(ids, layout)).values
        before = self._state
        self._state, context = model.decoder.step(model.decoder.unit.into(y), before, layout, known)
        return model.logits(model.decoder.told(before, self._state, y, context))

    @torch.no_grad()
    def select(self, rows: Int[Tensor, " chosen"]) -> None:
        """Keep these rows, in this order; one may come several times."""
        self._state = self._state[rows]
        self._contexts.select(rows)
