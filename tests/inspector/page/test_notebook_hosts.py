"""The page in real notebooks: JupyterLab and marimo, where they are installed (`pip install jupyterlab marimo`)."""

import os
import re
import subprocess
import sys
import threading
from contextlib import contextmanager

import nbformat
import pytest

from tests.inspector.test_inspection import a_run, an_example, weights_of

CELL = """from tests.inspector.page.conftest import WORDS
from tests.inspector.test_inspection import a_run, an_example
from regard.inspector.page.widget import inspect_run

inspect_run(a_run(), [[an_example(6, "six words", WORDS)]])"""
SLOW = 180_000  # milliseconds until a notebook is there, on a busy machine


@contextmanager
def hosted(command, folder, pattern):
    """The address that a notebook's server prints."""
    root = os.getcwd()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "JUPYTER_PATH": os.pathsep.join(
            [os.path.join(sys.prefix, "share", "jupyter"), *filter(None, [os.environ.get("JUPYTER_PATH")])]
        ),
        "HOME": str(folder),
        "MARIMO_SKIP_UPDATE_CHECK": "1",
    }
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    found, ready = [], threading.Event()

    def read():
        for line in process.stdout:
            if (address := re.search(pattern, line)) and not found:
                found.append(address[0])
                ready.set()
        ready.set()

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        assert ready.wait(120)
        assert found, f"{command[0]} ended with {process.wait()}"
        yield found[0]
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def looked_at(page):
    """The page of the widget answers: the weights of another layer are those of torch."""
    page.wait_for_selector(".page[data-ready]", timeout=SLOW)
    page.select_option("select[aria-label=layer]", "1")
    page.wait_for_selector(".main[aria-busy=false]")
    weights = weights_of(a_run(), an_example(6), 1)[0]
    page.locator(".main canvas").focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    read = page.locator(".read > div")
    row, column = (int(read.get_attribute(f"data-{name}")) for name in ("row", "column"))
    assert (row, column) == (1, 1)
    assert float(read.get_attribute("data-weight")) == pytest.approx(float(weights[1, 1]), abs=1e-6)
    with page.expect_download() as saved:
        page.click("text=save as SVG")
    assert saved.value.suggested_filename == "matrix.svg"


@pytest.mark.rare
@pytest.mark.timeout(400)
def test_jupyterlab(browser, tmp_path):
    pytest.importorskip("jupyterlab", reason="JupyterLab is not installed")
    pytest.importorskip("anywidget")
    cells = [nbformat.v4.new_code_cell(CELL)]
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), tmp_path / "page.ipynb")
    command = [
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        "--ServerApp.port=0",
        "--LabApp.news_url=",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
    ]
    with hosted(command, tmp_path, r"http://(127\.0\.0\.1|localhost):\d+/lab\?token=\w+") as address:
        page = browser.new_page()
        page.goto(address.replace("/lab?", "/lab/tree/page.ipynb?"), timeout=SLOW)
        page.wait_for_selector(".jp-Notebook-cell .cm-content", timeout=SLOW)
        page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=SLOW)
        page.click(".jp-Notebook-cell .cm-content")
        page.keyboard.press("Control+Enter")
        looked_at(page)
        page.close()


@pytest.mark.rare
@pytest.mark.timeout(400)
def test_marimo(browser, tmp_path):
    pytest.importorskip("marimo", reason="marimo is not installed")
    pytest.importorskip("anywidget")
    body = "".join(f"    {line}\n" if line else "\n" for line in CELL.splitlines())
    text = f"import marimo\n\napp = marimo.App()\n\n\n@app.cell\ndef _():\n{body}    return\n"
    (tmp_path / "page.py").write_text(text)
    command = ["marimo", "run", "--headless", "--no-token", "--port", "0", "page.py"]
    with hosted(command, tmp_path, r"http://(127\.0\.0\.1|localhost):\d+") as address:
        page = browser.new_page()
        page.goto(address, timeout=SLOW)
        looked_at(page)
        page.close()
