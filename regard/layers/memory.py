"""`Memory`: the vectors that entered each block with the segments before, which the vectors of a segment attend to as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from regard.errors import InputError, check_number
from regard.sets import Layout, VectorSets
from regard.sets.continued import following, last_rows, rows_of
from regard.sets.layout import offsets_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Memory", "Recalled"]


class Recalled(NamedTuple):
    """What the vectors of a segment attend to besides one another.

    Args:
        values: vectors from before, through which no gradient goes.
        order: in which order these, followed by the segment's own, are keys. keys: whose these keys are.
    """

    values: Float[Tensor, "u width"]
    order: Int[Tensor, " rows"]
    keys: Layout

    def changed(self, change: Callable[[Float[Tensor, "u d"]], Float[Tensor, "u d"]]) -> Recalled:
        """The same with `change` applied to the vectors."""
        return self._replace(values=change(self.values))

    def followed(self, earlier: Float[Tensor, "u g d"], own: Float[Tensor, "t g d"]) -> Float[Tensor, "rows g d"]:
        """What was made of these vectors and of the segment's own, each set's one after another."""
        return torch.cat([earlier, own]).index_select(0, self.order)


class Memory:
    """m_(t+1) = the last `length` vectors of [m_t ; SG(h_t)], for each block and stream (Dai et al. 2019, section 3.2).

    h_t are the vectors that enter a block with segment t; they lose their gradient as they are remembered. Each forward pass of a
    `Stack` that is given the memory goes on from it, and leaves its own vectors in it. How many are remembered may be another
    number from one training or evaluation to another, since no weight depends on it.

    Args:
        length: how many vectors of each stream a block remembers at most.

    >>> memory = Memory(3)
    >>> for start in (0, 2):
    ...     segment = memory.begin(VectorSets.pack([torch.ones(2, 4)]), [start])
    ...     recalled = memory.recall(0, segment.values)
    >>> recalled.values.shape, recalled.keys.total, memory.lengths.tolist()
    (torch.Size([2, 4]), 4, [3])
    """

    def __init__(self, length: int) -> None:
        check_number("Memory", "length", length, "int", least=0)
        self.length = length
        self.values: list[Tensor] = []
        """For each block the vectors that are remembered, stream after stream."""
        self.layout = Layout.of_lengths([])
        """Whose these are; `starts` are the places of each stream's first one."""
        self.loss: Tensor = torch.zeros(())
        """What the last segment adds to the loss of a training step: nothing, where remembering learns nothing."""
        self._recalled = self._kept = torch.zeros(0, dtype=torch.int64)
        self._order, self._keys = self._recalled, self.layout

    @property
    def lengths(self) -> Int[Tensor, " s"]:
        """How many vectors of each stream are remembered."""
        return self.layout.lengths

    def begin(self, sets: VectorSets, starts: Sequence[int]) -> VectorSets:
        """The sets at their places in the streams: set b goes on with stream b, or, from place 0 on, is a new one.

        Streams after the last set are forgotten.

        Args:
            starts: the place of each set's first vector in its stream; none at all where all of them are new.

        Raises:
            InputError: a set that begins elsewhere than right after what is remembered, or sets whose rows are not in order.
        """
        layout = sets.layout
        layout.check_rows_in_order("a memory")
        begin = torch.tensor(starts or [0] * layout.sets, dtype=torch.int64, device=layout.device)
        number = self._number(begin, layout)
        offsets = offsets_of(number)
        first = begin - number
        before = Layout._trusted([offsets, None, None, None, first])
        there = offsets[:-1].clone()
        streams = min(self.layout.sets, layout.sets)
        there[:streams] = self.layout.offsets[:streams].to(layout.device)
        self._recalled = rows_of(before, there - offsets[:-1], number)
        self._order = following(before, layout)
        self._keys = Layout._trusted([before.offsets + layout.offsets, None, None, None, first])
        number = self._remember(before, layout)
        self.layout = Layout._trusted([offsets_of(number), None, None, None, begin + layout.lengths - number])
        self.loss = torch.zeros((), device=layout.device)
        fields: list[Any] = layout._fields()
        fields[Layout.FIELDS.index("starts")] = begin
        return VectorSets(sets.values, Layout._trusted(fields))

    def _remember(self, before: Layout, segment: Layout) -> Int[Tensor, " s"]:
        """Decide what is remembered after a segment, and return how many vectors of each set's stream these are."""
        number = self._keys.lengths.clamp(max=self.length)
        self._kept, _ = last_rows(self._keys, number)
        return number

    def _next(self, block: int, joined: Float[Tensor, "rows width"], own: Float[Tensor, "t width"]) -> Tensor:
        """What is remembered for a block after a segment, of the vectors of all keys and of the segment's own."""
        return joined.index_select(0, self._kept)

    def _number(self, begin: Tensor, layout: Layout) -> Tensor:
        """How many vectors of each set's stream are remembered."""
        remembered = torch.zeros_like(begin)
        ends = torch.zeros_like(begin)
        streams = min(self.layout.sets, layout.sets)
        if streams:
            assert self.layout.starts is not None
            remembered[:streams] = self.layout.lengths[:streams].to(layout.device)
            ends[:streams] = self.layout.starts[:streams].to(layout.device) + remembered[:streams]
        wrong = ((begin > 0) & (begin != ends)).nonzero()
        if len(wrong):
            b = int(wrong[0])
            raise InputError(
                f"set {b} begins at place {int(begin[b])} of its stream, expected {int(ends[b])}, where the memory of that "
                "stream ends, or 0 for a new stream"
            )
        return remembered * (begin > 0)

    def recall(self, block: int, values: Float[Tensor, "t width"]) -> Recalled:
        """What was remembered for a block; the vectors that enter it now are remembered from then on."""
        if block == len(self.values):
            self.values.append(values.new_zeros(0, values.shape[1]))
        before = self.values[block].to(values).index_select(0, self._recalled)
        recalled = Recalled(before, self._order, self._keys)
        joined = torch.cat([before, values.detach()]).index_select(0, self._order)
        self.values[block] = self._next(block, joined, values)
        return recalled

    def state_dict(self) -> dict[str, Any]:
        """All that is remembered, as plain tensors, for a checkpoint."""
        return {"values": [each.cpu() for each in self.values], "layout": [self.layout.offsets, self.layout.starts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        offsets, starts = state["layout"]
        self.values, self.layout = list(state["values"]), Layout._trusted([offsets, None, None, None, starts])
