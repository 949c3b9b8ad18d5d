"""A stack of reversible blocks, whose hidden vectors are computed again in the backward pass and never stored."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.errors import InputError
from regard.layers.blocks import Block, Stack
from regard.layers.checks import checked
from regard.layers.memory import Memory
from regard.layers.states import LayerState, Projected
from regard.sets import VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["ReversibleStack"]


@checked()
class ReversibleStack(Stack):
    """y_1 = x_1 + mixer(norm(x_2)), y_2 = x_2 + feed_forward(norm(y_1)), block after block, and norm((y_1 + y_2) / 2) at the end.

    Both streams begin as the vectors that enter. Each block gives back what entered it, x_2 = y_2 - feed_forward(norm(y_1)) and
    x_1 = y_1 - mixer(norm(x_2)), so that training holds the vectors of one block alone, however many there are, and computes each
    block once more. Gradients are those of the same stack with stored vectors, but for rounding. Dropout draws the same again, from
    seeds that are drawn once for each block.

    Source: Gomez et al. 2017 (Reversible Residual Network), section 3; in Transformers, Kitaev et al. 2020 (Reformer), section 3.

    Args:
        blocks: each a `Block` with norms before and without cross-attention, whose mixer leaves the values of edges alone.
        width: of the vectors. final_norm: whether a layer norm ends the stack.

    Raises:
        InputError: another kind of block.
    """

    def __init__(self, blocks: Iterable[nn.Module], width: int, final_norm: bool = True) -> None:
        super().__init__(blocks, width, final_norm)
        for block in self.blocks:
            if not isinstance(block, Block) or not block.pre or block.cross is not None:
                kind = type(block).__name__
                found = f"a {kind} with cross-attention" if getattr(block, "cross", None) is not None else f"a {kind}"
                found += " with norms behind" if isinstance(block, Block) and not block.pre else ""
                raise InputError(f"a reversible stack has {found}, expected blocks of one mixer with norms before")

    def forward(
        self,
        sets: VectorSets,
        positions: Float[Tensor, "blocks t d"] | None = None,
        context: VectorSets | Sequence[Projected] | None = None,
        states: Sequence[LayerState] | None = None,
        memory: Memory | None = None,
    ) -> VectorSets:
        """The same sets; see `Stack`.

        Raises:
            InputError: a context, or the memory of earlier segments; coordinates or values of edges that learn.
        """
        if context is not None or memory is not None:
            found = "a context" if context is not None else "a memory of segments"
            raise InputError(
                f"a reversible stack was given {found}, expected sets alone: what enters a block is not stored"
            )
        if states is not None and len(states) != len(self.blocks):
            raise InputError(f"there are {len(states)} states, expected {len(self.blocks)}: one for each block")
        for name in ("coords", "edge_values"):
            field = getattr(sets.layout, name)
            if field is not None and field.requires_grad:
                raise InputError(
                    f"a reversible stack was given {name} that learn, expected fixed ones: their gradients are not kept"
                )
        blocks: Any = self.blocks
        traced = torch.compiler.is_compiling()
        seeds = torch.randint(1 << 62, (len(blocks), 2)).tolist() if self.training and not traced else None
        run = _Run(list(blocks), sets, seeds, states)
        x = sets.values
        if torch.is_grad_enabled() and states is None and not traced and len(blocks):
            run.remember()
            first, second = _Reversed.apply(run, x, x, positions, *run.parameters)
        else:
            first = second = x
            for n in range(len(blocks)):
                first = first + run.mixed(n, second, None if positions is None else positions[n])
                second = second + run.fed(n, first)
        return sets.with_values(self.norm((first + second) / 2))


@dataclass
class _Run:
    """One pass of sets through blocks: what each half of a block adds, now and, with the same draws, later."""

    blocks: list[Block]
    sets: VectorSets
    seeds: list[list[int]] | None
    states: Sequence[LayerState] | None = None

    def remember(self) -> None:
        """Note what the same pass needs later: parameters, buffers as they are, and types of autocast."""
        self.parameters = [x for block in self.blocks for x in block.parameters() if x.requires_grad]
        self.buffers = [(x, x.clone()) for block in self.blocks for x in block.buffers()]
        self.device = self.sets.values.device.type
        self.autocast = torch.is_autocast_enabled(self.device), torch.get_autocast_dtype(self.device)

    def mixed(self, n: int, x: Tensor, position: Tensor | None) -> Tensor:
        """What the mixer of block n adds."""
        state = None if self.states is None else self.states[n]
        with self._draws(n, 0):
            found = self.blocks[n].mixed(self.sets.with_values(x), position, state)
        if found.layout is not self.sets.layout:
            kind = type(self.blocks[n].mixer).__name__
            raise InputError(
                f"a reversible stack has {kind}, which changes what edges carry, expected mixers that do not"
            )
        return found.values

    def fed(self, n: int, x: Tensor) -> Tensor:
        """What the feed-forward network of block n adds."""
        with self._draws(n, 1):
            return self.blocks[n].fed(self.sets.with_values(x))

    @contextmanager
    def _draws(self, n: int, half: int) -> Iterator[None]:
        """Within it, torch's generator draws what it has drawn for this half of a block before."""
        if self.seeds is None:
            yield
            return
        with torch.random.fork_rng(devices=[]):
            # Not those of GPUs, from which nothing is drawn.
            torch.default_generator.manual_seed(self.seeds[n][half])
            yield

    @contextmanager
    def again(self) -> Iterator[None]:
        """Within it, buffers and autocast are as they were; buffers that follow the vectors have moved since."""
        now = [x.clone() for x, _ in self.buffers]
        enabled, dtype = self.autocast
        try:
            with torch.no_grad():
                for x, before in self.buffers:
                    x.copy_(before)
            with torch.autocast(self.device, dtype=dtype, enabled=enabled):
                yield
        finally:
            with torch.no_grad():
                for (x, _), after in zip(self.buffers, now, strict=True):
                    x.copy_(after)


