"""The generator of ELECTRA (Clark et al. 2020): a smaller model of the same kind, which shares the table of ids."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from torch import nn

from regard.errors import InputError
from regard.layers.checks import checked
from regard.layers.embed import Embed
from regard.models.encoder import Encoder, make_encoder
from regard.models.front import ModelFront
from regard.models.model import Model
from regard.models.pieces import Front
from regard.sets import VectorSets

if TYPE_CHECKING:
    from regard.data.encoding import Encoding

__all__ = ["Projected", "make_generator"]


@checked()
class Projected(nn.Module):
    """x_i = W E[id_i] + b, with the embedding E of another model, whose parameters stay that model's alone.

    Args:
        embed: of the other model. width: of the vectors.
    """

    def __init__(self, embed: Embed, width: int) -> None:
        super().__init__()
        # In a tuple, so that the table is no parameter of two modules.
        self._embed = (embed,)
        self.project = nn.Linear(embed.width, width)

    def forward(self, sets: VectorSets) -> VectorSets:
        vectors: VectorSets = self._embed[0](sets)
        return vectors.with_values(self.project(vectors.values))


def make_generator(model: nn.Module, share: float, encoding: Encoding) -> Model:
    """An encoder like a model but for its width, its heads and its feed-forward width, which are `share` of those.

    Its ids begin as the model's own vectors, projected (section 3.2 of the paper: tied embeddings). It has at least one head, and
    an even number of numbers in each.

    Args:
        model: an `Encoder` that reads one column of ids, each of them as one vector.
        share: from above 0 to 1.

    Raises:
        InputError: another model.
    """
    options = model.options if isinstance(model, Model) else None
    if not isinstance(options, Encoder) or not isinstance(model, Model):
        raise InputError("the task makes a generator like the model, expected the model Encoder")
    embed = model.front.embed
    if not isinstance(embed, Embed) or len(embed.sizes) != 1 or model.step != 1 or options.front.class_vector:
        raise InputError(
            "the task tells of each id whether it was replaced, expected a model that reads one id for each vector, with "
            "model.front.step 1 and model.front.class_vector false"
        )
    heads = max(1, round(share * options.heads))
    width = max(1, round(share * options.width / (2 * heads))) * 2 * heads
    small = replace(
        options,
        width=width,
        heads=heads,
        feed_forward=max(1, round(share * options.feed_forward)),
        front=Front(dropout=options.front.dropout),
    )
    generator = make_encoder(small, encoding)
    generator.front = ModelFront(Projected(embed, width))
    return generator
