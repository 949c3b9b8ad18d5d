"""How quickly the page of `regard inspect` answers, in Chromium on the loopback, and how large its files are.

python -m benchmarks.inspector [--vectors 4096]

A model of 12 layers with 12 heads reads a set of random vectors; its weights are random too, since speed does not depend on them.
Needs Playwright and Chromium, on the path or named by REGARD_CHROMIUM. Where BertViz can be imported (pip install bertviz), its
page of 512 tokens, which loads its libraries from the network, is measured beside ours. Writes `results/inspector.json`. Nothing
else may run on the machine meanwhile.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.inspector_pages import address
from benchmarks.machine import machine, write
from regard.data.encoding import Encoding, Labels
from regard.data.examples import Example
from regard.inspector.answers import Questions
from regard.inspector.inspection import Inspection
from regard.inspector.page.offline import offline_page
from regard.models.encoder import Encoder
from regard.tasks import PerSetLabel
from regard.train.kinds import build, build_model

__all__ = ["Row", "main", "questions_of"]

_TIMES = 7


class Row(NamedTuple):
    """A number, and the one to reach."""

    what: str
    found: float
    unit: str
    wanted: float | None = None

    def __str__(self) -> str:
        wanted = "" if self.wanted is None else f"   (to reach: {self.wanted:g} {self.unit})"
        return f"{self.what:72} {self.found:10.3f} {self.unit}{wanted}"

    def shown(self) -> dict[str, str]:
        """The row of a table."""
        wanted = "" if self.wanted is None else f"at most {self.wanted:g} {self.unit}"
        found = f"{self.found:,.0f}" if self.found >= 100 else f"{self.found:.3g}"
        return {"what": self.what, "measured": f"{found} {self.unit}", "to reach": wanted}


def questions_of(vectors: int, layers: int, heads: int) -> Questions:
    """What a page asks of a model that is not trained, on one set of random vectors."""
    torch.manual_seed(0)
    encoding = Encoding(Labels(("no", "yes")), width=16)
    options = Encoder(width=16 * heads, layers=layers, heads=heads, feed_forward=64)
    model = build_model(options, None, encoding).eval()
    task = build(PerSetLabel(), model.width, encoding).eval()
    task.attach(model)
    values = np.random.default_rng(0).standard_normal((vectors, 16)).astype(np.float32)
    tokens = tuple(f"word{n}" for n in range(vectors))
    return Questions(Inspection(model, task, Example(values, None, f"{vectors} words", tokens=tokens)))


def seconds(act: Callable[[], object]) -> float:
    """How long something takes."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def shown(page: Any) -> None:
    """Wait until the view that was asked for is drawn."""
    page.wait_for_selector("[data-ready] .main[aria-busy=false] canvas")
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser."""
    from playwright.sync_api import sync_playwright

    place = os.environ.get("REGARD_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=place, args=["--no-sandbox"])
        yield browser
        browser.close()


def memory(browser: Any) -> float:
    """Of the largest process that shows a page, in MB."""
    session = browser.new_browser_cdp_session()
    processes = session.send("SystemInfo.getProcessInfo")["processInfo"]
    sizes = []
    for process in processes:
        if process["type"] == "renderer":
            status = Path(f"/proc/{process['id']}/status").read_text()
            sizes.append(next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS")) / 1000)
    session.detach()
    return max(sizes)


def of_the_page(browser: Any, vectors: int) -> Iterator[Row]:
    """The served page of a long set."""
    asked: list[Questions] = []
    name = f"{vectors:,} vectors, 12 layers, 12 heads"
    yield Row(f"the model runs once on {name}", seconds(lambda: asked.append(questions_of(vectors, 12, 12))), "s")
    with address(asked[0]) as where:
        page = browser.new_page(viewport={"width": 1200, "height": 900})

        def open_it() -> None:
            page.goto(where)
            shown(page)

        yield Row(f"first picture of {name}", seconds(open_it), "s", 1)
        paint = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN")
        yield Row("first paint of the page", paint / 1000, "s", 1)

        def switch(head: int) -> float:
            def act() -> None:
                page.select_option("select[aria-label=head]", str(head))
                shown(page)

            return seconds(act)

        yield Row("another head", statistics.median(switch(head) for head in range(1, _TIMES + 1)), "s", 0.3)
        yield Row("from the pointer to the number", hovered(page), "s", 0.05)
        yield Row("memory of the tab", memory(browser), "MB", 300)
        page.close()


def hovered(page: Any) -> float:
    """The median time from a movement of the pointer to the number that the page tells."""
    found: float = page.evaluate(
        """async (times) => {
      const root = document.querySelector("#page").shadowRoot, canvas = root.querySelector(".main canvas");
      const box = canvas.getBoundingClientRect(), took = [];
      for (let n = 1; n <= times; n++) {
        const begin = performance.now();
        canvas.dispatchEvent(new MouseEvent("mousemove", { clientX: box.left + 150 + 20 * n, clientY: box.top + 150 + 10 * n }));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        if (!root.querySelector(".read [data-weight]")) return NaN;
        took.push(performance.now() - begin);
      }
      return took.sort((a, b) => a - b)[times >> 1] / 1000;
    }""",
        _TIMES,
    )
    return found


def of_files(browser: Any, folder: Path) -> Iterator[Row]:
    """Files that need nothing else, ours and BertViz's."""
    questions = questions_of(64, 4, 4)
    small = folder / "small.html"
    small.write_text(offline_page(questions, questions.all()), encoding="utf-8")
    yield Row("file of 64 words, 4 layers, 4 heads", small.stat().st_size / 1e6, "MB", 2)
    questions = questions_of(512, 12, 12)
    large = folder / "large.html"
    took = seconds(lambda: large.write_text(offline_page(questions, questions.all(0)), encoding="utf-8"))
    yield from _opened(browser, "ours, one of 12 layers", large, took, "[data-ready] .main[aria-busy=false] canvas")
    try:
        head_view = importlib.import_module("bertviz").head_view
    except ImportError:
        return
    weights = torch.rand(12, 1, 12, 512, 512).softmax(-1)
    other, tokens = folder / "bertviz.html", [f"word{n}" for n in range(512)]

    def write() -> None:
        page = head_view(tuple(weights), tokens, html_action="return").data
        other.write_text(f"<!doctype html><html><head>{_REQUIRE}</head><body>{page}</body></html>", encoding="utf-8")

    yield from _opened(browser, "BertViz, 12 layers", other, seconds(write), "svg line, svg text")


