"""The page in a real browser: the numbers are those of torch, the console is silent, nothing is asked of the network."""

import numpy as np
import pytest

from regard.inspector.page.offline import offline_page
from tests.inspector.page.conftest import WORDS
from tests.inspector.test_inspection import a_run, an_example, weights_of


@pytest.fixture(params=["served", "file"])
def address(request, inspection, tmp_path):
    if request.param == "served":
        return request.getfixturevalue("served")
    file = tmp_path / "page.html"
    file.write_text(offline_page(inspection, inspection.questions()))
    return file.as_uri()


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
            page.wait_for_timeout(150)
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


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_it_fits_on_a_telephone(open_page, address, dark):
    page = open_page(address, width=390, dark=dark)
    page.wait_for_selector("canvas")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_two_windows_of_one_page_do_not_disturb_each_other(open_page, served):
    first, second = open_page(served), open_page(served)
    second.select_option("select[aria-label=layer]", "1")
    for page in (first, second):
        page.locator("canvas").focus()
        page.keyboard.press("ArrowDown")
    assert pointed(first)[2] != pointed(second)[2]


def test_an_answer_that_is_none_is_told(open_page, served):
    page = open_page(served)
    page.route("**/ask", lambda route: route.fulfill(body="broken"))
    page.select_option("select[aria-label=layer]", "1")
    assert "does not answer" in page.locator("[role=alert]").text_content()
    page.unroute("**/ask")
