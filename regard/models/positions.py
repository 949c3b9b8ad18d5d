"""Positions of a model: added to its vectors, added to what the mixer of every block reads, or turning queries and keys."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.checks import checked
from regard.layers.degrees import Degrees
from regard.layers.floater import Floater
from regard.layers.positions import Learned, Rotary, Sinusoidal
from regard.models.pieces import Positions
from regard.sets import VectorSets

__all__ = ["ModelPositions", "make_positions"]


@checked()
class ModelPositions(nn.Module):
    """Where each vector stands, in one of three ways.

    Args:
        added: to the vectors, before the first block.
        floater: what the mixer of every block adds to its vectors.
        rotation: what turns queries and keys; mixers that attend take it from here.
    """

    def __init__(
        self, added: nn.Module | None = None, floater: Floater | None = None, rotation: Rotary | None = None
    ) -> None:
        super().__init__()
        self.added, self.floater = added or nn.Identity(), floater
        self.rotation = rotation

    def forward(self, sets: VectorSets) -> VectorSets:
        """The sets, with what is added to their vectors."""
        placed: VectorSets = self.added(sets)
        return placed

    def per_block(self, sets: VectorSets) -> Tensor | None:
        """`[blocks, t, width]` what the mixer of every block adds to its vectors, or None."""
        if self.floater is None:
            return None
        positions: Tensor = self.floater(sets.layout, sets.values.shape[0])
        return positions


def _floater(options: Positions, width: int, layers: int, encoding: Encoding) -> ModelPositions:
    if encoding.grid.coords:
        found = f"the positions are floater and the vectors have {encoding.grid.coords} coordinates"
        raise InputError(f"{found}, expected none: FLOATER goes along one order")
    return ModelPositions(floater=Floater(width, layers))


def _learned(options: Positions, width: int, layers: int, encoding: Encoding) -> ModelPositions:
    return ModelPositions(Learned(width, encoding.grid.extent or (options.longest,), encoding.grid.coords))


_MADE: dict[str, Callable[[Positions, int, int, Encoding], ModelPositions]] = {
    "none": lambda options, width, layers, encoding: ModelPositions(),
    # Embeddings start with entries of about one, like the sines.
    "sinusoidal": lambda options, width, layers, encoding: ModelPositions(Sinusoidal(width, encoding.grid.coords)),
    "learned": _learned,
    "rotary": lambda options, width, layers, encoding: ModelPositions(rotation=Rotary(encoding.grid.coords)),
    "floater": _floater,
    "degree": lambda options, width, layers, encoding: ModelPositions(Degrees(width, options.longest)),
}


def make_positions(options: Positions, width: int, layers: int, encoding: Encoding) -> ModelPositions:
    """The positions of those options, for data of that encoding.

    Raises:
        InputError: positions along an order where the data have none.
    """
    if options.type == "degree":
        if not encoding.edges:
            raise InputError("model.positions is 'degree' and the sets of the data have no edges, expected graphs")
    elif options.type != "none" and not encoding.ordered and not encoding.grid.coords:
        found = f"model.positions is {options.type!r} and the vectors of the data have no order"
        other = "none, or degree" if encoding.edges else "none"
        raise InputError(f"{found}, expected {other}: positions say which comes first")
    return _MADE[options.type](options, width, layers, encoding)
