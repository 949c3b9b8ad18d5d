"""What surrounds each attention of a model while it computes: what it reads and gives, and the stream that this is added to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from regard.layers.attention import Attend, CrossAttention, SelfAttention
from regard.layers.blocks import Block
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["Around", "watched"]


@dataclass
class Around:
    """The vectors around one attention, those of all heads together.

    Attributes:
        projected: W^O and what is added to it: `out = W^O [head_1; ...; head_h] + b`.
        reads: the vectors a^i that queries are made of. gives: `out`.
        before, after: the vectors of the stream, and the same with `gives` added, as the model computed it; None outside of a
            `Block`.
        norm: whether a layer norm follows the sum (post-norm) rather than precedes the attention.
    """

    projected: nn.Linear
    reads: Float[Tensor, "t d"] | None = None
    gives: Float[Tensor, "t d"] | None = None
    before: Float[Tensor, "t d"] | None = None
    after: Float[Tensor, "t d"] | None = None
    norm: bool = False


@contextmanager
def watched(model: nn.Module) -> Iterator[dict[Attend, Around]]:
    """What surrounds each attention of the layers in a model, filled in while the model computes."""
    found: dict[Attend, Around] = {}
    hooks = []
    for module in model.modules():
        if isinstance(module, SelfAttention | CrossAttention) and isinstance(module.attend, Attend):
            around = found.setdefault(module.attend, Around(module.out))
            hooks.append(module.register_forward_hook(_of_layer(around)))
    for module in model.modules():
        if isinstance(module, Block):
            for layer, before, after in _stream(module):
                attend = getattr(layer, "attend", None)
                if isinstance(attend, Attend) and attend in found:
                    found[attend].norm = not module.pre
                    hooks += [before(found[attend]), after(found[attend])]
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()


def _of_layer(around: Around) -> Any:
    def keep(module: nn.Module, given: tuple[Any, ...], out: VectorSets) -> None:
        around.reads, around.gives = given[0].values, out.values

    return keep


def _stream(block: Block) -> Iterator[tuple[nn.Module, Any, Any]]:
    """For each attention of a block, what registers hooks that keep the stream before it and after it."""
    last = block.norm_feed_forward
    if block.pre:
        middle = block.norm_cross if block.cross is not None else last
        yield block.mixer, _input(block.norm_mixer, "before"), _input(middle, "after")
        if block.cross is not None:
            yield block.cross, _input(block.norm_cross, "before"), _input(last, "after")
        return
    yield block.mixer, _input(block, "before"), _input(block.norm_mixer, "after")
    if block.cross is not None:
        yield block.cross, _output(block.norm_mixer, "before"), _input(block.norm_cross, "after")


def _input(module: nn.Module, name: str) -> Any:
    def register(around: Around) -> Any:
        def keep(_: nn.Module, given: tuple[Any, ...]) -> None:
            setattr(around, name, given[0].values if isinstance(given[0], VectorSets) else given[0])

        return module.register_forward_pre_hook(keep)

    return register


def _output(module: nn.Module, name: str) -> Any:
    def register(around: Around) -> Any:
        return module.register_forward_hook(lambda _, given, out: setattr(around, name, out))

    return register