class _Reversed(torch.autograd.Function):
    """Both halves of what leaves the last block, of which alone the backward pass starts."""

    @staticmethod
    def forward(
        ctx: Any, run: _Run, first: Tensor, second: Tensor, positions: Tensor | None, *parameters: Tensor
    ) -> tuple[Tensor, Tensor]:
        for n in range(len(run.blocks)):
            first = first + run.mixed(n, second, None if positions is None else positions[n])
            second = second + run.fed(n, first)
        ctx.run = run
        ctx.save_for_backward(first, second, positions)
        return first, second

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, above_first: Tensor, above_second: Tensor) -> tuple[Tensor | None, ...]:
        run: _Run = ctx.run
        first, second, positions = ctx.saved_tensors
        sums: dict[int, Tensor] = {}
        of_positions = None if positions is None or not ctx.needs_input_grad[3] else torch.zeros_like(positions)

        def gradients(added: Tensor, inputs: list[Tensor], above: Tensor, block: Block) -> list[Tensor]:
            """Of the inputs; those of parameters are added up."""
            own = [x for x in block.parameters() if x.requires_grad]
            found = torch.autograd.grad(added, [*inputs, *own], above, allow_unused=True)
            for x, gradient in zip(own, found[len(inputs) :], strict=True):
                if gradient is not None:
                    sums[id(x)] = gradient if id(x) not in sums else sums[id(x)] + gradient
            return [torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=False)]

        with run.again():
            for n in reversed(range(len(run.blocks))):
                with torch.enable_grad():
                    leaf = first.detach().requires_grad_()
                    added = run.fed(n, leaf)
                (gradient,) = gradients(added, [leaf], above_second.to(added.dtype), run.blocks[n])
                second, above_first = second - added.detach(), above_first + gradient
                with torch.enable_grad():
                    leaf = second.detach().requires_grad_()
                    inputs = [leaf] if positions is None else [leaf, positions[n].detach().requires_grad_()]
                    added = run.mixed(n, leaf, None if positions is None else inputs[1])
                gradient, *of_position = gradients(added, inputs, above_first.to(added.dtype), run.blocks[n])
                first, above_second = first - added.detach(), above_second + gradient
                if of_positions is not None:
                    of_positions[n] = of_position[0]
        return None, above_first, above_second, of_positions, *(sums.get(id(x)) for x in run.parameters)
