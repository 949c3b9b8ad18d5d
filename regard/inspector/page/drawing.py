"""The views of the page as SVG, drawn from the answers that the page gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from regard.errors import InputError, nearest
from regard.inspector.answering import Answering
from regard.inspector.asked import Answer, Asked
from regard.inspector.page.frames import Asks
from regard.inspector.page.placed import placed
from regard.inspector.page.svg import BLUE, GREY, HeatMap, color, document, label, line, named

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["View", "draw", "views_of", "with_pictures"]

_LINES = 120  # rows of names that lines are drawn between
_KEYS = 40  # of one vector, the heaviest first
_STRIP = 24  # numbers of a vector that are drawn
_MOST, _SWITCHED, _WORDS = 1 << 20, 64, 300  # of a question


@dataclass(frozen=True)
class View:
    """What is drawn: a view by its name on the page, and what is chosen there.

    Args:
        other: the layer and head beside, and whether they are of what stands beside the run. off: what is switched off.
        map: of positions. words: to place on a plane, the first of which is chosen.
    """

    name: str
    layer: int = 0
    head: int = 0
    query: int = 0
    other: tuple[int, int, bool] | None = None
    off: tuple[Mapping[str, int], ...] = ()
    map: int = 0
    words: tuple[str, ...] = field(default=())


def views_of(questions: Answering) -> tuple[str, ...]:
    """The names of the views that can be drawn; the first is the one to begin with."""
    content = questions.answer({"ask": "overview"}).content
    if "page" in content:
        return (str(content["page"]),)
    place = ("place",) if questions.answer({"ask": "place"}).content["kind"] != "none" else ()
    run = () if "plan" in content else ("switch", "rollout", "gradient")
    return ("matrix", "lines", "heads", "step", "compare", *place, *run)


def draw(questions: Answering, view: View) -> str:
    """A view as SVG.

    Raises:
        InputError: a view that is not there, a layer, a head or a query that is not there, or more than can be drawn.
    """
    known = views_of(questions)
    if view.name not in known:
        raise InputError(f"the view {view.name!r} was asked for: {nearest(view.name, known)}")
    return _DRAWN[view.name](questions, view)


def with_pictures(questions: Answering) -> Asks:
    """What answers the questions of a page, and draws its views: `{"ask": "svg", "view": "lines", "layer": 0, "head": 1}`."""

    def answer(question: Mapping[str, Any]) -> Answer:
        if question.get("ask") != "svg":
            return questions.answer(question)
        asked = Asked(question)
        other = asked.numbers("other", 3)
        numbers = {name: asked.index(name, _MOST, "at most") for name in ("layer", "head", "query", "map")}
        off = tuple(dict(each.fields) for each in asked.several("off", _SWITCHED))
        view = View(
            asked.text("view"),
            **numbers,
            other=(other[0], other[1], bool(other[2])) if other else None,
            off=off,
            words=tuple(asked.texts("words", _WORDS)),
        )
        return Answer({"svg": draw(questions, view)})

    return answer


def _head(questions: Answering, view: View) -> tuple[str, list[str], list[str], dict[str, Any]]:
    """The title, the names of queries and of keys, and the layer."""
    content = questions.answer({"ask": "overview"}).content
    layers, axes = content["layers"], content["axes"]
    if not 0 <= view.layer < len(layers):
        expected = f"expected 0 to {len(layers) - 1}: there are {len(layers)} layers with attention"
        raise InputError(f"layer {view.layer} was asked for, {expected}")
    layer = layers[view.layer]
    title = f"{questions.name}: {questions.title}, {layer['title']}, head {view.head}, {layer['attention']}"
    return title, axes[layer["queries"]]["names"], axes[layer["keys"]]["names"], layer


def _cells(answer: Answer) -> NDArray[np.float32]:
    return np.frombuffer(answer.buffers[0], "<f4").reshape(answer.content["shape"])


def _heat_map(answer: Answer, rows: list[str], columns: list[str], **options: Any) -> HeatMap:
    down, across = answer.content["step"]
    return HeatMap(_cells(answer), rows, columns, (down, across), **options)


def _pooled(answer: Answer) -> str:
    down, across = answer.content["step"]
    return f"; each cell is the largest of {down} × {across} pairs" if down * across > 1 else ""


def _matrix(questions: Answering, view: View) -> str:
    """Queries down, keys across, darker for more weight, up to the largest; grey where the pattern hides the key."""
    title, queries, keys, _ = _head(questions, view)
    question: dict[str, Any] = {"ask": view.name, "layer": view.layer}
    if view.name != "rollout":
        question["head"] = view.head
    if view.name == "gradient":
        question["query"] = view.query
    answer = questions.answer(question)
    found = _heat_map(answer, queries, keys, both=view.name == "gradient")
    what = {"matrix": "weight", "rollout": "rollout", "gradient": "weight × gradient"}[view.name]
    title += f", largest {what} {found.largest:.6g}{_pooled(answer)}"
    return document(title, found.width, found.height, found.parts())


def _lines(questions: Answering, view: View) -> str:
    """Queries on the left, keys on the right, lines as thick as the weights."""
    title, queries, keys, _ = _head(questions, view)
    answer = questions.answer({"ask": "matrix", "layer": view.layer, "head": view.head})
    if max(len(queries), len(keys)) > _LINES:
        raise InputError(
            f"there are {len(queries)} x {len(keys)} pairs, expected at most {_LINES} x {_LINES} for lines: the matrix has them all"
        )
    weights, row, top = _cells(answer), 22, 30
    most = float(np.where(np.isfinite(weights), weights, 0).max(initial=0)) or 1.0
    parts = []
    for r, c in np.argwhere(weights > most / 100).tolist():
        weight = float(weights[r, c])
        a, b, share = (182, top + (r + 0.5) * row), (400, top + (c + 0.5) * row), weight / most
        told = f"{queries[r]} → {keys[c]}: {weight:.7g}"
        parts.append(line(a, b, color(0.35 + 0.65 * share), 0.4 + 5 * share, told, 0.25 + 0.75 * share))
    parts += [
        label(174, top + (r + 0.5) * row + 4, named(queries, r, 24), text_anchor="end") for r in range(len(queries))
    ]
    parts += [label(408, top + (c + 0.5) * row + 4, named(keys, c, 24)) for c in range(len(keys))]
    return document(title, 580, top + max(len(queries), len(keys)) * row + 10, parts)


def _heads(questions: Answering, view: View) -> str:
    """A small matrix for each head, with its numbers below."""
    title, _, _, layer = _head(questions, view)
    numbers = questions.answer({"ask": "heads", "layer": view.layer}).content
    parts, across, side = [], 4, 170
    for head in range(layer["heads"]):
        x, y = 10 + head % across * (side + 20), 30 + head // across * (side + 90)
        answer = questions.answer({"ask": "matrix", "layer": view.layer, "head": head})
        small = _heat_map(answer, [], [], size=side)
        parts += [label(x, y + 10, f"head {head}"), *small.parts(x - small.left, y + 16 - small.top)]
        told = [
            f"{name} {numbers[name][head]:.3f}"
            for name in _NUMBERS
            if numbers.get(name) and numbers[name][head] is not None
        ]
        parts += [label(x, y + side + 30 + 12 * n, text, fill=GREY, font_size="10") for n, text in enumerate(told)]
    rows = -(-layer["heads"] // across)
    title = title.replace(f", head {view.head},", ",", 1)
    return document(title, 20 + across * (side + 20), 40 + rows * (side + 90), parts)


_NUMBERS = ("entropy", "distance", "first", "self", "previous")


def _step(questions: Answering, view: View) -> str:
    """q, and for each key k, the product, the bias, the score, the weight and weight times v; their sum."""
    title, queries, keys, _ = _head(questions, view)
    answer = questions.answer({"ask": "step", "layer": view.layer, "head": view.head, "query": view.query})
    content = answer.content
    q, product, bias, weight, out, model_out, *rest = (np.frombuffer(each, "<f4") for each in answer.buffers)
    bias = bias if len(bias) else np.zeros_like(product)
    score = content["scale"] * product + bias
    k, v = rest[0].reshape(len(weight), -1), rest[1].reshape(len(weight), -1)
    columns = [
        ("key", 10),
        ("k", 130),
        (content["product"], 300),
        ("bias", 400),
        ("score", 460),
        ("weight", 520),
        ("weight × v", 580),
    ]
    columns = [each for each in columns if each[0] != "bias" or bias.any()]
    parts = [label(10, 36, f"q of “{queries[view.query]}”"), *_strip(q, 130, 26)]
    parts += [label(x, 64, name, font_weight="bold") for name, x in columns]
    heaviest = np.argsort(-weight, kind="stable")[:_KEYS].tolist()
    for n, j in enumerate(heaviest):
        y = 82 + 18 * n
        parts += [label(10, y, named(keys, content["keys"][j])), *_strip(k[j], 130, y - 10)]
        numbers = {300: product[j], 460: score[j], 520: weight[j]} | ({400: bias[j]} if bias.any() else {})
        parts += [label(x, y, f"{float(number):.4g}") for x, number in numbers.items()]
        parts += _strip(weight[j] * v[j], 580, y - 10)
    y = 82 + 18 * len(heaviest) + 12
    left_out = len(weight) - len(heaviest)
    apart = float(np.abs(out - model_out).max(initial=0))
    told = f"{float(weight.sum()):.7g} ({content['normalizer']})" + (
        f"; {left_out} lighter keys are not drawn" if left_out else ""
    )
    parts += [
        label(10, y, f"the weights sum to {told}"),
        label(10, y + 20, "the sum of weight × v"),
        *_strip(out, 150, y + 10),
        label(10, y + 40, f"the model's own output of this head: no number is further apart than {apart:.3g}"),
    ]
    return document(title, 740, y + 54, parts)


def _strip(x: NDArray[np.float32], left: float, top: float) -> list[str]:
    """A row of colors, one for each number."""
    most = float(np.abs(x).max(initial=0)) or 1.0
    return [
        f'<rect x="{left + 6 * n:g}" y="{top:g}" width="6" height="12" fill="{color(float(number) / most, both=True)}">'
        f"<title>{float(number):.7g}</title></rect>"
        for n, number in enumerate(x[:_STRIP])
    ]


def _compare(questions: Answering, view: View) -> str:
    """Two heads, and the second minus the first where they have as many queries and keys."""
    _, queries, keys, layer = _head(questions, view)
    overview = questions.answer({"ask": "overview"}).content
    beside = overview.get("beside")
    n, head, of_beside = view.other or (
        (view.layer, view.head, True) if beside else (view.layer, (view.head + 1) % layer["heads"], False)
    )
    first = questions.answer({"ask": "matrix", "layer": view.layer, "head": view.head})
    source = {"of": "beside"} if of_beside else {}
    second = questions.answer({"ask": "matrix", "layer": n, "head": head, **source})
    side = beside if of_beside else overview
    if side is None or not 0 <= n < len(side["layers"]):
        raise InputError(f"layer {n} beside was asked for, expected one that is there")
    other = side["layers"][n]
    other_names = [side["axes"][other[axis]]["names"] for axis in ("queries", "keys")]
    titles = [
        f"{layer['title']}, head {view.head}",
        f"{side['name'] + ': ' if of_beside else ''}{other['title']}, head {head}",
    ]
    maps = [_heat_map(first, queries, keys, size=360), _heat_map(second, *other_names, size=360)]
    if first.content["shape"] == second.content["shape"]:
        a, b = _cells(first), _cells(second)
        hidden = np.isneginf(a) & np.isneginf(b)
        difference = np.where(np.isneginf(b), 0, b) - np.where(np.isneginf(a), 0, a)
        maps.append(
            HeatMap(np.where(hidden, -np.inf, difference).astype(np.float32), queries, keys, maps[0].step, True, 360)
        )
        titles.append("the second minus the first")
    parts, x = [], 0.0
    for title, each in zip(titles, maps, strict=True):
        parts += [label(x + 10, 34, f"{title}, up to {each.largest:.4g}"), *each.parts(x, 30)]
        x += max(each.width, 20 + 6 * len(title) + 70)
    return document(f"{questions.name}: {questions.title}", x, 40 + max(each.height for each in maps), parts)


def _switch(questions: Answering, view: View) -> str:
    """What is predicted with everything, and without a head, or what else is switched off."""
    title, *_ = _head(questions, view)
    off = [dict(each) for each in view.off] or [{"layer": view.layer, "head": view.head}]
    before = questions.answer({"ask": "overview"}).content["prediction"]
    after = questions.answer({"ask": "switched", "off": off}).content["prediction"]
    parts, lowest = [], 0.0
    for x, said, prediction in ((10, "with everything", before), (330, "without " + "; ".join(map(_off, off)), after)):
        parts.append(label(x, 40, named([said], 0, 60), font_weight="bold"))
        bars = _chances(prediction)
        for n, (name, chance) in enumerate(bars):
            y = 60 + 18 * n
            width = 0 if chance is None else 100 * min(1.0, max(0.0, chance))
            parts += [
                label(x, y, named([name], 0, 22)),
                f'<rect x="{x + 140}" y="{y - 9}" width="{width:g}" height="9" fill="{BLUE}"/>',
            ]
            parts += [] if chance is None else [label(x + 246, y, f"{chance:.4f}")]
            lowest = max(lowest, y)
    return document(title, 650, lowest + 20, parts)


def _off(change: Mapping[str, int]) -> str:
    """What is switched off, in words."""
    return " of ".join(f"{name} {change[name]}" for name in ("key", "query", "head", "layer") if name in change)


def _chances(prediction: Mapping[str, Any]) -> list[tuple[str, float | None]]:
    """What of a prediction can be drawn: probabilities, one for each vector, or the prediction as text."""
    if isinstance(chances := prediction.get("probabilities"), dict):
        return sorted(chances.items(), key=lambda each: -each[1])
    if isinstance(vectors := prediction.get("vectors"), list):
        rows = vectors[:_KEYS]
        return [
            (f"{each.get('token', n)}: {each.get('label', each.get('number'))}", each.get("probability"))
            for n, each in enumerate(rows)
        ]
    return [(f"{name}: {value}", None) for name, value in prediction.items()]


def _place(questions: Answering, view: View) -> str:
    """Weights where the keys lie."""
    title, queries, _, layer = _head(questions, view)
    overview = questions.answer({"ask": "overview"}).content
    if not 0 <= view.query < len(queries):
        raise InputError(
            f"query {view.query} was asked for, expected 0 to {len(queries) - 1}: there are {len(queries)} queries"
        )
    axes = overview["axes"]
    spans, own = axes[layer["keys"]]["spans"], axes[layer["queries"]]["spans"]
    if not spans:
        raise InputError("of the keys of this layer it is not known where they lie, expected the view matrix")
    rows = {"rows": [view.query, view.query + 1]}
    weights = np.concatenate(
        [
            _cells(
                questions.answer(
                    {
                        "ask": "matrix",
                        "layer": view.layer,
                        "head": view.head,
                        **rows,
                        "keys": [n, min(n + 512, len(spans))],
                    }
                )
            )[0]
            for n in range(0, len(spans), 512)
        ]
    )
    query = range(*own[view.query]) if own else range(0)
    title = title.replace(f", head {view.head},", f", head {view.head}, query “{queries[view.query]}”,", 1)
    return placed(questions.answer({"ask": "place"}), title, weights, axes[layer["keys"]], query, view.query)


def _map(questions: Answering, view: View) -> str:
    """A map of positions."""
    maps = questions.answer({"ask": "overview"}).content["maps"]
    answer = questions.answer({"ask": "map", "map": view.map})
    rows, columns = ([str(n) for n in range(count)] for count in answer.content["shape"])
    found = _heat_map(answer, rows, columns, both=True)
    title = f"{questions.title}: {maps[view.map]['title']}; {maps[view.map]['rows']} down, {maps[view.map]['columns']} across"
    return document(
        f"{title}; the strongest colors are ±{found.largest:.6g}", max(found.width, 500), found.height, found.parts()
    )


def _words(questions: Answering, view: View) -> str:
    """A word and its neighbors on a plane, or the words that are chosen."""
    overview = questions.answer({"ask": "overview"}).content
    words = list(view.words) or [overview["chosen"][0]]
    if len(words) == 1:
        near = questions.answer({"ask": "nearest", "word": words[0]}).content
        words = [near["word"], *(word for word, _ in near["near"])]
    answer = questions.answer({"ask": "plane", "words": words})
    places = np.frombuffer(answer.buffers[0], "<f4").reshape(-1, 2)
    span = np.maximum(places.max(0) - places.min(0), 1e-9)
    at = (places - places.min(0)) / span * [560, -380] + [40, 430]
    parts = []
    for (x, y), word in zip(at.tolist(), answer.content["words"], strict=True):
        parts += [f'<circle cx="{x:.5g}" cy="{y:.5g}" r="4" fill="{BLUE}"/>', label(x + 7, y + 4, named([word], 0, 24))]
    return document(f"{questions.name}: {questions.title}, words on their two principal axes", 720, 470, parts)


_DRAWN: dict[str, Callable[[Answering, View], str]] = {
    "matrix": _matrix,
    "rollout": _matrix,
    "gradient": _matrix,
    "lines": _lines,
    "heads": _heads,
    "step": _step,
    "compare": _compare,
    "switch": _switch,
    "place": _place,
    "maps": _map,
    "words": _words,
}
