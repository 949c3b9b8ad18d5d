"""The pictures of docs/inspect.md: the views of the page, photographed in a browser.

python -m benchmarks.inspector_pages [FOLDER]

Runs that are not in FOLDER yet are trained there (needs REGARD_DATA). Needs Playwright, and Chromium on the path.
"""

import io
import os
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.figures import IMAGES
from regard.cli import main as command
from regard.inspector.answering import Answering
from regard.inspector.answers import Questions
from regard.inspector.inspection import Inspection
from regard.inspector.page.drawing import with_pictures
from regard.inspector.page.server import serve
from regard.inspector.position_maps import PositionMaps
from regard.inspector.sketch import Sketch
from regard.inspector.words import WordQuestions
from regard.train import Run
from regard.vectors.files import load

__all__ = ["PAGES", "main"]

TRAINED = {
    "digits": ["digits", "--training.epochs", "12"],
    "tagging": [
        "tagging",
        "--model.width",
        "64",
        "--model.heads",
        "4",
        "--model.layers",
        "2",
        "--training.epochs",
        "1",
    ],
}
WORDS = ["--epochs", "1", "--minimum_count", "50"]
"""Options of the word vectors, which are learned from the novels."""
SENTENCE = "The old man the boats that their sons had built ."
PAGES = {
    "inspect-matrix": ("tagging", "matrix", ["ArrowDown"] * 2 + ["ArrowRight"] * 4),
    "inspect-lines": ("tagging", "lines", []),
    "inspect-heads": ("tagging", "heads", []),
    "inspect-step": ("tagging", "step", []),
    "inspect-compare": ("tagging", "compare", []),
    "inspect-switch": ("tagging", "switch", []),
    "inspect-place": ("digits", "place", []),
    "inspect-pattern": ("pattern", "matrix", []),
    "inspect-positions": ("positions", "", ["ArrowDown"] * 4),
    "inspect-words": ("words", "", []),
}
"""By name, what is looked at, the view, and the keys that are pressed in it."""


def questions(name: str, folder: Path) -> Answering:
    """What the page of a run, or of a pattern, is asked."""
    if name == "pattern":
        return Questions(Sketch("Window(8, 2) | First(1)", 40))
    if name == "positions":
        return PositionMaps("Rotary()", 40)
    if name == "words":
        file = folder / "words.txt"
        if not file.exists():
            assert command(["vectors", "train", "novels", "--out", str(file), *WORDS]) == 0
        return WordQuestions(load(file), file.name, ["sea"])
    place = folder / name
    if not place.exists():
        options = ["--training.progress", "false", "--training.device", "cpu"]
        assert command(["train", *TRAINED[name], "--folder", str(place), *options]) == 0
    run = Run.open(place)
    if name == "tagging":
        return Questions(Inspection.of_run(run, [run.texts([SENTENCE])]))
    return Questions(Inspection.of_run(run, [run.examples([digit()], ["seven"])]))


def digit() -> Any:
    """A seven of 8 x 8 pixels."""
    pixels = np.zeros((8, 8), np.float32)
    pixels[1, 2:6], pixels[2:4, 5], pixels[4:7, 4] = 0.9, 0.8, 0.7
    return pixels


@contextmanager
def address(asked: Answering) -> Iterator[str]:
    """Of a page that is served within it."""
    stop, ready, found = threading.Event(), threading.Event(), [""]

    def told(text: str) -> None:
        found[0] = text
        ready.set()

    thread = threading.Thread(target=serve, args=(with_pictures(asked), 0, False, told, stop))
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        stop.set()
        thread.join()


def photograph(browser: Any, where: str, view: str, keys: list[str], path: Path) -> None:
    """Write a picture of a view."""
    page = browser.new_page(viewport={"width": 1000, "height": 640})
    page.goto(where)
    page.wait_for_selector("[data-ready]")
    if view:
        page.click(f"[data-view={view}]")
    if view in ("step", "place"):
        page.select_option("select[aria-label=query]", "2" if view == "step" else "6")
    if view == "switch":
        page.click("text=all heads of layer 0")
        page.wait_for_selector("[data-switched]")
    page.wait_for_timeout(1000)
    for key in keys:
        page.locator(".main canvas").first.focus()
        page.keyboard.press(key)
    picture = Image.open(io.BytesIO(page.screenshot()))
    # Few colors make small files.
    picture.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(path, optimize=True)
    page.close()


def main(folder: Path, images: Path = IMAGES) -> None:
    """Photograph every view."""
    from playwright.sync_api import sync_playwright

    place = os.environ.get("REGARD_CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=place, args=["--no-sandbox"])
        for name in dict.fromkeys(each for each, _, _ in PAGES.values()):
            with address(questions(name, folder)) as where:
                for title, (of, view, keys) in PAGES.items():
                    if of == name:
                        photograph(browser, where, view, keys, images / f"{title}.png")
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/pages"))
