"""One output vector by numbers: its query, every key it may attend to, score, weight, value and the weighted sum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from regard.attention.spec.attention import Attention
from regard.attention.verb import attend
from regard.data.batch import collate
from regard.data.examples import Dataset, Example
from regard.errors import InputError
from regard.inspector.calls import Call, record
from regard.inspector.steps import step
from regard.inspector.titles import titles
from regard.models.model import Place, Places, places_of
from regard.sets import Layout

__all__ = [
    *("Explanation", "Heard", "Located", "by_numbers", "chosen_example", "explain_example", "explain_run", "joined"),
    "located",
]


@dataclass(frozen=True)
class Heard:
    """One key that a query attends to; `index`, `span` and `name` as those of the query in an `Explanation`."""

    index: int
    span: str
    name: str
    key: tuple[float, ...]
    score: float
    weight: float
    value: tuple[float, ...]


@dataclass(frozen=True)
class Explanation:
    """How one head makes one output vector: out = sum_j weight_j value_j.

    Attributes:
        attention: text form of the attention.
        index: of the query among the set's inputs, the first where it was made of several; -1 for a class vector.
        span: the index, the first and the last one, or "class". name: what these inputs are called.
        query: its query vector.
        heard: every key that the pattern allows, in order.
        output: the weighted sum of the values, from these numbers.
        model_output: what the model itself computed.
        title: what the attention is called in its model.
    """

    attention: str
    index: int
    span: str
    name: str
    query: tuple[float, ...]
    heard: tuple[Heard, ...]
    output: tuple[float, ...]
    model_output: tuple[float, ...]
    title: str = ""

    def __str__(self) -> str:
        wide = max([5, *(len(each.span) for each in self.heard)])
        lines = [
            f"{self.title}: {self.attention}" if self.title else self.attention,
            f"query {self.span} {self.name!r}: q = {_vector(self.query)}",
            "",
            f"{'key':>{wide}}  {'':16}{'score':>9}{'weight':>9}  k, v",
        ]
        lines += [
            f"{each.span:>{wide}}  {each.name[:16]:16}{each.score:>9.4f}{each.weight:>9.4f}  "
            f"{_vector(each.key)}, {_vector(each.value)}"
            for each in self.heard
        ]
        total = sum(each.weight for each in self.heard)
        lines += [
            f"{'sum':>{wide}}  {'':16}{'':9}{total:>9.4f}",
            "",
            f"weighted sum of v  {_vector(self.output)}",
            f"the model's output {_vector(self.model_output)}",
        ]
        return "\n".join(lines)


def _vector(numbers: Sequence[float], most: int = 8) -> str:
    shown = ", ".join(f"{x:.4g}" for x in numbers[:most])
    return f"[{shown}]" if len(numbers) <= most else f"[{shown}, ... {len(numbers)} numbers]"


@torch.no_grad()
def by_numbers(call: Call, row: int, head: int, place: Place, places: Places, title: str = "") -> Explanation:
    """One output vector of a call.

    Args:
        row: of the queries. place: what it stands for. places: what each vector of the keys' set stands for.
        title: what the attention is called.
    """
    theirs = None if call.keys is None else joined(places, call.keys)
    found = step(call, row, head)
    heard = tuple(
        Heard(
            *_named(places[int(call.key_layout.index[key])] if theirs is None else theirs[key]),
            tuple(k),
            score,
            weight,
            tuple(v),
        )
        for key, k, score, weight, v in zip(
            *(x.tolist() for x in (found.keys, found.k, found.score, found.weight, found.v)), strict=True
        )
    )
    query, output, model_output = (tuple(x.tolist()) for x in (found.query, found.out, found.model_out))
    return Explanation(repr(call.attention), *_named(place), query, heard, output, model_output, title)


def _named(place: Place) -> tuple[int, str, str]:
    return place.inputs[0] if place.inputs else -1, place.span, place.name


def explain_example(query: int = 1) -> Explanation:
    """Four vectors whose numbers can be worked by hand: the words of "I saw a saw", two of them alike.

    q = x W_q with W_q = [[2, 0], [0, 1]], k = x, v = x W_v with W_v = [[1, 1], [0, 1]]; scores are q . k / sqrt(2).

    Raises:
        InputError: a query other than 0 to 3.

    >>> [round(each.weight, 3) for each in explain_example(query=0).heard]
    [0.308, 0.308, 0.075, 0.308]
    """
    words = ("I", "saw", "a", "saw")
    if not 0 <= query < len(words):
        raise InputError(f"query {query} was asked for, expected 0 to {len(words) - 1}: the example has four vectors")
    x = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]])
    q = x @ torch.tensor([[2.0, 0.0], [0.0, 1.0]])
    v = x @ torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    layout, attention = Layout.of_lengths([4]), Attention()
    q, k, v = q[:, None], x[:, None], v[:, None]
    out = attend(attention, q, k, v, layout)
    places = [Place(range(n, n + 1), word) for n, word in enumerate(words)]
    return by_numbers(Call(attention, q, k, v, layout, layout, {}, out), query, 0, places[query], places)


@dataclass(frozen=True)
class Located:
    """One output vector of a call, and the example that it is made of; the other fields are the arguments of `by_numbers`."""

    example: Example
    call: Call
    row: int
    head: int
    place: Place
    places: Places
    title: str

    def by_numbers(self) -> Explanation:
        """The vector by its numbers."""
        return by_numbers(self.call, self.row, self.head, self.place, self.places, self.title)


def explain_run(
    run: Any,
    inputs: Iterable[Dataset],
    query: int | Literal["class"],
    layer: int = 0,
    head: int = 0,
    set: int = 0,  # noqa: A002
) -> Explanation:
    """One output vector of a trained model on an input of one's own.

    Args:
        run: an open run. inputs: as `run.inputs(paths)`, or `[run.examples(texts, texts)]`.
        query: index of an input of the set, where several became one vector any of theirs; "class" for the class vector.
        layer, head: counted from 0. set: which of the inputs' sets.

    Raises:
        InputError: an index that is not there; a model without attention.
    """
    return located(run, inputs, query, layer, head, set).by_numbers()


def located(
    run: Any,
    inputs: Iterable[Dataset],
    query: int | Literal["class"],
    layer: int = 0,
    head: int = 0,
    set: int = 0,  # noqa: A002
) -> Located:
    """The call and the row of what `explain_run` explains, with the same arguments and errors."""
    example = chosen_example(inputs, set)
    # As the model reads it: a task may change its inputs.
    batch = run.task.read(collate([example]))
    calls = record(run.model, lambda: run.model(batch))
    if not 0 <= layer < len(calls):
        raise InputError(
            f"layer {layer} was asked for, expected one of the model's {len(calls)} attention layers, from 0"
        )
    call = calls[layer]
    if not 0 <= head < call.q.shape[1]:
        raise InputError(f"head {head} was asked for, expected 0 to {call.q.shape[1] - 1}")
    whole = [x for x, made in ((call.layout, call.queries), (call.key_layout, call.keys)) if made is None]
    count = 1 + max([-1, *(int(x.index.max()) for x in whole if x.total)])
    places = places_of(run.model, len(example.values), count, example.tokens)
    if call.queries is None:
        row = _row_of(query, places, call.layout)
        place = places[int(call.layout.index[row])]
    else:
        ours = joined(places, call.queries)
        row = _row_of(query, ours, call.layout)
        place = ours[row]
    names = {module: name for name, module in run.model.named_modules()}
    titled = titles([(names.get(each.module, "attention"), each.kind) for each in calls])
    return Located(example, call, row, head, place, places, titled[layer])


def joined(places: Places, made: Sequence[range]) -> Places:
    """What vectors stand for that are each made of several: the inputs and the names of the first to the last of them."""
    joined = []
    for n, places_of_one in enumerate(made):
        if not places_of_one:
            joined.append(Place(range(0), f"learned {n}", "learned"))
            continue
        several = places[places_of_one.start : places_of_one.stop]
        inputs = [each.inputs for each in several if each.inputs]
        span = range(inputs[0].start, inputs[-1].stop) if inputs else range(0)
        names = several[0].name if len(several) == 1 else f"{several[0].name} ... {several[-1].name}"
        joined.append(Place(span, names))
    return joined


def chosen_example(inputs: Iterable[Dataset], set: int) -> Example:  # noqa: A002
    """The example of that number among those of some data sets.

    Raises:
        InputError: there are fewer.
    """
    examples = [dataset[i] for dataset in inputs for i in range(len(dataset))]
    if not 0 <= set < len(examples):
        raise InputError(
            f"set {set} was asked for, expected 0 to {len(examples) - 1}: the input has {len(examples)} sets"
        )
    return examples[set]


def _row_of(query: int | str, places: Places, layout: Layout) -> int:
    """The row of a call whose place is the one that is asked for; learned vectors are counted as they are."""
    if places and all(place.none == "learned" for place in places):
        if query in range(len(places)):
            return int(query)
        raise InputError(f"query {query} was asked for, expected 0 to {len(places) - 1}: the layer's learned vectors")
    asked = [n for n, place in enumerate(places) if (query in place.inputs if place.inputs else query == "class")]
    rows = [] if not asked else (layout.index == asked[0]).nonzero().flatten().tolist()
    if not rows:
        known = [place.inputs[-1] for place in places if place.inputs]
        expected = [f"0 to {max(known)}"] if known else []
        expected += ["class"] if any(not place.inputs for place in places) else []
        listed = f"expected {' or '.join(expected)}: the set's vectors" if expected else "but the set has no vectors"
        raise InputError(f"query {query} was asked for, {listed}")
    return rows[0]
