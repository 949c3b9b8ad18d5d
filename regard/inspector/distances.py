"""How far heads look: the mean distance of what they attend to, where vectors lie by coordinates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.attention.verb import attention_weights
from regard.data.batch import Batch
from regard.errors import InputError
from regard.inspector.calls import Call, record
from regard.layers.pooling import ClassVector
from regard.sets import Layout

if TYPE_CHECKING:
    from jaxtyping import Float

__all__ = ["attention_distances", "even_distance", "plot_distances"]


@torch.no_grad()
def attention_distances(model: nn.Module, batch: Batch) -> list[Float[Tensor, " heads"]]:
    """mean over queries i of sum_j a_ij |c_i - c_j| / sum_j a_ij for every head of every attention, c being coordinates.

    In their units: of patches; times the patch's side it is in pixels (Dosovitskiy et al. 2021, figure 7, on the right). A class
    vector lies nowhere, and is left out on both sides. The weights are those of `attention_weights`, without dropout, computed
    picture by picture; `even_distance` is what a head that weighs all alike has.

    Args:
        model: whose attentions read one set each, without pooling. batch: of sets with coordinates.

    Returns:
        for each attention, in order, the distances of its heads.

    Raises:
        InputError: a model without attention, or sets without coordinates.
    """
    layouts: list[Layout] = []

    def keep(module: nn.Module, given: tuple[Any, ...]) -> None:
        layouts.append(given[0].layout)

    hooks = [each.register_forward_pre_hook(keep) for each in model.modules() if isinstance(each, ClassVector)]
    try:
        calls = record(model, lambda: model(batch))
    finally:
        for hook in hooks:
            hook.remove()
    if not calls:
        raise InputError("the model has no attention, expected at least one to measure distances of")
    if any(call.queries is not None or call.keys is not None for call in calls):
        raise InputError(
            "the model attends to keys that are learned or made of several vectors, expected keys with one place each"
        )
    return [_of_call(call, layouts[0] if layouts else None) for call in calls]


def _of_call(call: Call, bare: Layout | None) -> Tensor:
    """`[heads]`; `bare` is the layout without class vectors."""
    coords, lying = _places(call.layout, bare)
    heads = call.q.shape[1]
    total, count = torch.zeros(heads, dtype=torch.float64), 0
    for first, end in zip(call.layout.offsets[:-1].tolist(), call.layout.offsets[1:].tolist(), strict=True):
        rows = [row for row in range(first, end) if bool(lying[row])]
        if not rows:
            continue
        weights = attention_weights(
            call.attention, call.q, call.k, call.layout, call.key_layout, call.parameters, rows=rows
        )
        kept = lying[weights.key]
        query, key = weights.query[kept], weights.key[kept]
        shares = weights.values[kept].double().expand(-1, heads)
        apart = (coords[query] - coords[key]).norm(dim=1)[:, None]
        far, whole = (
            torch.zeros(end - first, heads, dtype=torch.float64).index_add(0, query - first, each)
            for each in (shares * apart, shares)
        )
        total += (far / whole.where(whole > 0, 1)).sum(0)
        count += len(rows)
    return total / max(1, count)


def _places(layout: Layout, bare: Layout | None) -> tuple[Tensor, Tensor]:
    """`[t, n]` the coordinates of each row, and `[t]` whether it has some: a class vector has none."""
    known = layout if bare is None else bare
    if known.coords is None:
        raise InputError("the sets have no coordinates, expected some: distances are those of places")
    lying = torch.ones(layout.total, dtype=torch.bool)
    if bare is None:
        return known.coords.double(), lying
    lying = layout.index > 0
    coords = known.coords.new_zeros(layout.total, known.coords.shape[1], dtype=torch.float64)
    coords[lying] = known.coords.double()
    return coords, lying


def even_distance(batch: Batch) -> float:
    """What `attention_distances` gives for a head that weighs all vectors of a set alike.

    Raises:
        InputError: sets without coordinates.
    """
    layout = batch.inputs.layout
    if layout.coords is None:
        raise InputError("the sets have no coordinates, expected some: distances are those of places")
    each = [torch.cdist(c, c).mean(1) for c in layout.coords.double().split(layout.lengths.tolist()) if len(c)]
    return float(torch.cat(each).mean()) if each else 0.0


def plot_distances(distances: Sequence[Sequence[float] | Tensor], axis: Any, even: float | None = None) -> None:
    """A point for each head over the number of its layer, on an axis of matplotlib; `even` becomes a dotted line."""
    for layer, heads in enumerate(distances, 1):
        points = sorted(float(each) for each in heads)
        axis.plot([layer] * len(points), points, "o", color="#2f6db5", alpha=0.7)
    if even is not None:
        axis.axhline(even, linestyle=":", color="#30343f", label="all alike")
    most = max([even or 0.0, *(float(each) for heads in distances for each in heads)])
    axis.set(xlabel="layer", ylabel="mean attention distance", xticks=range(1, len(distances) + 1))
    axis.set(xlim=(0.5, len(distances) + 0.5), ylim=(0, 1.1 * most or 1))
