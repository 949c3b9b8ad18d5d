"""`CompressedMemory`: a memory whose oldest vectors are compressed, and what its compression learns from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from regard.attention.adapters.compressive import Compressive
from regard.attention.spec.attention import Attention
from regard.attention.verb import attend
from regard.errors import InputError, check_number
from regard.layers.attention import Attend
from regard.layers.blocks import Block
from regard.layers.memory import Memory
from regard.sets import Layout
from regard.sets.continued import following, rows_of
from regard.sets.layout import offsets_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["CompressedMemory"]


class CompressedMemory(Memory):
    """A `Memory` that compresses what leaves it, see `regard.attention.adapters.compressive.Compressive`.

    Args:
        length: how many vectors of each stream a block remembers as they are, at most.
        blocks: of the model, whose attention is a `Compressive` each.

    Raises:
        InputError: a block of another kind.
    """

    def __init__(self, length: int, blocks: Sequence[Block]) -> None:
        check_number("CompressedMemory", "length", length, "int", least=0)
        super().__init__(length)
        self._compressors = [_Compressor(block) for block in blocks]
        self.compressed = torch.zeros(0, dtype=torch.int64)
        """`[s]` how many of each stream's remembered vectors, the first ones, are compressed."""

    def _remember(self, before: Layout, segment: Layout) -> Int[Tensor, " s"]:
        adapter = self._compressors[0].adapter
        old = torch.zeros_like(before.lengths)
        streams = min(len(self.compressed), segment.sets)
        old[:streams] = self.compressed[:streams].to(old.device)
        old *= before.lengths > 0
        plain = self._keys.lengths - old
        leaving = (plain - self.length).clamp(min=0) // adapter.rate * adapter.rate
        made = leaving // adapter.rate
        self._segment = segment
        self._leaving = rows_of(self._keys, old, leaving)
        self._leave, self._made = (Layout._trusted([offsets_of(number)]) for number in (leaving, made))
        # For each set the compressed vectors, the new ones, which lie behind all others, and the rest; of all these the last.
        rest = plain - leaving
        rows = [rows_of(self._keys, torch.zeros_like(old), old), torch.arange(self._made.total, device=old.device)]
        rows = [rows[0], rows[1] + self._keys.total, rows_of(self._keys, old + leaving, rest)]
        parts = [Layout._trusted([offsets_of(number)]) for number in (old, made, rest)]
        first = following(parts[0], parts[1])
        both = Layout._trusted([parts[0].offsets + parts[1].offsets])
        joined = torch.cat([torch.cat(rows[:2])[first], rows[2]])[following(both, parts[2])]
        all_rows = Layout._trusted([both.offsets + parts[2].offsets])
        self.compressed = (old + made).clamp(max=adapter.compressed)
        number = self.compressed + rest
        self._kept = joined[rows_of(all_rows, all_rows.lengths - number, number)]
        return number

    def _next(self, block: int, joined: Float[Tensor, "rows width"], own: Float[Tensor, "t width"]) -> Tensor:
        compressor = self._compressors[block]
        old = joined.index_select(0, self._leaving)
        new = compressor(old)
        if torch.is_grad_enabled() and compressor.learns:
            loss = compressor.loss((own.detach(), self._segment), (old, self._leave), (new, self._made))
            self.loss = self.loss + loss
        return torch.cat([joined, new.detach()]).index_select(0, self._kept)

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"compressed": self.compressed.cpu()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.compressed = state["compressed"]


class _Compressor:
    """How one block compresses what it remembers."""

    def __init__(self, block: Block) -> None:
        mixer: Any = block.mixer
        found = mixer.attend.attention if isinstance(getattr(mixer, "attend", None), Attend) else None
        if not isinstance(found, Compressive):
            raise InputError(
                f"a block has {type(mixer).__name__} and compresses nothing, expected attention, Compressive"
            )
        self.adapter: Compressive = found
        self.block, self.mixer = block, mixer
        self.learns = "compress" in mixer.attend.learned

    def __call__(self, values: Float[Tensor, "rows width"]) -> Float[Tensor, "groups width"]:
        groups = values.unflatten(0, (-1, self.adapter.rate))
        learned: dict[str, Tensor] = {
            name: tensor.to(values.dtype) for name, tensor in self.mixer.attend.learned.items()
        }
        return self.adapter.compress(groups, learned)

    def loss(self, own: tuple[Tensor, Layout], old: tuple[Tensor, Layout], new: tuple[Tensor, Layout]) -> Tensor:
        """The mean of (attn(h, old) - attn(h, new))^2 over all numbers; a gradient reaches the new vectors alone.

        Args:
            own: the vectors h of the segment, and whose they are. old: what is compressed. new: what was made of it.
        """
        heads, key_heads = self.mixer.heads, self.mixer.key_heads
        q = self._projected(own[0])[:, :heads]

        def content(values: Tensor, keys: Layout) -> Tensor:
            k, v = self._projected(values)[:, heads:].split([key_heads, key_heads], dim=1)
            return attend(Attention(), q, k, v, own[1], keys)

        difference = content(*new) - content(*old).detach()
        # Where nothing is compressed, the weights have a gradient too: 0, which other processes wait for.
        return difference.square().sum() / max(1, difference.numel()) + 0 * new[0].sum()

    def _projected(self, values: Tensor) -> Tensor:
        """`[rows, heads + 2 key_heads, d]` what the layer projects of vectors that enter the block; no weight learns here."""
        modules = [self.block.norm_mixer, self.mixer.project] if self.block.pre else [self.mixer.project]
        for module in modules:
            values = _fixed(module, values)
        return values.unflatten(-1, (-1, self.mixer.d))


def _fixed(module: nn.Module, values: Tensor) -> Tensor:
    """What a module makes of some vectors, with weights that get no gradient."""
    weights = {name: weight.detach() for name, weight in module.named_parameters()}
    made: Tensor = functional_call(module, weights, (values,))
    return made
