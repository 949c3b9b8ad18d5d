"""One output vector by numbers: its query, every key it may attend to, score, weight, value and the weighted sum."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from regard.attention.adapters.base import Adapter
from regard.attention.attend import attend, attention_weights
from regard.attention.dropout import Dropout
from regard.attention.pairs.pairs import Pairs
from regard.attention.problem import Tensors
from regard.attention.spec.attention import Attention
from regard.data.batch import Batch, collate
from regard.data.examples import Dataset
from regard.errors import InputError
from regard.layers.attention import Attend
from regard.models.model import Place, Places, places_of
from regard.sets import Layout

__all__ = ["Explanation", "Heard", "explain_example", "explain_run"]


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
    """

    attention: str
    index: int
    span: str
    name: str
    query: tuple[float, ...]
    heard: tuple[Heard, ...]
    output: tuple[float, ...]
    model_output: tuple[float, ...]

    def __str__(self) -> str:
        wide = max([5, *(len(each.span) for each in self.heard)])
        lines = [
            self.attention,
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


@dataclass(frozen=True)
class _Call:
    """One call of `attend`: what went in and what came out."""

    attention: Attention
    q: Tensor
    k: Tensor
    v: Tensor
    layout: Layout
    key_layout: Layout
    parameters: dict[str, Tensor]
    out: Tensor

    @torch.no_grad()
    def explain(self, row: int, head: int, places: Places) -> Explanation:
        """Row `row` of head `head` by numbers; places are those of the set's hidden vectors."""
        weights = attention_weights(
            self.attention, self.q, self.k, self.layout, self.key_layout, self.parameters, rows=[row]
        )
        heads, key_heads = self.q.shape[1], self.k.shape[1]
        pairs = Pairs(self.layout, self.key_layout, weights.query, weights.key)
        k = self.k[weights.key].repeat_interleave(heads // key_heads, dim=1)
        v = self.v[weights.key].repeat_interleave(heads // key_heads, dim=1)
        scores = self.attention.scores(self.q[weights.query], k, pairs, self.parameters)
        bias = self.attention.bias
        if bias is not None and bias.has_values:
            v = v + bias.value_bias(pairs, self.parameters)
        allowed = self.attention.allows(pairs).expand(-1, heads)[:, head]
        heard = tuple(
            Heard(
                *_named(places[int(self.key_layout.index[key])]),
                tuple(k[p, head].tolist()),
                float(scores[p, head]),
                float(weights.values[p, head]),
                tuple(v[p, head].tolist()),
            )
            for p, key in enumerate(weights.key)
            if bool(allowed[p])
        )
        output = (weights.values[:, head, None] * v[:, head]).sum(0)
        named = _named(places[int(self.layout.index[row])])
        query, model_output = self.q[row, head].tolist(), self.out[row, head].tolist()
        return Explanation(
            repr(self.attention), *named, tuple(query), heard, tuple(output.tolist()), tuple(model_output)
        )


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
    return _Call(attention, q, k, v, layout, layout, {}, out).explain(query, 0, places)


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
    examples = [dataset[i] for dataset in inputs for i in range(len(dataset))]
    if not 0 <= set < len(examples):
        raise InputError(
            f"set {set} was asked for, expected 0 to {len(examples) - 1}: the input has {len(examples)} sets"
        )
    example = examples[set]
    batch = collate([example])
    calls = _record(run.model, batch)
    if not 0 <= layer < len(calls):
        raise InputError(
            f"layer {layer} was asked for, expected one of the model's {len(calls)} attention layers, from 0"
        )
    call = calls[layer]
    if not 0 <= head < call.q.shape[1]:
        raise InputError(f"head {head} was asked for, expected 0 to {call.q.shape[1] - 1}")
    count = 1 + max([-1, *(int(x.index.max()) for x in (call.layout, call.key_layout) if x.total)])
    places = places_of(run.model, len(example.values), count, example.tokens)
    return call.explain(_row_of(query, places, call.layout), head, places)


def _row_of(query: int | str, places: Places, layout: Layout) -> int:
    """The row of a call whose place is the one that is asked for."""
    asked = [n for n, place in enumerate(places) if (query in place.inputs if place.inputs else query == "class")]
    rows = [] if not asked else (layout.index == asked[0]).nonzero().flatten().tolist()
    if not rows:
        known = [place.inputs[-1] for place in places if place.inputs]
        expected = [f"0 to {max(known)}"] if known else []
        expected += ["class"] if any(not place.inputs for place in places) else []
        listed = f"expected {' or '.join(expected)}: the set's vectors" if expected else "but the set has no vectors"
        raise InputError(f"query {query} was asked for, {listed}")
    return rows[0]


def _record(model: nn.Module, batch: Batch) -> list[_Call]:
    """Every call of `attend` that the model makes for a batch, in order; an adapter makes several."""
    calls: list[_Call] = []

    def keep(module: nn.Module, given: tuple[Any, ...], out: Tensor) -> None:
        assert isinstance(module, Attend)
        q, k, v, layout, *rest = given
        tensors, key_layout = Tensors(q, k, v, dict(module.learned)), rest[0] if rest else layout
        if isinstance(module.attention, Adapter):
            module.attention.attend(verb, tensors, layout, key_layout, None)
        else:
            calls.append(_Call(module.attention, q, k, v, layout, key_layout, dict(module.learned), out))

    def verb(
        attention: Attention,
        tensors: Tensors,
        layout: Layout,
        key_layout: Layout | None = None,
        dropout: Dropout | None = None,
    ) -> Tensor:
        q, k, v, learned = tensors.q, tensors.k, tensors.v, dict(tensors.parameters)
        out = attend(attention, q, k, v, layout, key_layout, learned, dropout=dropout)
        calls.append(_Call(attention, q, k, v, layout, layout if key_layout is None else key_layout, learned, out))
        return out

    hooks = [module.register_forward_hook(keep) for module in model.modules() if isinstance(module, Attend)]
    try:
        with torch.no_grad():
            model.eval()(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return calls
