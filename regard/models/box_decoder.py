"""The decoder of DETR: query vectors attend to a picture, and each becomes a box; and the model that an encoder makes with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from regard.data.batch import Batch
from regard.layers.attention import Attend, CrossAttention
from regard.layers.boxes import unbounded
from regard.layers.checks import checked
from regard.layers.states import Projected
from regard.models.model import Model, check_batch
from regard.models.pieces import Denoising
from regard.sets import Layout, VectorSets

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["Begin", "BoxDecoder", "DetrModel", "Queries", "aim"]

_SHARPNESS = 2.0  # of a Gaussian at first: exp(-1) at the middle of a box's side
_OFF_CENTER = 0.25  # of a box: where its heads look at first, on a circle
_SIDE = 0.2  # of the picture: that of the boxes that anchors begin with
_LONGEST_WAVE, _MOST_WAVES = 20.0, 16.0


def aim(cross: CrossAttention) -> None:
    """Where the bias is a Gaussian around boxes, let each head begin with a part of the box."""
    attend = cross.attend
    if not isinstance(attend, Attend) or "bias_sharpness" not in attend.learned:
        return
    with torch.no_grad():
        turn = torch.arange(cross.heads) * (2 * math.pi / cross.heads)
        attend.learned["bias_sharpness"].fill_(_SHARPNESS)
        centers = attend.learned["bias_centers"]
        if centers.shape[1] == 2:
            centers.copy_(_OFF_CENTER * torch.stack([turn.sin(), turn.cos()], 1))


class Begin(NamedTuple):
    """With what a decoder begins.

    Args:
        labels: how many there are. queries: how many vectors are matched with boxes.
        anchors: whether each has a box of its own at first. denoising: noisy targets as further queries.
    """

    labels: int
    queries: int
    anchors: bool
    denoising: Denoising


class Queries(NamedTuple):
    """The queries of a batch, picture after picture: those that are matched, then the groups of noisy targets.

    Args:
        vectors: `[t, d]` what they hold.
        boxes: `[t, 4]` with which they begin; None where they tell them.
        groups: whose rows see one another: the matched ones of a picture, and each of its groups.
        pictures: whose rows attend to which picture.
    """

    vectors: Float[Tensor, "t d"]
    boxes: Float[Tensor, "t 4"] | None
    groups: Layout
    pictures: Layout


@checked()
class BoxDecoder(nn.Module):
    """h^l = block_l(h^(l-1) + place(b^(l-1)), memory) and b^l = sigmoid(f(norm(h^l)) + logit(b^(l-1))), for l = 1, ..., blocks.

    b are boxes: center (x, y), width and height, as parts of the picture's. place is a network of two layers on their sinusoids
    and f one of three layers; both serve all blocks. b^0 are the anchors. No gradient goes from one block to the next through
    boxes (as in Deformable DETR). Without anchors place = 0 and b^l = sigmoid(f(norm(h^l))), as in DETR.

    Args:
        blocks: with cross-attention. width: of the vectors. begin: the queries.
    """

    def __init__(self, blocks: Sequence[nn.Module], width: int, begin: Begin) -> None:
        super().__init__()
        self.labels, self.queries, _, self.denoising = begin
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(width)
        self.content = nn.Parameter(torch.randn(begin.queries, width))
        self.anchors = nn.Parameter(unbounded(_spread(begin.queries))) if begin.anchors else None
        self.place = (
            nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) if begin.anchors else None
        )
        self.noisy = nn.Parameter(torch.randn(begin.labels, width)) if begin.denoising.groups else None
        hidden = [nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()]
        self.box = nn.Sequential(*hidden, nn.Linear(width, 4))
        last: Any = self.box[-1]
        nn.init.zeros_(last.bias)
        # Boxes begin where the anchors are, and without anchors near the middle, all a little apart.
        nn.init.normal_(last.weight, std=0.0 if begin.anchors else 0.1 / math.sqrt(width))

    def forward(self, memory: VectorSets, batch: Batch) -> list[tuple[Tensor, Tensor, Layout]]:
        """For each block the hidden vectors `[t, d]`, the boxes `[t, 4]` and whose they are."""
        queries = self.begin(batch)
        vectors, boxes = queries.vectors, queries.boxes
        if boxes is None:
            boxes = self.box(self.norm(vectors)).sigmoid()
        extent = _extents(memory.layout)[queries.pictures.set_of_row]
        outputs: list[tuple[Tensor, Tensor, Layout]] = []
        for block in self.blocks:
            before = boxes.detach() if outputs else boxes
            if self.place is not None:
                vectors = vectors + self.place(_waves(before, vectors.shape[1]).to(vectors.dtype))
            cross: Any = block.cross
            known = cross.projected(memory)
            asked = Layout(queries.pictures.offsets, _on_grid(before, extent))
            context = Projected(known.k, known.v, memory.layout, asked)
            vectors = block(VectorSets(vectors, queries.groups), context=context).values
            hidden = self.norm(vectors)
            moved = self.box(hidden).float()
            boxes = (moved if self.anchors is None else moved + unbounded(before)).sigmoid()
            outputs.append((hidden, boxes, queries.pictures))
        return outputs

    def begin(self, batch: Batch) -> Queries:
        """The queries of a batch; noisy targets are among them while training."""
        sets, device = len(batch), self.content.device
        anchors = None if self.anchors is None else self.anchors.sigmoid()
        groups = self.denoising.groups if self.training and batch.targets is not None else 0
        if not groups or self.noisy is None or anchors is None:
            layout = Layout.of_lengths(torch.full((sets,), self.queries, device=device))
            return Queries(
                self.content.repeat(sets, 1), None if anchors is None else anchors.repeat(sets, 1), layout, layout
            )
        targets = batch.target_sets
        ids, noise = _noisy(targets.values.clamp(min=0), self._coords(targets), self.labels, self.denoising)
        vectors, boxes, lengths = [], [], []
        for first, last in zip(targets.offsets[:-1].tolist(), targets.offsets[1:].tolist(), strict=True):
            vectors += [self.content, embedding(ids[:, first:last].flatten(), self.noisy)]
            boxes += [anchors, noise[:, first:last].flatten(0, 1)]
            lengths += [self.queries, *[last - first] * groups]
        counts = torch.tensor(lengths, device=device).view(sets, 1 + groups)
        return Queries(
            torch.cat(vectors), torch.cat(boxes), Layout.of_lengths(counts.flatten()), Layout.of_lengths(counts.sum(1))
        )

    @staticmethod
    def _coords(targets: VectorSets) -> Tensor:
        assert targets.coords is not None
        return targets.coords


def _spread(queries: int) -> Float[Tensor, "{queries} 4"]:
    """Boxes whose centers lie evenly over the picture, row by row."""
    rows = max(1, round(math.sqrt(queries)))
    places = []
    for row in range(rows):
        first, last = row * queries // rows, (row + 1) * queries // rows
        places += [((n + 0.5) / (last - first), (row + 0.5) / rows, _SIDE, _SIDE) for n in range(last - first)]
    return torch.tensor(places)


def _noisy(
    labels: Int[Tensor, " m"], boxes: Float[Tensor, "m 4"], count: int, noise: Denoising
) -> tuple[Int[Tensor, "groups m"], Float[Tensor, "groups m 4"]]:
    """For each group the labels and boxes with noise, drawn by torch's generator."""
    shape = (noise.groups, len(labels))
    other = torch.randint(count, shape, device=labels.device)
    ids = torch.where(torch.rand(shape, device=labels.device) < noise.labels, other, labels)
    drawn = 2 * torch.rand(*shape, 4, device=boxes.device) - 1
    sizes = boxes[:, 2:]
    moved = boxes + noise.boxes * drawn * torch.cat([sizes / 2, sizes], 1)
    return ids, moved.clamp(0, 1)


