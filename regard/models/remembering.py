"""`memory_of`: what a model of `Segments` or `Compressive` remembers from one segment of a long text to the next."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from regard.attention.adapters.compressive import Compressive
from regard.attention.adapters.segments import Segments
from regard.errors import InputError
from regard.layers.attention import Attend, SelfAttention
from regard.layers.blocks import Block, Stack
from regard.layers.compression import CompressedMemory
from regard.layers.memory import Memory
from regard.models.model import Model

__all__ = ["memory_of"]


def memory_of(model: nn.Module, length: int | None = None) -> Memory | None:
    """An empty memory for a model, which its forward pass goes on from; None where the model remembers nothing.

    Args:
        length: how many vectors each block is to remember as they are; as many as the model's attention says if None.

    Raises:
        InputError: a length for a model without `Segments`, or one whose blocks are not all attention that looks back.
    """
    found = {each.attention for each in model.modules() if isinstance(each, Attend)}
    memories = [each for each in found if isinstance(each, Segments)]
    if not memories:
        if length is not None:
            raise InputError(
                f"a memory of {length} was asked for and the model's attention remembers no segments, expected one of "
                "Segments, such as --model.attention 'Segments(memory=128)'"
            )
        return None
    adapter = memories[0]
    number = adapter.memory if length is None else length
    compresses = isinstance(adapter, Compressive) and adapter.compressed > 0
    if not number and not compresses:
        return None
    if not _goes_on(model):
        raise InputError(
            f"the model has {adapter.text}, and joins ids, or has other mixers than attention or the positions floater, "
            "expected one that goes on id by id: step 1, no n-grams, no class vector, the mixer attention, other positions"
        )
    blocks: Any = model.stack.blocks  # type: ignore[union-attr]
    return CompressedMemory(number, list(blocks)) if compresses else Memory(number)


def _goes_on(model: nn.Module) -> bool:
    """Whether each of its blocks can attend to what entered it before, and reads nothing else of it."""
    if not isinstance(model, Model) or not model.grows or model.positions.floater is not None:
        return False
    blocks: Iterable[Any] = model.stack.blocks if isinstance(model.stack, Stack) else ()
    return all(isinstance(block, Block) and isinstance(block.mixer, SelfAttention) for block in blocks)
