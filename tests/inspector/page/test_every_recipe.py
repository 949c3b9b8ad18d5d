"""Every view of a run of every recipe, in a real browser: its numbers are those of torch, and something is drawn.

Recipes whose models do not attend, or that read nothing of one's own, say so in one sentence.
"""

import numpy as np
import pytest
import torch

from regard.attention.verb import attention_weights
from regard.errors import InputError
from regard.inspector.page.drawing import with_pictures
from regard.inspector.page.frames import answered
from regard.recipes import RECIPES
from tests.inspector.page.conftest import serving
from tests.inspector.page.recipe_runs import KINDS, asked_of

NOTHING = "the model of run has no attention, expected one that attends, to look inside"
REFUSED = {
    **dict.fromkeys(("clothes-cnn", "reviews", "speaker", "departments"), NOTHING),
    "clothes-gan": "has no target, and the networks of this run judge pictures by their labels",
}
ALIKE = {
    *("pictures", "arena-pathfinder", "arena-path-x", "pretraining-text", "speaker-simple", "speaker-strong"),
    *("molecules-solubility", "molecules-hydration", "arena-text"),
}
"""Recipes whose inputs and kinds of attention another one has too."""
COLORS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
}"""


def shown(page, selector=".main"):
    page.wait_for_selector(".main[aria-busy=false]")
    page.wait_for_selector(selector, state="attached")
    assert page.locator("[role=alert]").count() == 0, page.locator("[role=alert]").first.text_content()


@torch.no_grad()
def weights_of(seen, head):
    """`[queries, keys]` as torch has them, from what went into the attention; 0 where a pair is hidden."""
    dense = [
        attention_weights(call.attention, call.q, call.k, call.layout, call.key_layout, call.parameters).dense()
        for call in seen.calls
    ]
    rows = torch.stack([dense[call][head, row] for call, row in seen.rows()])
    return rows[:, seen.columns()]


def alike(found, expected):
    """Whether the weights that a page shows, some of them as hidden, are those expected."""
    found = torch.tensor([max(0.0, float(each)) for each in found], dtype=torch.float64)
    torch.testing.assert_close(found, expected.double(), atol=1e-6, rtol=0)


def attributes(page, selector, name):
    return page.locator(selector).evaluate_all(f"all => all.map((one) => one.getAttribute('{name}'))")


def the_matrix(page, weights):
    page.click("[data-view=matrix]")
    shown(page, ".main canvas")
    assert page.locator(".main canvas").first.evaluate(COLORS) > 1 or bool((weights == weights[0, 0]).all())
    page.locator(".main canvas").first.focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowDown"):
        page.keyboard.press(key)
    read = page.locator(".read > div")
    row, column = (int(read.get_attribute(f"data-{name}")) for name in ("row", "column"))
    assert (row, column) == (min(2, len(weights) - 1), min(1, weights.shape[1] - 1))
    alike([read.get_attribute("data-weight")], weights[row, column][None])


def the_lines(page, weights):
    page.click("[data-view=lines]")
    shown(page, "svg line")
    alike(
        sorted(map(float, attributes(page, "svg line", "data-weight"))),
        weights[weights > weights.max() / 100].sort()[0],
    )


def the_heads(page, seen):
    page.click("[data-view=heads]")
    shown(page, f".thumb >> nth={seen.heads - 1}")
    assert page.locator("table.numbers tbody tr").count() == seen.heads
    assert all(page.locator(".thumb").nth(n).evaluate(COLORS) > 0 for n in range(seen.heads))


def the_steps(page, weights, query):
    page.click("[data-view=step]")
    page.select_option("select[aria-label=query]", str(query))
    shown(page, "text=1. The query q of >> nth=0")
    found = [float(each) for each in attributes(page, "td[data-weight]", "data-weight")]
    expected = weights[query].sort(descending=True)[0][: len(found)]
    alike(found, expected)
    assert len(found) >= min(60, int((weights[query] > 0).sum()))
    assert page.locator(".bad").count() == 0, page.locator(".bad").first.text_content()
    assert page.locator(".good").count() >= 1


def the_difference(page, seen, weights):
    page.click("[data-view=compare]")
    shown(page, ".main canvas >> nth=2")
    page.locator(".main canvas").first.focus()
    page.keyboard.press("ArrowDown")
    layer, head, _ = map(int, page.locator("select[aria-label=beside]").input_value().split())
    row = min(1, len(weights) - 1)
    expected = weights_of(seen[layer], head)[row, 0] - weights[row, 0]
    found = page.locator("[data-difference]").get_attribute("data-difference")
    assert max(-1.0, float(found)) == pytest.approx(float(expected), abs=1e-6) or found == "-Infinity"


def the_place(page, seen, weights, query):
    page.click("[data-view=place]")
    page.select_option("select[aria-label=query]", str(query))
    if not seen.keys.spans:
        return shown(page, "text=it is not known where they lie")
    shown(page, ".main canvas, .main svg circle")
    place = page.locator(".main canvas, .main svg circle").last
    place.hover()
    if place.evaluate("one => one.tagName") == "CANVAS":
        assert place.evaluate(COLORS) > 1
    read = page.locator(".read > div")
    if any(end > first for first, end in seen.keys.spans):
        number = int(read.get_attribute("data-input"))
        (key,) = (n for n, (first, end) in enumerate(seen.keys.spans) if first <= number < end)
        alike([read.get_attribute("data-weight")], weights[query, key][None])
    return None


def the_experiment(page, layer):
    page.click("[data-view=switch]")
    page.click(f"text=head 0 of layer {layer} >> nth=0")
    shown(page, "[data-switched] .prediction")
    page.click("text=switch everything on")
    shown(page)


def the_hints(page, asks, layer, query):
    page.click("[data-view=matrix]")
    for what in ("rollout", "gradient"):
        page.select_option("select[aria-label=what]", what)
        page.wait_for_selector(".main[aria-busy=false]")
        question = {"ask": what, "layer": layer} | ({"head": 0, "query": query} if what == "gradient" else {})
        answer = answered(asks, question)
        if refused := answer.content.get("error"):
            assert page.locator("[role=alert]").text_content() == refused
            continue
        shown(page, ".main canvas")
        page.locator(".main canvas").focus()
        page.keyboard.press("ArrowDown")
        found = np.frombuffer(answer.buffers[0], "<f4").reshape(answer.content["shape"])[:2, 0][-1]
        assert float(page.locator(".read > div").get_attribute("data-weight")) == pytest.approx(float(found), abs=1e-6)
    page.select_option("select[aria-label=what]", "matrix")
    shown(page, ".main canvas")


def layers_of(inspection):
    """The first layer of each kind, by what its queries and keys are."""
    kinds = [(each.kind, each.queries.of, each.keys.of) for each in inspection.seen]
    return [n for n, kind in enumerate(kinds) if kind not in kinds[:n]]


def test_each_recipe_has_an_input():
    assert set(KINDS) == set(RECIPES)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.rare if name in ALIKE else ()) for name in KINDS]
)
def test_it_shows_every_view(name, open_page, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    if name in REFUSED:
        with pytest.raises(InputError) as error:
            asked_of(name, tmp_path)
        assert REFUSED[name] in str(error.value)
        return
    questions = asked_of(name, tmp_path)
    asks = with_pictures(questions)
    with serving(asks) as address:
        page = open_page(address)
        for layer in layers_of(questions.inspection):
            seen = questions.inspection.seen
            page.click("[data-view=matrix]")
            page.select_option("select[aria-label=layer]", str(layer))
            weights = weights_of(seen[layer], 0)
            query = min(1, len(weights) - 1)
            the_matrix(page, weights)
            the_lines(page, weights)
            the_heads(page, seen[layer])
            the_steps(page, weights, query)
            the_difference(page, seen, weights)
            if page.locator("[data-view=place]").count():
                the_place(page, seen[layer], weights, query)
            the_experiment(page, layer)
            the_hints(page, asks, layer, query)
