"""What a lesson keeps of a widget: a picture, and below it the page, each where readers of notebooks find it."""

import html

import nbformat
import pytest

from benchmarks.lessons import outputs, page, without_process

PAGE = '<!doctype html><p title="a & b">x</p>'
FRAME = f'<iframe sandbox="allow-scripts" srcdoc="{html.escape(PAGE)}"></iframe>'


def shown(**data):
    return nbformat.v4.new_output(
        "display_data", {name.replace("_", "/", 1).replace("_", "+"): x for name, x in data.items()}
    )


@pytest.fixture
def widget():
    forms = {"text_plain": "a run: words", "image_svg_xml": "<svg/>", "text_html": FRAME}
    found = shown(**forms)
    found.data["application/vnd.jupyter.widget-view+json"] = {"model_id": "1"}
    return found


def test_a_picture_and_the_page_are_kept(widget):
    picture, framed = without_process(widget)
    assert dict(picture.data) == {"text/plain": "a run: words", "image/svg+xml": "<svg/>"}
    assert dict(framed.data) == {"text/html": FRAME}


def test_what_is_no_widget_stays_as_it_is():
    table = shown(text_plain="a table", text_html="<table></table>")
    assert without_process(table) == [table]


def test_the_page_of_a_lesson_links_to_it(widget, tmp_path):
    cell = nbformat.v4.new_code_cell("look", outputs=without_process(widget))
    notebook = nbformat.v4.new_notebook(cells=[cell])
    assert outputs(notebook) == [""]
    nbformat.write(notebook, tmp_path / "one.ipynb")
    page(tmp_path / "one.ipynb")
    text = (tmp_path / "one.md").read_text()
    assert "![](one-1.svg)" in text
    assert "(one-1.html)" in text
    assert (tmp_path / "one-1.html").read_text() == PAGE
