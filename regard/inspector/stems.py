"""Where the vectors of a model lie in a picture of which a stem has made fewer vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import nn

from regard.data.examples import Array
from regard.inspector.seen import Axis, Seen
from regard.layers.pooling import ClassVector
from regard.layers.stem2d import PictureStem
from regard.sets import Layout

__all__ = ["StemGrid", "has_stem", "stem_grid", "without_places"]


@dataclass(frozen=True)
class StemGrid:
    """Squares of a picture's inputs, each of which became one vector.

    Attributes:
        side: how many rows and columns of inputs. coords: `[n, 2]` row and column of each, in squares.
    """

    side: int
    coords: Array


def has_stem(model: nn.Module) -> bool:
    """Whether vectors of a model stand for squares of its inputs."""
    return any(isinstance(module, PictureStem) for module in model.modules())


def stem_grid(model: nn.Module, layout: Layout) -> StemGrid | None:
    """The squares that the vectors of a model stand for; None without a stem, or where one stands for the whole picture.

    Args:
        layout: of the vectors that attend.
    """
    modules = list(model.modules())
    halvings = [module.halvings for module in modules if isinstance(module, PictureStem)]
    if not halvings or layout.coords is None or any(isinstance(module, ClassVector) for module in modules):
        return None
    return StemGrid(2 ** halvings[0], layout.coords[layout.index.argsort()].numpy())


def without_places(seen: Sequence[Seen]) -> list[Seen]:
    """The attentions, of whose vectors it is not known where they lie."""

    def bare(axis: Axis) -> Axis:
        return replace(axis, spans=())

    return [replace(each, queries=bare(each.queries), keys=bare(each.keys)) for each in seen]
