"""The next pixel at every place of a picture: a model of pictures that writes them row by row."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from regard.data.batch import Batch
from regard.data.encoding import BEGIN, Encoding
from regard.errors import InputError
from regard.layers.cross_entropy import cross_entropy
from regard.tasks.configs import NextToken
from regard.tasks.configs_of_pictures import NextPixel
from regard.tasks.next_token import NextTokenTask

if TYPE_CHECKING:
    from jaxtyping import Float
    from torchmetrics import MetricCollection

__all__ = ["Judged", "NextPixelTask", "deflated"]

_AT_ONCE = 1 << 20  # pixels that are counted at once


class Judged(NamedTuple):
    """What is left of probabilities that are too many to keep.

    Args:
        losses: `[t]` - log p of each pixel. best: `[t]` the most probable level.
    """

    losses: Float[Tensor, " t"]
    best: Tensor


class NextPixelTask(NextTokenTask):
    """p(x_i = w | x_1, ..., x_(i-1)) = softmax(E h_i)_w over the 256 levels w, with E the table of the model's ids.

    The model reads the picture one place late: at place i it has x_(i-1), or BEGIN at the first, with the coordinates of pixel i,
    so that `Near(r) & Causal()` holds what was written around the pixel that is to come. (In Parmar et al. 2018, section 3, inputs
    are shifted alike.) The loss is - log p in nats, of all pixels; `nats` is its mean.

    The baseline that never looks has a histogram of levels for each place of the training pictures, each level counted once
    more than it comes.

    Raises:
        InputError: data that are no pixels.
    """

    def _entries(self, encoding: Encoding) -> tuple[str, ...]:
        columns, levels = list(encoding.columns.values()), encoding.labels
        if not levels or columns != [(*levels, BEGIN)] or encoding.grid.coords != 2:
            raise InputError(
                f"the task guesses the next pixel, and the targets are {encoding.described_targets}, expected the levels of "
                "pixels, as data of the type Pixels have"
            )
        return levels

    def __init__(self, config: NextPixel, width: int, encoding: Encoding) -> None:
        super().__init__(NextToken(dropout=config.dropout), width, encoding)
        self.begin, self.extent = len(self.entries), encoding.grid.extent
        self.register_buffer("counts", torch.zeros(math.prod(self.extent), len(self.entries), dtype=torch.int64))

    def read(self, batch: Batch) -> Batch:
        """The pixel before each, and BEGIN before the first of a picture."""
        inputs = batch.inputs
        ids = inputs.values.roll(1)
        ids[inputs.offsets[:-1][inputs.layout.lengths > 0]] = self.begin
        return replace(batch, inputs=inputs.with_values(ids))

    def scores(self, hidden: Float[Tensor, "t d"]) -> Float[Tensor, "t levels"]:
        """The logits of the levels that the pixels may have; BEGIN is none of them."""
        table = self.table
        return linear(hidden, table[: self.begin].to(hidden.dtype))

    def observe(self, batch: Batch) -> None:
        counts = self.counts.new_zeros(self.counts.numel())
        for codes in self._codes(batch):
            counts += torch.bincount(codes, minlength=len(counts))
        self.counts.copy_(counts.view_as(self.counts))

    def trivial(self, batch: Batch) -> Any:
        counts = self.counts.double() + 1
        losses = -(counts / counts.sum(1, keepdim=True)).log().float()
        found = torch.cat([losses.view(-1)[codes] for codes in self._codes(batch)])
        best = self.counts.argmax(1)
        return Judged(found, best[batch.inputs.layout.index.remainder(len(best))])

    def baselines(self, batch: Batch) -> dict[str, dict[str, float]]:
        """DEFLATE, the algorithm of gzip, on the levels of all pictures one after another: what a general compressor needs."""
        levels = batch.target_values("vector").to(torch.uint8)
        return {"gzip": {"nats": deflated(levels.numpy().tobytes())}}

    def _codes(self, batch: Batch) -> list[Tensor]:
        """place * levels + level of all pixels, a part at a time: of a whole training part they are many."""
        targets, places = batch.target_values("vector"), batch.inputs.layout.index
        # A picture of another size than those of training has no places of its own.
        parts = zip(targets.split(_AT_ONCE), places.split(_AT_ONCE), strict=True)
        return [place.remainder(len(self.counts)) * self.begin + level.long() for level, place in parts]

    def score(self, metrics: MetricCollection, output: Any, batch: Batch) -> None:
        found = output if isinstance(output, Judged) else _judged(output, batch.target_values("vector"))
        if len(found.losses):
            targets = batch.target_values("vector").long()
            metrics.update(predictions=found.best, targets=targets, losses=found.losses)

    def predictions(self, output: Any, batch: Batch) -> list[dict[str, Any]]:
        """For each picture the mean `nats` of its pixels, and, of labeled parts, their number: `targets`."""
        losses = output.losses if isinstance(output, Judged) else _judged(output, batch.inputs.values).losses
        lengths = batch.inputs.layout.lengths.tolist()
        written = []
        for name, part in zip(batch.names, losses.double().split(lengths), strict=True):
            known = {} if batch.targets is None else {"targets": len(part)}
            written.append({"name": name, "nats": float(part.mean())} | known)
        return written

    def ids_of(self, tokens: Sequence[str]) -> list[int]:
        raise InputError("the run guesses pixels, expected a run of texts, or pictures by --complete")


def _judged(scores: Tensor, targets: Tensor) -> Judged:
    return Judged(cross_entropy(scores, targets.long()), scores.argmax(-1))


def deflated(content: bytes) -> float:
    """Nats for each byte of a content that DEFLATE has compressed as well as it can.

    >>> round(deflated(bytes(100_000)), 2)
    0.01
    """
    return 8 * math.log(2) * len(zlib.compress(content, 9)) / max(1, len(content))
