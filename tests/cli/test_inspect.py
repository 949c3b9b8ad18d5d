"""`regard inspect`: a page in a file, a picture, and one sentence where it cannot."""

import re
import shutil
import xml.etree.ElementTree as ET

import pytest

from regard.inspector.page import server

from .test_whole_way import SMALL, done, refused


@pytest.fixture
def tagger(sentences, tmp_path, capsys):
    run = tmp_path / "tagger"
    done(capsys, "train", "tagging", "--data.path", sentences, "--folder", run, *SMALL)
    return run


def test_a_page_and_a_picture_are_written(tagger, tmp_path, capsys):
    page, picture = tmp_path / "new" / "page.html", tmp_path / "weights.svg"
    said = done(
        capsys, "inspect", tagger, "--text", "I saw a cat & <dog>", "--html", page, "--svg", picture, "--head", "1"
    )
    assert said.splitlines() == [str(picture), str(page)]
    text = page.read_text()
    assert "<title>tagger: I saw a cat &amp; &lt;dog&gt;</title>" in text
    assert "https://" not in text
    assert str(tmp_path) not in text
    root = ET.fromstring(picture.read_text())
    names = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"I", "saw", "a", "cat", "&"} <= set(names)
    weights = [float(title.text) for rect in root.iter("{http://www.w3.org/2000/svg}rect") for title in rect]
    side = round(len(weights) ** 0.5)
    assert side**2 == len(weights)
    for row in range(side):
        assert sum(weights[row * side : (row + 1) * side]) == pytest.approx(1, abs=1e-5)


def test_the_page_is_served(tagger, capsys, monkeypatch):
    asked = []
    monkeypatch.setattr(
        server, "serve", lambda asks, port, browse: asked.append((asks({"ask": "overview"}), port, browse))
    )
    done(capsys, "inspect", tagger, "--text", "I saw a cat", "--port", "8123", "--no-open")
    ((answer, port, browse),) = asked
    assert (port, browse) == (8123, False)
    assert [layer["kind"] for layer in answer.content["layers"]] == ["self"]
    # Nothing more is read of the run.
    shutil.rmtree(tagger)
    assert answer.content["axes"][0]["names"] == ["I", "saw", "a", "cat"]


def test_a_pattern_needs_no_run(tmp_path, capsys):
    page, picture = tmp_path / "page.html", tmp_path / "pattern.svg"
    done(capsys, "inspect", "Window(1, 0) | First(1)", "--length", "5", "--svg", picture, "--html", page)
    root = ET.fromstring(picture.read_text())
    rects = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if len(rect)]
    # The first is seen by all and sees all.
    assert sum(float(rect[0].text) > 0 for rect in rects) == 5 + 2 + 3 * 3
    assert "no folder" not in page.read_text()


def test_positions_need_no_run(tmp_path, capsys):
    picture = tmp_path / "positions.svg"
    done(capsys, "inspect", "ALiBi()", "--length", "4", "--map", "2", "--svg", picture)
    rects = [rect for rect in ET.fromstring(picture.read_text()).iter("{http://www.w3.org/2000/svg}rect") if len(rect)]
    assert [float(rect[0].text) for rect in rects[:4]] == [0, -0.125, -0.25, -0.375]


def test_word_vectors_are_looked_at(tmp_path, capsys):
    file, page, picture = tmp_path / "words.txt", tmp_path / "page.html", tmp_path / "words.svg"
    file.write_text("4 2\nking 1 1\nman 1 0\nqueen -1 1\nwoman -1 0\n")
    done(capsys, "inspect", "vectors", file, "--text", "queen man", "--svg", picture, "--html", page)
    assert "<title>words.txt: 4 words, 2 numbers each</title>" in page.read_text()
    names = [element.text for element in ET.fromstring(picture.read_text()).iter("{http://www.w3.org/2000/svg}text")]
    assert {"king", "man", "queen", "woman"} <= set(names)
    assert "the word 'dog' has no vector" in refused(capsys, "inspect", "vectors", file, "--text", "dog")
    assert "inspect vectors got no file" in refused(capsys, "inspect", "vectors")
    assert "no/such.txt" in refused(capsys, "inspect", "vectors", "no/such.txt")
    assert "inspect vectors got beside, expected" in refused(capsys, "inspect", "vectors", file, "--beside", "x")


def test_two_inputs_stand_beside_each_other(tagger, tmp_path, capsys):
    picture = tmp_path / "both.svg"
    options = ["--beside-input", "a cat", "--view", "compare", "--svg", picture]
    done(capsys, "inspect", tagger, "I saw a cat", *options)
    root = ET.fromstring(picture.read_text())
    assert len([rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if len(rect)]) == 16 + 4
    said = refused(capsys, "inspect", tagger, "I saw", "--beside-input", "a cat", "--beside", "Causal()")
    assert "inspect got a --beside and a --beside-input, expected one of them" in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["Causal()", "a b"], "a pattern with input, expected a pattern alone"),
        (["Causal()", "--set", "1"], "a pattern with set, expected a pattern alone"),
        (["Causal()", "--length", "0"], "--length is 0, expected 1 to 8192"),
        (["Casual()"], "Casual"),
        (["no/run", "a b"], "no/run"),
        (["no/run", "a b", "--length", "4"], "--length is for a pattern without a run"),
    ],
)
def test_a_pattern_that_is_none_is_refused(capsys, words, sentence):
    assert sentence in refused(capsys, "inspect", *words)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "without an INPUT, expected one to run it on"),
        (["a b", "--text", "c"], "with an INPUT and a --text, expected one to run it on"),
        (["a b", "--html", "page.txt"], "--html is 'page.txt', expected a name that ends in .html"),
        (["a b", "--svg", "picture.png"], "--svg is 'picture.png', expected a name that ends in .svg"),
        (["a b", "--svg", "/proc/no/x.svg"], "--svg /proc/no/x.svg cannot be written"),
        (["a b", "--svg", "x.svg", "--layer", "3"], "layer 3 was asked for, expected 0 to 0"),
        (["a b", "--html", "x.html", "--layer", "3"], "layer 3 was asked for, expected 0 to 0"),
        (["a b", "--svg", "x.svg", "--head", "2"], "head 2 was asked for, expected 0 to 1"),
        (["a b", "--set", "1"], "set 1 was asked for, expected 0 to 0"),
        (["a b", "--svg", "x.svg", "--view", "maps"], "the view 'maps' was asked for"),
        (["a b", "--view", "lines"], "--view is 'lines' without a picture, expected --svg FILE with it"),
        (["a b", "--svg", "x.svg", "--view", "step", "--query", "2"], "query 2 was asked for, expected 0 to 1"),
        (["a b", "--target", "ein"], "--target is for runs that write texts, and this one writes none"),
        (["a b", "--beside", "no/run"], "no/run"),
        (["a b", "--beside", "Casual()"], "Casual"),
        (["a b", "--port", "-1", "--no-open"], "--port is -1, expected 0 to 65535"),
        (["no/such.txt"], "no/such.txt is not there"),
    ],
)
def test_what_cannot_be_shown_is_refused(tagger, capsys, tmp_path, monkeypatch, options, sentence):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    assert sentence in re.sub(r"\s+", " ", refused(capsys, "inspect", tagger, *options))
    assert sorted(tmp_path.iterdir()) == before
