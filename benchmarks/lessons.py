"""Lessons are notebooks in `docs/lessons`, kept with their outputs.

python -m benchmarks.lessons           executes them again, in place
python -m benchmarks.lessons pages     writes each as a page for the documentation, from the outputs that it holds
"""

import base64
import html
import re
import sys
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

__all__ = ["LESSONS", "execute", "main", "outputs", "page", "without_process"]

_PICTURES = {"image/png", "image/svg+xml"}

LESSONS = Path(__file__).parent.parent / "docs" / "lessons"


def execute(path: Path) -> Any:
    """The notebook with the outputs of a fresh run; an error in a cell is raised."""
    notebook = nbformat.read(path, as_version=4)
    options: dict[str, Any] = {"timeout": 300, "kernel_name": "python3"}
    options |= {"record_timing": False, "store_widget_state": False}
    NotebookClient(notebook, **options).execute()
    for cell in notebook.cells:
        if "outputs" in cell:
            cell.outputs = [kept for output in cell.outputs for kept in without_process(output)]
    return notebook


def without_process(output: Any) -> list[Any]:
    """What is left of an output without its process: of a widget its picture, and below it the page, where that is saved.

    They are two outputs, because those who show notebooks choose one form of each, and some show no frames.
    """
    data = output.get("data", {})
    if data.pop("application/vnd.jupyter.widget-view+json", None) is None or "text/html" not in data:
        return [output]
    return [output, nbformat.v4.new_output("display_data", {"text/html": data.pop("text/html")})]


def outputs(notebook: Any) -> list[str]:
    """What each code cell prints, without pictures: the same on every machine."""
    return ["".join(_printed(output) for output in cell.outputs) for cell in notebook.cells if cell.cell_type == "code"]


def _printed(output: Any) -> str:
    if output.output_type == "stream":
        return str(output.text)
    data = output.get("data", {})
    return "" if _PICTURES & set(data) else str(data.get("text/plain", ""))


def page(path: Path) -> None:
    """Write `NAME.md` beside `NAME.ipynb`, with its pictures as files."""
    notebook = nbformat.read(path, as_version=4)
    parts: list[str] = []
    pictures = 0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source)
            continue
        parts.append(f"```python\n{cell.source}\n```")
        for output in cell.outputs:
            if "image/png" in output.get("data", {}):
                pictures += 1
                picture = path.with_name(f"{path.stem}-{pictures}.png")
                picture.write_bytes(base64.b64decode(output.data["image/png"]))
                parts.append(f"![]({picture.name})")
            elif frame := re.search(r'<iframe [^>]*srcdoc="([^"]*)"', output.get("data", {}).get("text/html", "")):
                place = path.with_name(f"{path.stem}-{pictures}.html")
                place.write_text(html.unescape(frame[1]), encoding="utf-8")
                parts.append(f"[The page itself]({place.name}), without Python")
            elif "image/svg+xml" in output.get("data", {}):
                pictures += 1
                drawing = path.with_name(f"{path.stem}-{pictures}.svg")
                drawing.write_text(output.data["image/svg+xml"])
                parts.append(f"![]({drawing.name})")
            else:
                parts.append(f"```text\n{_printed(output).rstrip()}\n```")
    path.with_suffix(".md").write_text("\n\n".join(parts) + "\n")


def main() -> int:
    """Execute every lesson, or write its page."""
    for path in sorted(LESSONS.glob("*.ipynb")):
        if sys.argv[1:] == ["pages"]:
            page(path)
        else:
            nbformat.write(execute(path), path)
            print(f"executed {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
