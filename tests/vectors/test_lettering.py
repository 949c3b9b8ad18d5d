"""Pictures of words in any script: fonts that have the characters are found, and what none has is told."""

import warnings

import numpy as np
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib import font_manager

from regard.cli import main
from regard.vectors.drawing import plot, project
from regard.vectors.files import save
from regard.vectors.lettering import Lettering, lettering
from regard.vectors.words import WordVectors

OWN = "\U000f1234"  # For private use: no installed font has these.
OTHER, THIRD = "\U000f1235", "\U000f1236"


@pytest.fixture
def font(tmp_path):
    """Makes and installs a font with boxes for some characters, and removes it again."""
    before = list(font_manager.fontManager.ttflist)

    def make(name, characters):
        pen = TTGlyphPen(None)
        pen.moveTo((0, 0))
        for place in ((0, 700), (500, 700), (500, 0)):
            pen.lineTo(place)
        pen.closePath()
        glyphs = [".notdef", *(f"g{n}" for n in range(len(characters)))]
        builder = FontBuilder(1000)
        builder.setupGlyphOrder(glyphs)
        builder.setupCharacterMap({ord(character): f"g{n}" for n, character in enumerate(characters)})
        builder.setupGlyf(dict.fromkeys(glyphs, pen.glyph()))
        builder.setupHorizontalMetrics(dict.fromkeys(glyphs, (600, 0)))
        builder.setupHorizontalHeader(ascent=800, descent=-200)
        builder.setupNameTable({"familyName": name, "styleName": "Regular"})
        builder.setupOS2()
        builder.setupPost()
        builder.save(tmp_path / f"{name}.ttf")
        font_manager.fontManager.addfont(tmp_path / f"{name}.ttf")

    yield make
    font_manager.fontManager.ttflist[:] = before
    font_manager.fontManager._findfont_cached.cache_clear()


def test_own_letters_need_no_other_font():
    found = lettering(["whale", "été", "$a$", "Ω", ""])
    assert found.lacking == frozenset()
    assert found.families == tuple(font_manager.FontProperties().get_family())
    assert found.drawn("cafe\u0301 $a$") == "café $a$"
    assert found.note(["whale"]) == ""


def test_fonts_that_have_the_characters_are_found_the_fewest_that_do(font):
    font("Few", OWN)
    font("Many", OWN + OTHER)
    found = lettering([f"a{OWN}", OTHER, THIRD])
    assert found.families[1:] == ("Many",)
    assert found.lacking == {THIRD}
    assert found.drawn(f"{OWN}{THIRD}b") == f"{OWN}[U+F1236]b"
    assert lettering([OWN]).lacking == frozenset()


def test_what_no_font_has_is_drawn_as_code_points_and_named():
    words = [f"{OWN}{n}" for n in range(12)]
    found = lettering([*words, "whale"])
    assert found.drawn(words[3]) == "[U+F1234]3"
    sentence = found.note([*words, "whale"])
    assert sentence.startswith(f"no installed font can draw 12 of the 13 words ({words[0]}, {words[1]}, ")
    assert f"{words[9]} and 2 more), so their code points are shown: install a font" in sentence


def test_joiners_selectors_and_directions_need_no_glyph():
    assert Lettering(("sans-serif",), frozenset()).drawn("\u200fa\u200d\ufe0fb\U000e0100\u00ad") == "ab"
    assert lettering(["a\u200d\ufe0f\u2066\U000e0100"]).lacking == frozenset()


def test_the_picture_draws_what_fonts_have_without_a_warning(font):
    font("Own", OWN)
    words = [OWN * 2, OTHER, "whale", "$a$", "_x"]
    vectors = WordVectors(words, np.eye(5))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot(vectors, {f"_{OWN}$b$": [0, 1], "$c$": [2, 3, 4]})
        figure.canvas.draw()
    (axis,) = figure.axes
    assert [text.get_text() for text in axis.texts] == [OWN * 2, "[U+F1235]", "whale", "$a$", "_x"]
    assert all("Own" in text.get_fontfamily() for text in axis.texts)
    assert [text.get_text().strip() for text in axis.get_legend().get_texts()] == [f"_{OWN}$b$", "$c$"]


@pytest.mark.parametrize("by", ["pca", "tsne"])
@pytest.mark.parametrize("matrix", [np.ones((4, 3)), np.zeros((4, 3)), np.array([[1], [2], [-1], [3]]), np.eye(4)])
def test_long_words_and_vectors_in_one_place_are_drawn_without_a_warning(matrix, by):
    vectors = WordVectors([OWN * 300, "a" * 300, "sea", "whale"], matrix)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = plot(vectors, {OWN * 300: [0, 1], "k" * 300: [2, 3]}, by)
        figure.canvas.draw()
    assert [len(text.get_text()) for text in figure.axes[0].texts] == [40, 40, 3, 5]


def test_axes_are_the_principal_ones():
    matrix = np.random.default_rng(0).normal(size=(20, 5)) * [5, 1, 0.1, 0.1, 0.1]
    found = project(matrix)
    assert found.shape == (20, 2)
    centered = matrix - matrix.mean(0)
    values = np.linalg.eigvalsh(centered.T @ centered)
    assert found.mean(0) == pytest.approx([0, 0], abs=1e-9)
    assert found.T @ found == pytest.approx(np.diag(values[:-3:-1]), abs=1e-6)
    assert project(matrix[:, :1])[:, 0] == pytest.approx(centered[:, 0])
    assert not project(matrix[:, :1])[:, 1].any()


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "PNG"])
def test_the_command_says_in_one_sentence_what_cannot_be_drawn(tmp_path, ending, capsys):
    words = [f"{OWN}a", f"b{OTHER}", "whale", "sea"]
    save(WordVectors(words, np.eye(4)), tmp_path / "v.bin")
    (tmp_path / "kinds.txt").write_text(f": {THIRD}\n{words[0]} {words[1]}\n: kind\nwhale sea\n", "utf-8")
    out = tmp_path / f"words.{ending}"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        arguments = [str(tmp_path / "v.bin"), "--kinds", str(tmp_path / "kinds.txt"), "--out", str(out)]
        assert main(["vectors", "draw", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"{out}\n"
    assert captured.err.startswith(f"no installed font can draw 3 of the 6 words ({words[0]}, {words[1]}, {THIRD})")
    assert captured.err.count("\n") == 1
    assert out.stat().st_size > 1000
