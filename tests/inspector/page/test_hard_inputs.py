"""Inputs that are hard to show: long, alike, in every script, and nobody who looks."""

import math
import webbrowser

import numpy as np
import pytest
import torch

from regard.inspector.page.drawing import View, draw
from regard.inspector.page.offline import offline_page
from tests.inspector.page.conftest import serving
from tests.inspector.test_inspection import a_run, an_example, asking, matrix

SCRIPTS = ("שלום", "مرحبا", "汉字", "👩‍👩‍👧", "e\u0301", "a" * 500, "\u202eevil", "\x00\x07", "</script><b>")


def test_every_script_is_shown_as_it_is(open_page, tmp_path):
    questions = asking(a_run(), an_example(len(SCRIPTS), "\u202e<i>title</i>", SCRIPTS))
    file = tmp_path / "page.html"
    file.write_text(offline_page(questions, questions.all()), encoding="utf-8")
    page = open_page(file.as_uri(), width=390, offline=True)
    page.locator(".main canvas").focus()
    for n, word in enumerate(SCRIPTS):
        if n:
            page.keyboard.press("ArrowDown")
        else:
            page.keyboard.press("ArrowUp")
        assert f"query “{word}”" in page.locator(".read").text_content()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("h1 i").count() == 0
    for view in ("matrix", "lines", "step", "heads", "compare"):
        assert "evil" in (text := draw(questions, View(view))) or view == "heads"
        assert "\x00" not in text


def test_weights_that_are_all_alike():
    run = a_run()
    with torch.no_grad():
        for parameter in run.model.parameters():
            parameter.zero_()
    questions = asking(run, an_example(5))
    cells, _ = matrix(questions)
    np.testing.assert_allclose(cells, 0.2, rtol=1e-6)
    numbers = questions.answer({"ask": "heads", "layer": 0}).content
    assert numbers["entropy"] == pytest.approx([math.log(5)] * 2, abs=1e-6)
    for view in ("matrix", "lines", "heads", "step", "compare"):
        assert "NaN" not in draw(questions, View(view))


def test_one_vector_has_every_view():
    alone = asking(a_run("Attention(bias=ALiBi())"), an_example(1))
    for view in ("matrix", "lines", "heads", "step", "compare", "switch", "rollout", "gradient"):
        assert draw(alone, View(view)).startswith("<svg")


@pytest.mark.rare
def test_twenty_thousand_vectors_are_pooled_and_named(open_page):
    questions = asking(a_run("Attention(pattern=Window(2, 2))", layers=1), an_example(20_000))
    with serving(questions.answer) as address:
        page = open_page(address)
        page.wait_for_selector(".pooled >> text=each cell is the largest weight of 40 × 40 pairs", timeout=120_000)
        page.locator(".main canvas").focus()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        page.wait_for_selector("text=show all")
        assert page.locator(".pooled").count() == 0


def test_without_a_browser_the_address_is_there(questions, monkeypatch):
    monkeypatch.setattr(webbrowser, "open", lambda address: False)
    with serving(questions.answer, browse=True) as address:
        assert address.startswith("http://127.0.0.1:")
