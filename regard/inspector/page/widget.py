"""The page in a notebook: an anywidget whose questions are answered by the notebook's own process."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from regard.data.examples import Array, Dataset, VectorSet
from regard.errors import InputError
from regard.inspector.answering import Answering
from regard.inspector.answers import Questions
from regard.inspector.inspection import Inspection
from regard.inspector.page.drawing import View, draw, views_of, with_pictures
from regard.inspector.page.frames import MODULE, answered, script
from regard.inspector.page.offline import offline_page

__all__ = ["framed_page", "inspect_run", "widget"]


def inspect_run(
    run: Any,
    inputs: Iterable[Dataset],
    set: int = 0,  # noqa: A002
    target: VectorSet | None = None,
    samples: Array | None = None,
    saved: bool = False,
) -> Any:
    """The page for a run and an input, to stand at the end of a notebook's cell: `inspect_run(run, [run.texts(["I saw a saw"])])`.

    Args:
        samples: of a sound, at 16 kHz. saved: as in `widget`.
        run, inputs, set, target: as in `explain_run` and `align_run`.

    Raises:
        InputError: as `Inspection.of_run` and `widget`.
    """
    return widget(Questions(Inspection.of_run(run, inputs, set, target, samples=samples)), saved)


def framed_page(questions: Answering) -> str:
    """The page that a file would hold, in a frame of an HTML document.

    Raises:
        InputError: as `offline_page`.
    """
    # Of ASCII alone, so that its script is the one that its policy allows, whatever encoding the document has.
    page = html.escape(offline_page(questions, questions.all())).encode("ascii", "xmlcharrefreplace").decode()
    style = "width:100%;height:640px;border:0;background:white"
    return f'<iframe sandbox="allow-scripts" style="{style}" srcdoc="{page}"></iframe>'


def widget(questions: Answering, saved: bool = False) -> Any:
    """An `anywidget.AnyWidget` that shows the page; in Jupyter, marimo and what else hosts such widgets.

    Args:
        saved: whether a saved notebook holds the whole page, as a file of `--html` does, and not its first view alone; all answers
            are then computed when it is shown.

    Raises:
        InputError: without the package anywidget.
    """
    try:
        import anywidget
    except ImportError:
        needed = "pip install 'regard[notebook]'"
        raise InputError(f"a notebook needs the package anywidget, which cannot be imported here: {needed}") from None

    asks = with_pictures(questions)

    class Inspector(anywidget.AnyWidget):
        _esm = script(MODULE)

        def __init__(self) -> None:
            super().__init__()
            self.on_msg(self._answer)

        def _repr_mimebundle_(self, **options: Any) -> Any:
            """The widget, and for whoever reads the notebook without a kernel the view that it begins with, or the page."""
            bundle = super()._repr_mimebundle_(**options)
            data, *rest = bundle if isinstance(bundle, tuple) else (bundle,)
            if data is None:
                return bundle
            told = {"text/plain": f"{questions.name}: {questions.title}"}
            pictured = {**data, **told, "image/svg+xml": draw(questions, View(views_of(questions)[0]))}
            if saved:
                pictured["text/html"] = framed_page(questions)
            return (pictured, *rest) if rest else pictured

        def _answer(self, _: Any, content: Any, buffers: Any) -> None:
            question = dict(content) if isinstance(content, dict) else content
            number = question.pop("id", None) if isinstance(question, dict) else None
            answer = answered(asks, question)
            self.send({**answer.content, "id": number}, list(answer.buffers))

    return Inspector()
