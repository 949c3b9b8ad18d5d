"""`SequenceModel`: models that read a set and write a sequence of ids, one after another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils import _pytree as pytree

from regard.data.batch import Batch
from regard.data.encoding import BEGIN, END, Encoding
from regard.errors import InputError
from regard.layers.embed import Embed
from regard.models.model import check_batch
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["SequenceModel", "DecoderOutput", "check_ids", "shifted", "written_ids"]


class DecoderOutput(VectorSets):
    """Hidden vectors at the places of targets, with the `memory` that they were told from.

    Args:
        hidden: these vectors. memory: of the encoder.
    """

    def __init__(self, hidden: VectorSets, memory: VectorSets) -> None:
        super().__init__(hidden.values, hidden.layout)
        self.memory = memory


pytree.register_pytree_node(
    DecoderOutput,
    lambda output: ([VectorSets(output.values, output.layout), output.memory], None),
    lambda fields, _: DecoderOutput(*fields),
    serialized_type_name="regard.DecoderOutput",
)


class SequenceModel(nn.Module, ABC):
    """An encoder, and a decoder that gives the scores of the next id from the memory of the encoder and the ids before.

    Args:
        width: of the hidden vectors, from which the scores of ids are made.
        targets: what was learned of the sets of ids to write.
        embed: of ids; None where `source_embed` is theirs too.
        tied: whether the table of ids makes the scores.
    """

    longest: int | None = None
    """How many ids it can write at most; None for any number."""

    def __init__(self, width: int, targets: Encoding, embed: Embed | None, tied: bool) -> None:
        super().__init__()
        self.width = width
        self.vocabulary = len(next(iter(targets.columns.values())))
        self.begin, self.end = targets.entry(BEGIN), targets.entry(END)
        # A shared table is registered once, with what reads.
        self.target_embed = embed
        self.scores = None if tied else nn.Linear(width, self.vocabulary, bias=False)

    @abstractmethod
    def source_embed(self) -> nn.Module:
        """What makes vectors of what the inputs hold, such as ids."""

    @property
    @abstractmethod
    def memory_width(self) -> int:
        """The width of the vectors of `memory`."""

    @property
    def embed(self) -> Embed:
        """From ids to write to vectors."""
        found = self.source_embed() if self.target_embed is None else self.target_embed
        assert isinstance(found, Embed)
        return found

    @property
    def output(self) -> Float[Tensor, "vocabulary d"]:
        """The matrix that makes scores of hidden vectors."""
        weight: Any = self.embed.tables[0].weight if self.scores is None else self.scores.weight
        assert isinstance(weight, Tensor)
        return weight

    @abstractmethod
    def cross_attentions(self) -> list[nn.Module]:
        """What attends from the ids that are written to the memory, layer by layer."""

    @abstractmethod
    def memory(self, batch: Batch) -> VectorSets:
        """The encoder's vectors of `batch.inputs`."""

    @abstractmethod
    def teacher_forced(self, memory: VectorSets, before: VectorSets) -> VectorSets:
        """The hidden vectors from which each target is told, for sets of the ids before each target."""

    @abstractmethod
    def stepper(self, batch: Batch) -> Any:
        """The scores of ids step by step, from the first on: a `Stepper` of `regard.decoding` with one row for each set."""

    def logits(self, hidden: Float[Tensor, "t d"]) -> Float[Tensor, "t vocabulary"]:
        """The scores of all ids."""
        return linear(hidden, self.output)

    def forward(self, batch: Batch) -> VectorSets:
        """A `DecoderOutput`: hidden vectors at the places of the targets, each told those before it; without targets, the memory.

        Raises:
            InputError: what is no batch, or targets that are no sets of ids.
        """
        check_batch(batch)
        memory = self.memory(batch)
        if batch.targets is None:
            return memory
        targets = batch.target_sets
        if targets.values.is_floating_point() or targets.values.dim() != 1:
            described = f"{list(targets.values.shape)} {targets.values.dtype}"
            raise InputError(f"the targets are of shape and type {described}, expected one id for each vector")
        return DecoderOutput(self.teacher_forced(memory, shifted(targets, self.begin)), memory)


def shifted(targets: VectorSets, begin: int) -> VectorSets:
    """For each target the id before it: `begin` at the first place of each set.

    >>> shifted(VectorSets.pack([torch.tensor([5, 6, 2]), torch.tensor([7, 2])]), begin=1).values.tolist()
    [1, 5, 6, 1, 7]
    """
    layout = targets.layout
    before = targets.values.roll(1)
    before[layout.offsets[:-1][layout.lengths > 0]] = begin
    # A gap is nothing that could have been read.
    return targets.with_values(before.clamp(min=0))


def written_ids(encoding: Encoding) -> Encoding:
    """What was learned of the targets of data whose targets are sets of ids.

    Raises:
        InputError: targets of another kind.
    """
    targets, described = encoding.targets, encoding.described_targets
    if not isinstance(targets, Encoding):
        raise InputError(
            f"the model writes sequences, and the targets of the data are {described}, expected sets of ids"
        )
    if len(targets.columns) != 1:
        raise InputError(f"the targets of the data have {len(targets.columns)} columns of ids, expected one")
    return targets


def check_ids(ids: Int[Tensor, " rows"], rows: int) -> None:
    """Refuse ids that are not one for each row.

    Raises:
        InputError: another number of them.
    """
    if ids.shape != (rows,) or ids.dtype != torch.int64:
        raise InputError(
            f"ids have shape {list(ids.shape)} and type {ids.dtype}, expected [{rows}] of int64: one per row"
        )
