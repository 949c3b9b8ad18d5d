"""Which vectors of what is read each written id looks at: the cross-attention of a model that writes sequences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from regard.attention.verb import attention_weights
from regard.data.batch import collate
from regard.data.examples import Dataset, VectorSet
from regard.errors import InputError
from regard.inspector.calls import Call, record
from regard.inspector.explain import Explanation, by_numbers, chosen_example
from regard.models.model import Place, Places, places_of
from regard.models.sequences import SequenceModel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from regard.vectors.lettering import Lettering

__all__ = ["Alignment", "align_run", "explain_written"]

_WIDE = 100  # the longest line of a table, if a name and one column fit into it
_CELL = (5, 10)  # the narrowest and the widest column
_NAME = 16
_FILLED = "#2f6db5"


@dataclass(frozen=True)
class Alignment:
    """How much each id that is written attends to each vector that is read.

    Attributes:
        text: what is written. given: whether it was given, or is what the model writes.
        attention: text form. layer, head: None for the mean over all.
        source: what the vectors are called. written: the ids.
        weights: a row for each id.
    """

    text: str
    given: bool
    attention: str
    layer: int | None
    head: int | None
    source: tuple[str, ...]
    written: tuple[str, ...]
    weights: tuple[tuple[float, ...], ...]

    def __str__(self) -> str:
        said = "given" if self.given else "written"
        layer, head = ("all" if each is None else each for each in (self.layer, self.head))
        lines = [f"{said}: {self.text}", f"{self.attention}: weights of layer {layer}, head {head}"]
        left = min(_NAME, max([4, *map(len, self.written)]))
        shortest, widest = _CELL
        widths = [min(widest, max(shortest, len(name) + 1)) for name in self.source]
        first = 0
        while first < len(self.source):
            until, wide = first + 1, left + widths[first]
            while until < len(self.source) and wide + widths[until] <= _WIDE:
                wide, until = wide + widths[until], until + 1
            columns = range(first, until)
            lines += ["", " " * left + "".join(f"{_cut(self.source[j], widths[j] - 1):>{widths[j]}}" for j in columns)]
            for name, row in zip(self.written, self.weights, strict=True):
                cells = "".join(f"{_cell(row[j]):>{widths[j]}}" for j in columns)
                lines.append(f"{_cut(name, left):{left}}{cells}")
            first = until
        return "\n".join(lines)

    def plot(self, letters: Lettering | None = None) -> Figure:
        """A figure: a row for each id that is written, a column for each vector that is read, darker for more weight.

        Args:
            letters: how names are drawn; None is by the installed fonts that have the characters.
        """
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.figure import Figure

        from regard.vectors.lettering import lettering

        letters = letters or lettering([*self.source, *self.written])
        rows, columns = len(self.written), len(self.source)
        figure = Figure(figsize=(min(2 + 0.3 * columns, 60), min(1.5 + 0.3 * rows, 60)), layout="constrained")
        axis = figure.subplots()
        weights = np.array(self.weights).reshape(rows, columns)
        colors = LinearSegmentedColormap.from_list("", ["white", _FILLED])
        image = axis.imshow(weights, cmap=colors, vmin=0, vmax=max(1.0, weights.max(initial=0)), aspect="auto")
        style: Any = {"fontsize": 9, "family": list(letters.families), "parse_math": False}
        axis.set_xticks(range(columns), [letters.drawn(name) for name in self.source], rotation=90, **style)
        axis.set_yticks(range(rows), [letters.drawn(name) for name in self.written], **style)
        axis.xaxis.tick_top()
        axis.tick_params(length=0)
        figure.colorbar(image, shrink=0.6, label="weight")
        return figure


def _cut(name: str, width: int) -> str:
    return name if len(name) <= width else f"{name[: width - 1]}…"


def _cell(weight: float) -> str:
    return f"{weight:.2f}" if round(weight, 2) else "·"


@dataclass(frozen=True)
class _Written:
    """What a model wrote for an example, or was given, and every call of its cross-attentions.

    Args:
        layers: for each cross-attention its calls, whose rows together are one for each id.
    """

    ids: tuple[int, ...]
    text: str
    names: tuple[str, ...]
    layers: list[list[Call]]
    places: Places


def align_run(
    run: Any,
    inputs: Iterable[Dataset],
    layer: int | None = None,
    head: int | None = None,
    set: int = 0,  # noqa: A002
    target: VectorSet | None = None,
) -> Alignment:
    """The cross-attention of a trained model while it writes what it writes for an input, or what is given.

    Args:
        run: an open run. inputs: as in `explain_run`.
        layer, head: counted from 0; None for the mean over all. set: which of the inputs' sets.
        target: the ids to write, with the one that ends them; None for those that the model finds.

    Raises:
        InputError: a run that writes no sequences, or an index that is not there.
    """
    written = _written(run, inputs, set, target)
    layers = written.layers if layer is None else [_at(written.layers, layer)]
    weights = torch.stack([_weights(calls) for calls in layers]).mean(0)
    if head is not None and not 0 <= head < len(weights):
        raise InputError(f"head {head} was asked for, expected 0 to {len(weights) - 1}")
    chosen = weights.mean(0) if head is None else weights[head]
    order = layers[0][0].key_layout.index.tolist()
    return Alignment(
        written.text,
        target is not None,
        repr(layers[0][0].attention),
        layer,
        head,
        tuple(written.places[place].name for place in order),
        written.names,
        tuple(map(tuple, chosen.tolist())),
    )


def explain_written(
    run: Any,
    inputs: Iterable[Dataset],
    query: int,
    layer: int = 0,
    head: int = 0,
    set: int = 0,  # noqa: A002
    target: VectorSet | None = None,
) -> Explanation:
    """By numbers how the id at place `query` of what is written attends to what is read; the rest as in `align_run`.

    Raises:
        InputError: as `align_run`.
    """
    written = _written(run, inputs, set, target)
    calls = _at(written.layers, layer)
    if not 0 <= query < len(written.ids):
        raise InputError(f"query {query} was asked for, expected 0 to {len(written.ids) - 1}: the ids that are written")
    if not 0 <= head < calls[0].q.shape[1]:
        raise InputError(f"head {head} was asked for, expected 0 to {calls[0].q.shape[1] - 1}")
    call, row = [(call, row) for call in calls for row in range(len(call.q))][query]
    return by_numbers(call, row, head, Place(range(query, query + 1), written.names[query]), written.places)


def _at(layers: Sequence[list[Call]], layer: int) -> list[Call]:
    if not 0 <= layer < len(layers):
        raise InputError(
            f"layer {layer} was asked for, expected one of the model's {len(layers)} cross-attentions, from 0"
        )
    return layers[layer]


def _weights(calls: Sequence[Call]) -> Tensor:
    """`[heads, ids, vectors]`"""
    rows = [
        attention_weights(call.attention, call.q, call.k, call.layout, call.key_layout, call.parameters).dense()
        for call in calls
    ]
    return torch.cat(rows, dim=1)


@torch.no_grad()
def _written(run: Any, inputs: Iterable[Dataset], set: int, target: VectorSet | None) -> _Written:  # noqa: A002
    model, task = run.model, run.task
    if not isinstance(model, SequenceModel):
        raise InputError(f"the model is {type(model).__name__}, which writes no sequences, expected one that does")
    example = chosen_example(inputs, set)
    model.eval()
    if target is None:
        found = task.decode(collate([example]))[0][0]
        ids = (*found.ids, *((task.end,) if found.finished else ()))
        target = VectorSet(np.array(ids, np.int64))
    ids = tuple(target.values.tolist())
    if not ids:
        raise InputError(f"for {example.name!r} nothing is written, expected at least one id to explain")
    batch = collate([replace(example, target=target, target_kind="sets")])
    calls = record(model, lambda: model(batch))
    layers = []
    for module in model.cross_attentions():
        layers.append([call for call in calls if call.module is module])
        if sum(len(call.q) for call in layers[-1]) != len(ids):
            raise InputError(f"{_named(module)} makes other calls than one for each id, expected an Attention")
    vectors = layers[0][0].key_layout.total
    places = places_of(getattr(model, "encoder", model), len(example.values), vectors, example.tokens)
    return _Written(ids, task.text(ids), tuple(task.entries[n] for n in ids), layers, places)


def _named(module: nn.Module) -> str:
    attention = getattr(module, "attention", None)
    return type(module).__name__ if attention is None else repr(attention)
