"""The page in a notebook: what the module sends is answered with what the served page gets."""

import html
import sys

import numpy as np
import pytest

from regard.errors import InputError
from regard.inspector.page.drawing import View, draw
from regard.inspector.page.frames import script
from regard.inspector.page.offline import offline_page
from regard.inspector.page.widget import inspect_run, widget
from tests.inspector.test_inspection import a_run, an_example


def test_a_message_is_answered_with_its_number(questions, monkeypatch):
    pytest.importorskip("anywidget")
    shown = widget(questions)
    assert shown._esm == script("inspector.js")
    sent = []
    monkeypatch.setattr(shown, "send", lambda content, buffers: sent.append((content, buffers)))
    shown._answer(shown, {"id": 4, "ask": "matrix", "layer": 1}, [])
    shown._answer(shown, {"id": 5, "ask": "matrix", "layer": 9}, [])
    shown._answer(shown, "nonsense", [])
    expected = questions.answer({"ask": "matrix", "layer": 1})
    assert sent[0] == ({**expected.content, "id": 4}, list(expected.buffers))
    assert sent[1] == (
        {"error": "layer 9 was asked for, expected 0 to 1: there are 2 layers with attention", "id": 5},
        [],
    )
    assert sent[2][0]["error"] == "a question is of the type str, expected an object"


def test_a_run_is_shown(monkeypatch):
    pytest.importorskip("anywidget")
    shown = inspect_run(a_run(), [[an_example(3)]])
    sent = []
    monkeypatch.setattr(shown, "send", lambda content, buffers: sent.append(np.frombuffer(buffers[0], "<f4")))
    shown._answer(shown, {"id": 1, "ask": "matrix"}, [])
    assert sent[0].sum() == pytest.approx(3, abs=1e-5)


def test_a_notebook_without_a_kernel_holds_a_picture(questions):
    pytest.importorskip("anywidget")
    bundle = widget(questions)._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    assert data["image/svg+xml"] == draw(questions, View("matrix"))
    assert "application/vnd.jupyter.widget-view+json" in data


def test_a_notebook_may_hold_the_page(questions, open_page, tmp_path):
    pytest.importorskip("anywidget")
    bundle = widget(questions, saved=True)._repr_mimebundle_()
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    page = offline_page(questions, questions.all())
    assert page in html.unescape(data["text/html"])
    assert data["text/html"].isascii()
    assert "text/html" not in widget(questions)._repr_mimebundle_()[0]
    file = tmp_path / "notebook.html"
    # What a notebook shows stands in its own page.
    file.write_text(f"<!doctype html><link rel='icon' href='data:,'>{data['text/html']}")
    shown = open_page(file.as_uri(), offline=True, ready="body").frame_locator("iframe")
    shown.locator("select[aria-label=layer]").select_option("1")
    shown.locator(".main[aria-busy=false] canvas").focus()
    shown.locator(".main canvas").press("ArrowDown")
    weights = np.frombuffer(questions.answer({"ask": "matrix", "layer": 1}).buffers[0], "<f4").reshape(6, 6)
    found = shown.locator(".read > div").get_attribute("data-weight")
    assert float(found) == pytest.approx(float(weights[1, 0]), abs=1e-6)


def test_without_the_package_the_sentence_says_what_to_install(questions, monkeypatch):
    monkeypatch.setitem(sys.modules, "anywidget", None)
    with pytest.raises(
        InputError, match=r"a notebook needs the package anywidget, .*: pip install 'regard\[notebook\]'"
    ):
        widget(questions)
