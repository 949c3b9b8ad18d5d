"""A small inspection, a server of it, and a browser where there is one."""

import os
import shutil
import threading
from contextlib import contextmanager

import pytest

from regard.inspector.page.drawing import with_pictures
from regard.inspector.page.server import serve
from tests.inspector.test_inspection import a_run, an_example, asking

WORDS = ("I", "saw", "<script>alert(1)</script>", "我", "a" * 500, "😀")


@pytest.fixture
def questions():
    return asking(a_run("Attention(pattern=Causal())"), an_example(6, "<b>six</b> words", WORDS))


@contextmanager
def serving(asks, browse=False):
    """The address of a page while it is served."""
    stop, ready, found = threading.Event(), threading.Event(), []

    def told(address):
        found.append(address)
        ready.set()

    thread = threading.Thread(target=serve, args=(asks, 0, browse, told, stop))
    thread.start()
    try:
        assert ready.wait(60)
        yield found[0]
    finally:
        stop.set()
        thread.join(60)
    assert not thread.is_alive()


@pytest.fixture
def served(questions):
    """The address of its page."""
    with serving(with_pictures(questions)) as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    """Chromium; a test is skipped where it, or Playwright, is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    place = os.environ.get("REGARD_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    if place is None:
        pytest.skip("there is no Chromium: apt-get install chromium, or REGARD_CHROMIUM names one")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_page(browser):
    """Opens an address in a new window; whatever the page says on its console, or asks of the network outside, fails the test."""
    pages, said = [], []

    def opened(address, width=1100, dark=False, offline=False, ready="[data-ready] .main[aria-busy=false]"):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme="dark" if dark else "light", offline=offline
        )
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        home = address.split("/")[2]
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("http", "ws")) and home not in request.url and said.append(request.url)
            ),
        )
        page.goto(address)
        page.wait_for_selector(ready)
        pages.append(context)
        return page

    yield opened
    for context in pages:
        context.close()
    assert said == []
