"""A model that only looks back, as a stepper: sets of ids that grow, each step from what the layers remember."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from regard.attention.adapters.remember import Remember
from regard.attention.spec.attention import Attention
from regard.data.batch import Batch
from regard.errors import InputError
from regard.layers.attention import Attend
from regard.models.model import Model
from regard.models.sequences import check_ids
from regard.sets import Layout, VectorSets
from regard.sets.layout import offsets_of

if TYPE_CHECKING:
    from jaxtyping import Float, Int

__all__ = ["ModelStepper", "RecomputingStepper", "remembers"]


def remembers(model: Model) -> bool:
    """Whether all attention of a model that `grows` can go on from what it remembers; adapters such as `Axes` cannot."""
    attentions = [each.attention for each in model.modules() if isinstance(each, Attend)]
    return all(isinstance(each, Attention | Remember) for each in attentions)


class ModelStepper:
    """The scores of the next id of sets that grow, one row for each: a `Stepper` of `regard.decoding`.

    Softmax attention remembers keys and values, linear attention sums, so that no vector is computed twice.

    Args:
        model: not in training; it gives one vector for each id, and looks back only.
        scores: from hidden vectors `[t, d]` to logits `[t, vocabulary]`.
        begun: the ids that each set has already, possibly none.
        coords: `[longest, n]` where the vector at each place of a set lies, if anywhere.

    Raises:
        InputError: a model that cannot go on from states.
    """

    def __init__(
        self,
        model: Model,
        scores: Callable[[Tensor], Tensor],
        vocabulary: int,
        begun: Sequence[Sequence[int]],
        coords: Float[Tensor, "longest n"] | None = None,
    ) -> None:
        if not model.grows:
            raise InputError(
                "the model joins ids or looks at later ones, expected one that goes on id by id: step 1, no n-grams, no class "
                "vector, attention that looks back only"
            )
        self.model, self.scores, self.vocabulary = model, scores, vocabulary
        stack: Any = model.stack
        self._states = stack.new_states(len(begun))
        self._device = next(model.parameters()).device
        self._coords = None if coords is None else coords.to(self._device)
        self._places = torch.zeros(len(begun), dtype=torch.int64, device=self._device)
        lengths = torch.tensor([len(ids) for ids in begun], dtype=torch.int64, device=self._device)
        if int(lengths.sum()):
            ids = torch.tensor([n for each in begun for n in each], dtype=torch.int64, device=self._device)
            self._hidden(ids, lengths)

    def __len__(self) -> int:
        return len(self._places)

    @torch.no_grad()
    def _hidden(self, ids: Tensor, lengths: Tensor) -> Tensor:
        layout = Layout(offsets_of(lengths), starts=self._places)
        if self._coords is not None:
            layout = Layout(layout.offsets, self._coords[layout.index], starts=self._places)
        hidden = self.model(Batch(VectorSets(ids, layout)), self._states)
        self._places = self._places + lengths
        return hidden.values

    @torch.no_grad()
    def next(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """The scores of the id after these, one for each row, which are then part of the rows."""
        check_ids(ids, len(self))
        return self.scores(self._hidden(ids.to(self._device), torch.ones_like(self._places)))

    @torch.no_grad()
    def select(self, rows: Int[Tensor, " chosen"]) -> None:
        """Keep these rows, in this order; one may come several times."""
        rows = rows.to(self._device)
        for state in self._states:
            state.select(rows)
        self._places = self._places[rows]


class RecomputingStepper:
    """The same of a model that remembers nothing: each step computes the whole sets anew.

    Args:
        model, scores, vocabulary, begun, coords: as in `ModelStepper`.

    Raises:
        InputError: a model that looks at later ids.
    """

    def __init__(
        self,
        model: Model,
        scores: Callable[[Tensor], Tensor],
        vocabulary: int,
        begun: Sequence[Sequence[int]],
        coords: Float[Tensor, "longest n"] | None = None,
    ) -> None:
        if model.context[1] > 0:
            raise InputError("the model looks at later ids, expected one that looks back only")
        self.model, self.scores, self.vocabulary = model, scores, vocabulary
        self._device = next(model.parameters()).device
        self._sets = [torch.tensor(ids, dtype=torch.int64, device=self._device) for ids in begun]
        self._coords = None if coords is None else coords.to(self._device)

    def __len__(self) -> int:
        return len(self._sets)

    @torch.no_grad()
    def next(self, ids: Int[Tensor, " rows"]) -> Float[Tensor, "rows vocabulary"]:
        """The scores of the id after these, one for each row, which are then part of the rows."""
        check_ids(ids, len(self))
        self._sets = [
            torch.cat([ids_before, last])
            for ids_before, last in zip(self._sets, ids.to(self._device).split(1), strict=True)
        ]
        coords = None if self._coords is None else [self._coords[: len(each)] for each in self._sets]
        hidden = self.model(Batch(VectorSets.pack(self._sets, coords=coords)))
        return self.scores(hidden.values[hidden.offsets[1:] - 1])

    def select(self, rows: Int[Tensor, " chosen"]) -> None:
        """Keep these rows, in this order; one may come several times."""
        self._sets = [self._sets[n] for n in rows.tolist()]
