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
from regard.layers.states import Contexts, LayerState, Projected
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
        super().__init__(decoder.stack.width, targets, embed, tied)
        self.encoder, self.decoder = encoder, decoder

    def source_embed(self) -> nn.Module:
        return self.encoder.front.embed

    def cross_attentions(self) -> list[nn.Module]:
        blocks: Any = self.decoder.stack.blocks
        return [block.cross.attend for block in blocks]

    @property
    def memory_width(self) -> int:
        return self.encoder.width

    @property
    def longest(self) -> int | None:  # type: ignore[override]
        return self.decoder.longest

    def memory(self, batch: Batch) -> VectorSets:
        found: VectorSets = self.encoder(batch)
        return found

    def teacher_forced(self, memory: VectorSets, before: VectorSets) -> VectorSets:
        hidden: VectorSets = self.decoder(self.embed(before), memory)
        return hidden

    @torch.no_grad()
    def stepper(self, batch: Batch) -> DecoderStepper:
        return DecoderStepper(self, self.memory(batch))


class DecoderStepper:
    """Step by step, with the keys and values of what is written in states, and those of the memory projected once.

    Args:
        model: not in training. memory: of the encoder, a set for each row.
    """

    def __init__(self, model: EncoderDecoderModel, memory: VectorSets) -> None:
        stack = model.decoder.stack
        self.model, self.vocabulary = model, model.vocabulary
        self._states = stack.new_states(len(memory))
        blocks: Any = stack.blocks
        self._contexts = Contexts(stack.projected(memory), all(block.cross.orderless for block in blocks))

    def __len__(self) -> int:
        return len(self._contexts)

    @torch.no_grad()
    def next(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """The scores of the id after these, one for each row, which are then part of the rows."""
        check_ids(ids, len(self))
        sets = VectorSets(ids, self._states[0].following())
        hidden = self.model.decoder(self.model.embed(sets), self._contexts.blocks, self._states)
        return self.model.logits(hidden.values)

    @torch.no_grad()
    def select(self, rows: Int[Tensor, " chosen"]) -> None:
        """Keep these rows, in this order; one may come several times."""
        for state in self._states:
            state.select(rows)
        self._contexts.select(rows)