def _extents(layout: Layout) -> Float[Tensor, "s 2"]:
    """How many columns and rows of patches each picture has."""
    assert layout.coords is not None
    of_row = layout.set_of_row[:, None].expand(-1, 2)
    most = layout.coords.new_zeros(layout.sets, 2).scatter_reduce(0, of_row, layout.coords, "amax")
    return most.flip(1) + 1


def _on_grid(boxes: Float[Tensor, "t 4"], extent: Float[Tensor, "t 2"]) -> Float[Tensor, "t 4"]:
    """Row, column, height and width in patches, of which the first has its center at 0."""
    places, sizes = boxes[:, :2] * extent - 0.5, boxes[:, 2:] * extent
    return torch.cat([places.flip(1), sizes.flip(1)], 1).detach()


def _waves(boxes: Float[Tensor, "t 4"], width: int) -> Float[Tensor, "t {width}"]:
    """Sines and cosines of the four numbers of a box, each in its own share of the width, of waves 20 to 1/16 pictures long."""
    count = width // 8
    rates = torch.logspace(-math.log10(_LONGEST_WAVE), math.log10(_MOST_WAVES), count, device=boxes.device)
    angles = (2 * math.pi * boxes.float())[..., None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(1)


class DetrModel(nn.Module):
    """decoder(encoder(picture)): for each picture a set of query vectors, whose coordinates are the boxes that they tell.

    While training there is such a batch of sets for each block of the decoder, one after another, and after the queries of a
    picture stand those of its noisy targets.

    Args:
        encoder: from patches to vectors. decoder: from these to boxes.
    """

    def __init__(self, encoder: Model, decoder: BoxDecoder) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    @property
    def width(self) -> int:
        """Of the hidden vectors."""
        return self.encoder.width

    @property
    def queries(self) -> int:
        """How many boxes it gives for a picture."""
        return self.decoder.queries

    def forward(self, batch: Batch) -> VectorSets:
        """The queries of each picture after the last block, or, while training, after each block."""
        check_batch(batch)
        outputs = self.decoder(self.encoder(batch), batch)
        chosen = outputs if self.training else outputs[-1:]
        hidden, boxes = torch.cat([each for each, _, _ in chosen]), torch.cat([each for _, each, _ in chosen])
        lengths = torch.cat([layout.lengths for _, _, layout in chosen])
        return VectorSets(hidden, Layout(Layout.of_lengths(lengths).offsets, boxes))