_REQUIRE = '<script src="https://cdnjs.cloudflare.com/ajax/libs/require.js/2.3.6/require.min.js"></script>'


def _opened(browser: Any, name: str, file: Path, took: float, selector: str) -> Iterator[Row]:
    name = f"512 words, 12 heads: {name}"
    yield Row(f"{name}, written in", took, "s")
    yield Row(f"{name}, size", file.stat().st_size / 1e6, "MB")
    page = browser.new_page()

    def open_it() -> None:
        page.goto(file.as_uri(), wait_until="commit")
        page.wait_for_selector(selector, timeout=300_000, state="attached")

    try:
        yield Row(f"{name}, first picture after opening", seconds(open_it), "s")
    except Exception as error:
        print(f"{name}: no picture ({str(error).splitlines()[0]})")
    page.close()


def main(vectors: int) -> None:
    """Measure, print and write."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, chromium() as browser:
        for row in itertools.chain(of_files(browser, Path(folder)), of_the_page(browser, vectors)):
            print(row, flush=True)
            rows.append(row)
    write("inspector", {"case": "inspector", "rows": [row.shown() for row in rows], "machine": machine()}, show=False)


if __name__ == "__main__":
    options = argparse.ArgumentParser(description="How quickly the page of `regard inspect` answers.")
    options.add_argument("--vectors", type=int, default=4096)
    main(options.parse_args().vectors)
