"""The decoder of a Transformer, and the model that an encoder makes with it: whole sequences at once, or step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.layers.blocks import Stack
from regard.layers.checks import checked
from regard.layers.dropout import Dropout
from regard.layers.embed import Embed
from regard.layers.positions import Learned
from regard.layers.states import LayerState, Projected
from regard.models.model import Model
from regard.models.positions import ModelPositions
from regard.models.sequences import SequenceModel, check_ids
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Decoder", "DecoderStepper", "EncoderDecoderModel"]


@checked()
class Decoder(nn.Module):
    """stack(dropout(positions(x)), memory): blocks that look back, and attend to a memory, set b to set b.

    Args:
        positions: of the vectors of ids.
        stack: of blocks with cross-attention.
        dropout: on the vectors that enter the stack, while training.
    """

    def __init__(self, positions: ModelPositions, stack: Stack, dropout: float = 0.0) -> None:
        super().__init__()
        self.positions, self.dropout, self.stack = positions, Dropout(dropout), stack

    @property
    def longest(self) -> int | None:
        """How many vectors of a set it has places for; None for any number."""
        added = self.positions.added
        return added.extent[0] if isinstance(added, Learned) else None

    def forward(
        self,
        sets: VectorSets,
        memory: VectorSets | list[Projected],
        states: list[LayerState] | None = None,
    ) -> VectorSets:
        """The same sets; with states, the next vectors of sets that grow."""
        placed = self.positions(sets)
        dropped = placed.with_values(self.dropout(placed.values))
        hidden: VectorSets = self.stack(dropped, self.positions.per_block(placed), memory, states)
        return hidden


class EncoderDecoderModel(SequenceModel):
    """decoder(embed(ids before), encoder(inputs)), and scores by a matrix that may be the table of ids.

    Args:
        encoder: of the inputs. decoder: of the ids. targets: what was learned of these.
        embed: of ids; None where the encoder's is theirs too.
        tied: whether its table makes the scores.
    """

    def __init__(
        self, encoder: Model, decoder: Decoder, targets: Encoding, embed: Embed | None = None, tied: bool = True
    ) -> None:
        super().__init__(decoder.stack.width, targets)
        self.encoder, self.embed, self.decoder = encoder, embed, decoder
        self.scores = None if tied else nn.Linear(self.width, self.vocabulary, bias=False)

    @property
    def longest(self) -> int | None:  # type: ignore[override]
        return self.decoder.longest

    @property
    def _embed(self) -> Embed:
        found: Any = self.encoder.front.embed if self.embed is None else self.embed
        assert isinstance(found, Embed)
        return found

    @property
    def output(self) -> Float[Tensor, "vocabulary d"]:
        weight: Any = self._embed.tables[0].weight if self.scores is None else self.scores.weight
        assert isinstance(weight, Tensor)
        return weight

    def memory(self, batch: Batch) -> VectorSets:
        found: VectorSets = self.encoder(batch)
        return found

    def teacher_forced(self, memory: VectorSets, before: VectorSets) -> VectorSets:
        hidden: VectorSets = self.decoder(self._embed(before), memory)
        return hidden

    @torch.no_grad()
    def stepper(self, batch: Batch) -> DecoderStepper:
        return DecoderStepper(self, self.memory(batch))


class DecoderStepper:
    """Step by step, with the keys and values of what is written in states, and those of the memory projected once.

    Rows that were made of the same set attend to its keys together, so that a beam copies none of them.

    Args:
        model: not in training. memory: of the encoder, a set for each row.
    """

    def __init__(self, model: EncoderDecoderModel, memory: VectorSets) -> None:
        stack = model.decoder.stack
        self.model, self.vocabulary = model, model.vocabulary
        self._states = stack.new_states(len(memory))
        self._contexts = stack.projected(memory)
        self._set = torch.arange(len(memory), device=memory.device)
        """`[rows]` the set of the contexts that each row attends to."""
        blocks: Any = stack.blocks
        self._orderless = all(block.cross.orderless for block in blocks)

    def __len__(self) -> int:
        return len(self._set)

    @torch.no_grad()
    def next(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """The scores of the id after these, one for each row, which are then part of the rows."""
        check_ids(ids, len(self))
        sets = VectorSets(ids.to(self._set.device), self._states[0].following())
        hidden = self.model.decoder(self.model._embed(sets), self._contexts, self._states)
        return self.model.logits(hidden.values)

    @torch.no_grad()
    def select(self, rows: Int[Tensor, " chosen"]) -> None:
        """Keep these rows, in this order; one may come several times."""
        rows = rows.to(self._set.device)
        for state in self._states:
            state.select(rows)
        owner = self._set[rows]
        if not self._orderless or bool((owner.diff() < 0).any()):
            self._contexts = [context.select(owner) for context in self._contexts]
            self._set = torch.arange(len(owner), device=owner.device)
            return
        number = torch.bincount(owner, minlength=self._contexts[0].layout.sets)
        if 2 * int((number > 0).sum()) <= len(number):
            # Most sets are complete: their keys are in nobody's way any more.
            there = number.nonzero().flatten()
            self._contexts = [context.select(there) for context in self._contexts]
            owner = torch.searchsorted(there, owner)
            number = number[there]
        self._contexts = [context.grouped(number) for context in self._contexts]
        self._set = owner
