"""The live examples of the documentation: small, without paths, and working in a browser with the network off."""

import re

import pytest

from benchmarks.inspector_examples import EXAMPLES, PAGES

VIEWS = ("place", "matrix", "lines", "heads", "compare")


def test_each_is_there_and_small():
    assert {path.stem for path in PAGES.glob("*.html")} == set(EXAMPLES)
    for path in PAGES.glob("*.html"):
        text = path.read_text()
        assert len(text) < 1_000_000
        assert not re.search(r"https?://(?!www\.w3\.org)", text)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_shows_every_view(open_page, name):
    page = open_page((PAGES / f"{name}.html").as_uri(), offline=True)
    for view in (*VIEWS, *(["step"] if EXAMPLES[name].steps else [])):
        tab = page.locator(f"[data-view={view}]")
        if tab.count():
            tab.click()
            page.wait_for_selector(".main[aria-busy=false]")
            assert page.locator("[role=alert]").count() == 0, view
