"""The page in a real browser: the numbers are those of torch, the console is silent, nothing is asked of the network."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from regard.data.examples import Example
from regard.data.speech import Sounds
from regard.inspector.answers import Questions
from regard.inspector.beside import Otherwise
from regard.inspector.page.drawing import View, draw, with_pictures
from regard.inspector.page.offline import offline_page
from regard.inspector.position_maps import PositionMaps
from regard.inspector.seen import Axis
from regard.inspector.sketch import Sketch
from regard.inspector.words import WordQuestions
from regard.sets import Layout
from regard.vectors.words import WordVectors
from tests.inspector.page.conftest import WORDS, serving
from tests.inspector.test_inspection import a_run, an_example, asking, weights_of


@pytest.fixture(params=["served", "file"])
def address(request, questions, tmp_path):
    if request.param == "served":
        return request.getfixturevalue("served")
    file = tmp_path / "page.html"
    file.write_text(offline_page(questions, questions.all()))
    return file.as_uri()


def settled(page):
    """Wait until the view that was asked for is shown."""
    page.wait_for_selector(".main[aria-busy=false]")


def pointed(page):
    """Where the page points to and what it says there: row, column, weight."""
    read = page.locator(".read > div")
    row, column, weight = (read.get_attribute(f"data-{name}") for name in ("row", "column", "weight"))
    return int(row), int(column), float(weight)


def test_the_numbers_are_those_of_torch(open_page, address):
    page = open_page(address, offline=address.startswith("file"))
    for layer in range(2):
        weights = weights_of(a_run("Attention(pattern=Causal())"), an_example(6), layer)
        page.select_option("select[aria-label=layer]", str(layer))
        for head in range(2):
            page.select_option("select[aria-label=head]", str(head))
            settled(page)
            canvas = page.locator("canvas")
            canvas.focus()
            for key in ["ArrowDown"] * 5 + ["ArrowRight"] * 5:
                page.keyboard.press(key)
                row, column, weight = pointed(page)
                if column <= row:
                    assert weight == pytest.approx(float(weights[head, row, column]), abs=1e-6)
                else:
                    assert weight == -np.inf


def test_what_an_input_holds_is_shown_and_never_run(open_page, address):
    page = open_page(address)
    assert page.locator("h1").text_content() == "my run: <b>six</b> words"
    page.locator("canvas").focus()
    for key in ["ArrowDown"] * 2 + ["ArrowRight"] * 2:
        page.keyboard.press(key)
    assert WORDS[2] in page.locator(".read").text_content()
    assert page.evaluate("document.querySelectorAll('script').length") <= 2


def test_a_hidden_pair_is_told_as_hidden(open_page, served):
    page = open_page(served)
    page.locator("canvas").focus()
    page.keyboard.press("ArrowRight")
    assert "hidden by the pattern" in page.locator(".read").text_content()
    assert "sum to 1" in page.locator(".read").text_content()


def test_each_step_of_a_vector_adds_up(open_page, address):
    page = open_page(address)
    page.click("[data-view=step]")
    page.select_option("select[aria-label=query]", "3")
    # The view of the query before may still be there.
    page.wait_for_function(
        "() => document.querySelector('#page').shadowRoot.querySelectorAll('td[data-weight]').length === 4"
    )
    page.wait_for_selector("text=The residual")
    apart = [float(each.get_attribute("data-apart")) for each in page.locator(".good").all()]
    assert len(apart) == 3
    assert max(apart) < 1e-5
    assert page.locator(".bad").count() == 0
    weights = weights_of(a_run("Attention(pattern=Causal())"), an_example(6), 0)[0, 3]
    shown = [float(each.get_attribute("data-weight")) for each in page.locator("td[data-weight]").all()]
    assert shown == pytest.approx(sorted(weights[:4].tolist(), reverse=True), abs=1e-6)


def test_all_heads_have_pictures_and_numbers(open_page, address):
    page = open_page(address)
    page.click("[data-view=heads]")
    page.wait_for_selector(".thumb >> nth=1")
    assert page.locator("table.numbers tbody tr").count() == 2
    page.click(".heads button >> nth=1")
    page.wait_for_selector(".read")
    assert page.locator("select[aria-label=head]").input_value() == "1"


def test_lines_are_as_thick_as_weights(open_page, address):
    page = open_page(address)
    page.click("[data-view=lines]")
    page.wait_for_selector("svg line", state="attached")
    every = page.locator("svg line").count()
    page.click("svg text >> nth=1")
    page.wait_for_function(
        "count => document.querySelector('#page').shadowRoot.querySelectorAll('svg line').length < count", arg=every
    )
    shown = sorted(float(each.get_attribute("data-weight")) for each in page.locator("svg line").all())
    weights = weights_of(a_run("Attention(pattern=Causal())"), an_example(6), 0)[0, 1]
    assert shown == pytest.approx(sorted(weights[:2].tolist()), abs=1e-6)


def test_two_heads_have_a_difference(open_page, address):
    page = open_page(address)
    page.click("[data-view=compare]")
    page.wait_for_selector("canvas >> nth=2")
    page.locator("canvas >> nth=0").focus()
    for _ in range(2):
        page.keyboard.press("ArrowDown")
    weights = weights_of(a_run("Attention(pattern=Causal())"), an_example(6), 0)[:, 2, 0]
    found = float(page.locator("[data-difference]").get_attribute("data-difference"))
    assert found == pytest.approx(float(weights[1] - weights[0]), abs=1e-6)


def a_picture():
    """Two by three patches of two by two pixels."""
    values = np.random.default_rng(2).random((6, 4)).astype(np.float32)
    coords = np.stack(np.divmod(np.arange(6), 3), 1).astype(np.float32)
    return Example(values, None, "a picture", coords=coords)


def a_graph():
    return Example(
        np.eye(5, 4, dtype=np.float32),
        None,
        "a graph",
        edges=np.array([[0, 1, 2, 3], [1, 2, 3, 4]]),
        tokens=tuple("abcde"),
    )


def a_sound():
    return Example(np.random.default_rng(2).random((30, 4)).astype(np.float32), None, "a sound")


@pytest.mark.parametrize(
    ("example", "count"), [(a_picture(), 6), (a_graph(), 5), (a_sound(), 30)], ids=["picture", "graph", "sound"]
)
def test_weights_lie_in_their_places(open_page, tmp_path, example, count):
    run = a_run(width_in=4)
    run.experiment.data = Sounds() if example.name == "a sound" else None
    samples = np.sin(np.arange(5000) / 20).astype(np.float32)
    questions = asking(run, example, samples=samples if example.name == "a sound" else None)
    file = tmp_path / "page.html"
    file.write_text(offline_page(questions, questions.all()))
    page = open_page(file.as_uri(), offline=True)
    weights = np.frombuffer(questions.answer({"ask": "matrix"}).buffers[0], "<f4").reshape(count, count)
    page.select_option("select[aria-label=query]", "2")
    page.wait_for_function("document.querySelector('#page').shadowRoot.querySelector('.main').ariaBusy === 'false'")
    shown = page.locator(".main canvas, .main svg circle")
    for n in range(shown.count()):
        shown.nth(n).hover()
        read = page.locator(".read > div")
        found = int(read.get_attribute("data-input"))
        assert float(read.get_attribute("data-weight")) == pytest.approx(float(weights[2, found]), abs=1e-6)
    if example.name == "a picture":
        shown.nth(1).click(position={"x": 5, "y": 5})
    elif example.name == "a graph":
        shown.nth(0).click()
    else:
        assert page.locator("audio").count() == 1
        shown.nth(0).click(position={"x": 1, "y": 5})
    page.wait_for_function(
        "document.querySelector('#page').shadowRoot.querySelector('select[aria-label=query]').value === '0'"
    )


def test_a_pattern_shows_its_plan(open_page, tmp_path):
    questions = Questions(Sketch("Window(2, 1)", 12))
    file = tmp_path / "page.html"
    file.write_text(offline_page(questions, questions.all()))
    page = open_page(file.as_uri(), offline=True)
    assert "executor" in page.locator("pre").text_content()
    assert page.locator("[data-view=switch]").count() == 0


def test_another_attention_stands_beside(open_page, tmp_path):
    inspection = asking(a_run(), an_example(6)).inspection
    questions = Questions(inspection, Otherwise("Causal()", inspection))
    file = tmp_path / "page.html"
    file.write_text(offline_page(questions, questions.all()))
    page = open_page(file.as_uri(), offline=True)
    page.click("[data-view=compare]")
    page.wait_for_selector("canvas >> nth=2")
    page.locator("canvas >> nth=0").focus()
    page.keyboard.press("ArrowDown")
    answers = [questions.answer({"ask": "matrix", **more}) for more in ({}, {"of": "beside"})]
    own, other = (np.frombuffer(answer.buffers[0], "<f4").reshape(6, 6) for answer in answers)
    found = float(page.locator("[data-difference]").get_attribute("data-difference"))
    assert found == pytest.approx(float(other[1, 0] - own[1, 0]), abs=1e-6)


def test_what_is_switched_off_changes_the_prediction(open_page, served, questions):
    page = open_page(served)
    page.click("[data-view=switch]")
    page.click("text=head 0 of layer 0 >> nth=0")
    page.wait_for_selector("[data-switched]")
    found = questions.answer({"ask": "switched", "off": [{"layer": 0, "head": 0}]}).content["prediction"]
    chances = [float(each.get_attribute("title")) for each in page.locator("[data-switched] .chance span").all()]
    assert chances == pytest.approx(list(found["probabilities"].values()), abs=1e-6)
    page.click("text=switch everything on")
    page.wait_for_selector("[data-switched]", state="detached")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_on_a_telephone(open_page, address, dark):
    page = open_page(address, width=390, dark=dark)
    page.wait_for_selector("canvas")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_two_windows_of_one_page_do_not_disturb_each_other(open_page, served):
    first, second = open_page(served), open_page(served)
    second.select_option("select[aria-label=layer]", "1")
    settled(second)
    for page in (first, second):
        page.locator("canvas").focus()
        page.keyboard.press("ArrowDown")
    assert pointed(first)[2] != pointed(second)[2]


def test_an_answer_that_is_none_is_told(open_page, served):
    page = open_page(served)
    page.route("**/ask", lambda route: route.fulfill(body="broken"))
    page.select_option("select[aria-label=layer]", "1")
    settled(page)
    assert "does not answer" in page.locator("[role=alert]").text_content()
    page.unroute("**/ask")


def test_rollout_and_gradients_come_with_a_warning(open_page, served, questions):
    page = open_page(served)
    for name in ("rollout", "gradient"):
        page.select_option("select[aria-label=what]", name)
        settled(page)
        assert page.locator(".bad").count() == 1
        page.locator(".main canvas").focus()
        page.keyboard.press("ArrowDown")
        cells = np.frombuffer(questions.answer({"ask": name}).buffers[0], "<f4").reshape(6, 6)
        assert pointed(page)[2] == pytest.approx(float(cells[1, 0]), abs=1e-6)


def test_a_view_is_saved_as_a_picture(open_page, served, questions):
    page = open_page(served)
    for view in ("matrix", "lines", "heads", "step", "compare", "switch"):
        page.click(f"[data-view={view}]")
        settled(page)
        with page.expect_download() as saved:
            page.click("text=save as SVG")
        assert saved.value.suggested_filename == f"{view}.svg"
        other = {"other": (0, 1, False)} if view == "compare" else {}
        assert Path(saved.value.path()).read_text() == draw(questions, View(view, **other))


def test_positions_are_maps(open_page, tmp_path):
    questions = PositionMaps("Rotary()", 12)
    file = tmp_path / "page.html"
    file.write_text(offline_page(questions, questions.all()))
    page = open_page(file.as_uri(), width=390, offline=True)
    page.select_option("select[aria-label=map]", "1")
    page.wait_for_selector("p >> text=the share of the numbers 0 and 1")
    page.locator("canvas").focus()
    for key in ["ArrowDown"] * 3 + ["ArrowRight"]:
        page.keyboard.press(key)
    expected = np.frombuffer(questions.answer({"ask": "map", "map": 1}).buffers[0], "<f4").reshape(12, 12)
    assert pointed(page) == (3, 1, pytest.approx(float(expected[3, 1]), abs=1e-6))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_words_lie_on_a_plane(open_page, tmp_path):
    words = ("man", "king", "woman", "queen", "<script>alert(1)</script>", "猫")
    vectors = WordVectors(words, np.array([[1.0, 0], [1, 1], [-1, 0], [-1, 1], [0.2, -1], [0, -1]]))
    questions = WordQuestions(vectors, "w.txt")
    with serving(with_pictures(questions)) as address:
        page = open_page(address)
        page.fill("input[aria-label=word]", "queen")
        page.click("text=show")
        page.wait_for_selector("h2 >> text=nearest to “queen”")
        shown = [float(each.get_attribute("data-cosine")) for each in page.locator(".side td[data-word]").all()]
        assert shown == [cosine for _, cosine in vectors.nearest("queen")]
        assert page.locator("svg text").count() == 6
        for letter, word in zip("abc", ("man", "king", "woman"), strict=True):
            page.fill(f"input[aria-label={letter}]", word)
        page.click("text=find")
        page.wait_for_selector(".analogy td[data-word=queen]")
        page.fill("input[aria-label=word]", "dog")
        page.click("text=show")
        page.wait_for_selector("[role=alert] >> text=the word 'dog' has no vector among 6")
    file = tmp_path / "page.html"
    file.write_text(offline_page(questions, questions.all()))
    page = open_page(file.as_uri(), width=390, offline=True)
    page.click("svg text >> text=猫")
    page.wait_for_selector("h2 >> text=nearest to “猫”")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_two_inputs_stand_side_by_side(open_page):
    inspection = asking(a_run(), an_example(6)).inspection
    other = asking(a_run(), an_example(4, "another", tuple("wxyz"))).inspection
    with serving(Questions(inspection, other).answer) as address:
        page = open_page(address)
        page.click("[data-view=compare]")
        page.wait_for_selector("text=no difference: they have different numbers")
        page.locator("canvas >> nth=1").focus()
        page.keyboard.press("ArrowDown")
        assert "query “x” → key “w”" in page.locator(".read").text_content()
        weights = weights_of(a_run(), an_example(4, "another"), 0)[0, 1, 0]
        found = float(page.locator(".read [data-weight]").get_attribute("data-weight"))
        assert found == pytest.approx(float(weights), abs=1e-6)


def test_boxes_are_chosen_in_the_picture(open_page):
    example = replace(a_picture(), pixels=(60, 40))
    inspection = asking(a_run(width_in=4), example).inspection
    boxes = [
        {"query": 0, "label": "small", "score": 0.9, "box": [30.0, 20.0, 60.0, 40.0]},
        {"query": 1, "label": "large", "score": 0.8, "box": [0.0, 0.0, 60.0, 40.0]},
    ]
    inspection.prediction = {"boxes": boxes}
    seen = inspection.seen[0]
    learned = Axis("inputs", ("0: small 0.90", "1: large 0.80"), ((0, 0), (0, 0)))
    call = seen.calls[0]
    rows = replace(call, q=call.q[:2], out=call.out[:2], layout=Layout.of_lengths([2]))
    inspection.seen = [replace(seen, queries=learned, calls=(rows,), kind="cross")]
    with serving(with_pictures(Questions(inspection))) as address:
        page = open_page(address)
        assert "2 boxes have a score of at least 0.5" in page.locator(".main").text_content()
        for x, chosen in ((0.1, "1"), (0.9, "0")):
            canvas = page.locator(".main canvas >> nth=0")
            box = canvas.bounding_box()
            canvas.click(position={"x": x * box["width"], "y": 0.9 * box["height"]})
            settled(page)
            assert page.locator("select[aria-label=query]").input_value() == chosen
