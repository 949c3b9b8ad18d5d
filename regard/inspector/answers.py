"""What a page may ask of an inspection, and what it is answered. Nothing is computed before it is asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from regard.attention.spec.attention import Attention
from regard.errors import InputError
from regard.inspector.answering import Answering
from regard.inspector.asked import Answer, Asked, packed
from regard.inspector.beside import Otherwise
from regard.inspector.beyond import gradients, rollout, whole_weights
from regard.inspector.inspection import Inspection
from regard.inspector.material import material
from regard.inspector.seen import Seen
from regard.inspector.sketch import Sketch
from regard.inspector.statistics import head_statistics
from regard.inspector.steps import step
from regard.inspector.switching import Off
from regard.inspector.titles import titles
from regard.inspector.weights import at_once, head_weights

__all__ = ["ASKED", "CELLS", "Questions", "titles_of"]

Inspected = Inspection | Sketch
CELLS = 512
"""The side of a matrix, in cells, above which several pairs share a cell."""
SAMPLED = 256
"""Queries that statistics look at."""
_SWITCHED = 64  # changes at once
_STEPS = 24 << 20  # bytes of steps that a file may hold
_PROBABILITIES = 5  # predictions of one vector that are named


class Questions(Answering):
    """Answers questions about an inspection; `ASKED` names all.

    Args:
        inspection: what is looked at. beside: what its matrices are compared with, asked for by `"of": "beside"`, or None.
    """

    def __init__(self, inspection: Inspected, beside: Inspection | Otherwise | None = None) -> None:
        super().__init__(inspection.name, inspection.title, tuple(ASKED))
        self.inspection, self.beside = inspection, beside

    def found(self, name: str, asked: Asked) -> Answer:
        if "of" in asked.fields:
            if name != "matrix" or asked.fields["of"] != "beside" or self.beside is None:
                raise InputError(
                    f"{name!r} of {asked.fields['of']!r} was asked, expected a matrix of what stands beside"
                )
            return matrix(self.beside, asked)
        found = ASKED[name](self.inspection, asked)
        if name != "overview" or self.beside is None:
            return found
        axes, layers = _described(self.beside)
        return Answer(
            {**found.content, "beside": {"name": self.beside.name, "axes": axes, "layers": layers}}, found.buffers
        )

    def all(self, layer: int | None = None) -> Iterator[dict[str, Any]]:
        """All that a page asks of every layer, or of one alone; the steps of each query where they are not too many.

        Raises:
            InputError: a layer that is not there.
        """
        seen = self.inspection.seen
        yield {"ask": "overview"}
        yield {"ask": "place"}
        chosen = range(len(seen)) if layer is None else [_layer(self.inspection, Asked({"layer": layer}))]
        if self.beside is not None:
            for n, other in enumerate(self.beside.seen):
                for head in range(other.heads):
                    yield {"ask": "matrix", "of": "beside", "layer": n, "head": head}
        size = sum(_size_of_steps(seen[n]) for n in chosen)
        for n in chosen:
            yield {"ask": "heads", "layer": n}
            for head in range(seen[n].heads):
                yield {"ask": "matrix", "layer": n, "head": head}
                for query in range(len(seen[n].queries.names)) if size <= _STEPS else ():
                    yield {"ask": "step", "layer": n, "head": head, "query": query}


def _size_of_steps(seen: Seen) -> int:
    d, e = seen.calls[0].q.shape[-1], seen.calls[0].v.shape[-1]
    return 4 * seen.heads * len(seen.queries.names) * len(seen.keys.names) * (d + e + 4)


def _layer(inspection: Inspected | Otherwise, asked: Asked) -> int:
    return asked.index("layer", len(inspection.seen), "layers with attention")


def _head(inspection: Inspected | Otherwise, asked: Asked) -> tuple[Seen, int]:
    seen = inspection.seen[_layer(inspection, asked)]
    return seen, asked.index("head", seen.heads, "heads")


def titles_of(inspection: Inspected | Otherwise) -> list[str]:
    """What each attention of an inspection is called."""
    return titles([(seen.module, seen.kind) for seen in inspection.seen])


def _described(inspection: Inspected | Otherwise) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The axes that there are, and each attention with the numbers of its axes."""
    axes: list[dict[str, Any]] = []
    layers = []
    for seen, title in zip(inspection.seen, titles_of(inspection), strict=True):
        numbers = []
        for axis in (seen.queries, seen.keys):
            known = {"of": axis.of, "names": list(axis.names), "spans": [list(span) for span in axis.spans]}
            if known not in axes:
                axes.append(known)
            numbers.append(axes.index(known))
        layer = {"title": title, "kind": seen.kind, "heads": seen.heads, "attention": seen.attention}
        layers.append(layer | {"queries": numbers[0], "keys": numbers[1]})
    return axes, layers


def overview(inspection: Inspected, asked: Asked) -> Answer:
    """What there is: layers and heads, what queries and keys are called, what is predicted."""
    axes, layers = _described(inspection)
    content: dict[str, Any] = {"run": inspection.name, "input": inspection.title, "axes": axes, "layers": layers}
    if isinstance(inspection, Sketch):
        return Answer({**content, "plan": inspection.plan, "zeros": inspection.vectors is None})
    return Answer({**content, "prediction": shown(inspection.prediction)})


def place(inspection: Inspected, asked: Asked) -> Answer:
    """What weights can be shown on: a picture, a sound, a graph, or nothing."""
    if isinstance(inspection, Sketch):
        return Answer({"kind": "none"})
    return material(inspection.example, inspection.reader, inspection.samples, inspection.boxes, inspection.grid)


@torch.no_grad()
def matrix(inspection: Inspected | Otherwise, asked: Asked) -> Answer:
    """The weights of a head as cells `[rows, columns]`, each the largest of the pairs that share it; -inf where all are hidden.

    Beside them the smallest and the largest sum of the weights of the queries of each row of cells.
    """
    seen, head = _head(inspection, asked)
    order, columns = seen.rows(), seen.columns()
    rows = asked.stretch("rows", len(order))
    keys = asked.stretch("keys", len(columns))
    step = max(1, math.ceil(len(rows) / CELLS)), max(1, math.ceil(len(keys) / CELLS))
    cells, sums = [], []
    named = columns[keys.start : keys.stop]
    # A stretch of columns is no copy.
    chosen = slice(keys.start, keys.stop) if torch.equal(named, torch.arange(keys.start, keys.stop)) else named
    chunk = max(1, at_once(seen.calls[0]) // step[0]) * step[0]
    for begin in range(rows.start, rows.stop, chunk):
        weights = _weights_of(seen, order[begin : min(rows.stop, begin + chunk)], head)
        hidden = weights.isneginf()
        sums.append((torch.where(hidden, 0, weights) if bool(hidden.any()) else weights).sum(1))
        cells.append(_largest(weights[:, chosen], step))
    total = torch.cat(sums)[:, None]
    least, most = -_largest(-total, (step[0], 1)), _largest(total, (step[0], 1))
    picture = torch.cat(cells)
    content = {
        "rows": [rows.start, rows.stop],
        "keys": [keys.start, keys.stop],
        "step": list(step),
        "shape": list(picture.shape),
    }
    return Answer(content, (packed(picture), packed(least), packed(most)))


def steps(inspection: Inspected, asked: Asked) -> Answer:
    """One output vector of one head: q, each key, its product, bias, weight and value, the sum, W^O and the residual.

    What follows from these is left to the page: the score, `scale * product + bias`, and what the other heads add. No bias is
    an empty array.
    """
    seen, head = _head(inspection, asked)
    rows = seen.rows()
    number, row = rows[asked.index("query", len(rows), "queries")]
    call = seen.calls[number]
    found = step(call, row, head)
    attention = call.attention
    places = torch.empty_like(seen.columns()).index_copy(0, seen.columns(), torch.arange(len(seen.keys.names)))
    buffers = [
        *(found.query, found.product, found.bias if attention.bias is not None else found.bias[:0]),
        *(found.weight, found.out, found.model_out, found.k, found.v),
    ]
    around = None if call.module is None or len(seen.calls) > 1 else inspection.around.get(call.module)
    if around is not None and around.gives is not None and around.reads is not None:
        weight, width = around.projected.weight.detach(), found.model_out.shape[0]
        own = weight[:, head * width : (head + 1) * width] @ found.model_out
        every = weight @ call.out[row].flatten()
        bias = 0 if around.projected.bias is None else around.projected.bias.detach()
        buffers += [own, around.gives[row], every + bias, around.reads[row]]
        if around.before is not None and around.after is not None:
            buffers += [around.before[row], around.after[row]]
    content = {
        "keys": places[found.keys].tolist(),
        "hidden": int((call.key_layout.set_of_row == call.layout.set_of_row[row]).sum()) - len(found.keys),
        "scale": found.scale,
        "product": _PRODUCTS.get(type(attention.score).__name__, "score of q and k"),
        "bias": repr(attention.bias),
        "normalizer": type(attention.normalizer).__name__,
        "formula": repr(attention),
        "norm": around is not None and around.norm,
        "turned": inspection.turned(call.module),
    }
    return Answer(content, tuple(packed(each) for each in buffers))


_PRODUCTS = {
    "Dot": "q · k",
    "Additive": "w · tanh(q + k)",
    "Separable": "LeakyReLU(a · q + b · k)",
    "Kernel": "φ(q) · φ(k)",
}


def heads(inspection: Inspected, asked: Asked) -> Answer:
    """What each head of a layer does on the whole, over at most `SAMPLED` queries."""
    seen = inspection.seen[_layer(inspection, asked)]
    order = seen.rows()
    count = min(len(order), SAMPLED)
    chosen = [order[n * len(order) // count] for n in range(count)]
    parts = [
        head_statistics(call, torch.tensor([row for which, row in chosen if which == n], dtype=torch.int64))
        for n, call in enumerate(seen.calls)
        if any(which == n for which, _ in chosen)
    ]

    def mean(name: str) -> list[Any]:
        total = sum(getattr(part, name) * part.rows for part in parts) / count
        return [None if math.isnan(x) else x for x in total.tolist()]

    content = {"rows": count, "queries": len(order), "entropy": mean("entropy"), "first": mean("first")}
    if seen.kind == "self":
        unit = "places" if seen.calls[0].layout.coords is None else "the units of coordinates"
        content |= {"unit": unit} | {
            name: mean(field)
            for name, field in (("distance", "distance"), ("self", "itself"), ("previous", "previous"))
        }
    return Answer(content)


def switched(inspection: Inspected, asked: Asked) -> Answer:
    """What is predicted without some heads, keys or pairs: `{"off": [{"layer": 0, "head": 1, "key": 3}]}`, as `Off` says.

    Without a layer, a key is hidden in all attentions to the same keys.
    """
    if isinstance(inspection, Sketch):
        raise InputError("something was to be switched off without a run, expected a run that predicts")
    changes: list[Off] = []
    for one in asked.several("off", _SWITCHED):
        layer = one.maybe("layer", len(inspection.seen), "layers with attention")
        seen = inspection.seen if layer is None else [inspection.seen[layer]]
        key = one.maybe("key", len(seen[0].keys.names), "keys")
        if layer is None and key is None:
            raise InputError("all layers were to be switched off, expected a layer, or a key")
        for each in seen:
            if layer is None and each.keys != seen[0].keys:
                continue
            head = one.maybe("head", each.heads, "heads")
            query = None if key is None else one.maybe("query", len(each.queries.names), "queries")
            changes.append(
                Off(inspection.module_of(each), head, _place(each, query, "query"), _place(each, key, "key"))
            )
    return Answer({"prediction": shown(inspection.without(changes))})


def rolled(inspection: Inspected, asked: Asked) -> Answer:
    """Attention rollout from the first layer up to one: of those between, the layers to the same vectors."""
    last = _layer(inspection, asked)
    chosen = inspection.seen[last]
    if chosen.kind != "self" or chosen.queries != chosen.keys:
        raise InputError(
            f"rollout was asked of a layer of the kind {chosen.kind!r}, expected self-attention of whole sets"
        )
    wanted = "self", chosen.queries, chosen.keys
    alike = [each for each in inspection.seen[: last + 1] if (each.kind, each.queries, each.keys) == wanted]
    return _whole(rollout([whole_weights(each) for each in alike]))


def gradient(inspection: Inspected, asked: Asked) -> Answer:
    """The weights of a head times the gradient of what is predicted, of the vector of a query where each has a prediction."""
    if isinstance(inspection, Sketch):
        raise InputError("a gradient was asked for without a run, expected a run that predicts")
    seen, head = _head(inspection, asked)
    whole_weights(seen)
    query = asked.index("query", len(seen.queries.names), "queries")
    found = gradients(seen.calls[0], lambda: inspection.likeliest(seen, query))[head]
    return _whole(found[[row for _, row in seen.rows()]][:, seen.columns()])


def _whole(cells: Tensor) -> Answer:
    """A matrix of all pairs, in cells of several where they are many."""
    rows, keys = cells.shape
    step = max(1, math.ceil(rows / CELLS)), max(1, math.ceil(keys / CELLS))
    picture = _largest(cells, step)
    content = {"rows": [0, rows], "keys": [0, keys], "step": list(step), "shape": list(picture.shape)}
    return Answer(content, (packed(picture),))


def _place(seen: Seen, number: int | None, which: str) -> int | None:
    """The place in its set of a query or a key."""
    if number is None:
        return None
    if len(seen.calls) > 1 or not isinstance(seen.calls[0].attention, Attention):
        if which == "query":
            raise InputError(
                "a query that is computed step by step was chosen, expected a key, or a head to switch off"
            )
        return number
    call = seen.calls[0]
    if which == "query":
        return int(call.layout.index[seen.rows()[number][1]])
    return int(call.key_layout.index[seen.columns()[number]])


def shown(prediction: Mapping[str, Any]) -> dict[str, Any]:
    """A written prediction without its name, with the likeliest labels alone, and NaN as a text, because JSON has none."""
    return {name: _bounded(value) for name, value in prediction.items() if name != "name"}


def _bounded(value: Any) -> Any:
    if isinstance(value, dict):
        if len(value) > _PROBABILITIES and all(isinstance(each, float) for each in value.values()):
            best = sorted(value, key=lambda name: -value[name])[:_PROBABILITIES]
            return {name: _bounded(value[name]) for name in best}
        return {name: _bounded(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_bounded(each) for each in value[:CELLS]]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _weights_of(seen: Seen, part: list[tuple[int, int]], head: int) -> Tensor:
    """`[queries, keys]` of some `rows()` of an attention, keys in packed order."""
    if len(seen.calls) == 1:
        return head_weights(seen.calls[0], torch.tensor([row for _, row in part], dtype=torch.int64), head)
    return torch.cat([head_weights(seen.calls[n], torch.tensor([row]), head) for n, row in part])


def _largest(x: Tensor, step: tuple[int, int]) -> Tensor:
    """The maximum of each cell of so many rows and columns."""
    down, across = step
    if step == (1, 1):
        return x
    tall, wide = (-(-size // width) * width for size, width in zip(x.shape, step, strict=True))
    padded = torch.nn.functional.pad(x, (0, wide - x.shape[1], 0, tall - x.shape[0]), value=-torch.inf)
    return padded.view(tall // down, down, wide // across, across).amax((1, 3))


ASKED: dict[str, Callable[[Inspected, Asked], Answer]] = {
    "overview": overview,
    "place": place,
    "matrix": matrix,
    "step": steps,
    "heads": heads,
    "switched": switched,
    "rollout": rolled,
    "gradient": gradient,
}
"""Every question by name, and what answers it."""
