"""`regard inspect`: who attends to whom, in a page, a file or a picture."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.cli.options import parse, parser
from regard.cli.pictures import place_to_write
from regard.cli.sources import datasets, sources_of
from regard.errors import InputError
from regard.files import write_atomically
from regard.train.folder import read_config

if TYPE_CHECKING:
    from regard.inspector.answering import Answering

__all__ = ["run"]

_DESCRIPTION = """Who attends to whom, in a page of the browser: the weights of every layer and head of a run on an input of your
own, computed when they are asked for. The page is served to this machine alone, until Ctrl-C.
`regard inspect vectors FILE` shows word vectors: neighbors, analogies, a plane."""
_VIEWS = "for --svg: matrix, lines, heads, step, compare, place, switch, rollout or gradient; matrix if not given"
_OF_RUNS = ("input", "text", "set", "target", "beside", "beside_input")


def run(arguments: Sequence[str]) -> int:
    options = parser("inspect", _DESCRIPTION)
    options.add_argument(
        "run", metavar="RUN", help="a run folder; or a pattern, an Attention or positions by their text form"
    )
    options.add_argument("input", metavar="INPUT", nargs="?", help="what `regard predict` takes")
    options.add_argument("--text", type=str, default="", metavar="TEXT", help="a text itself, in place of INPUT")
    options.add_argument("--set", type=int, default=0, help="which set of the input, from 0")
    options.add_argument(
        "--target", type=str, default="", metavar="TEXT", help="to write, in place of what the run writes"
    )
    options.add_argument(
        "--beside",
        default="",
        metavar="OTHER",
        help="another run on the same input, or a pattern or an Attention for the run's own queries and keys",
    )
    options.add_argument("--beside-input", default="", metavar="INPUT", help="another input, for the same run")
    options.add_argument("--port", type=int, default=0, help="of the page; a free one if not given")
    options.add_argument("--no-open", action="store_true", help="print the address and open no browser")
    options.add_argument(
        "--html", default="", metavar="FILE", help="write the page into a file that needs nothing else"
    )
    options.add_argument("--svg", default="", metavar="FILE", help="draw a view")
    options.add_argument("--view", default="", metavar="VIEW", help=_VIEWS)
    options.add_argument("--layer", type=int | None, help="for --svg, or alone in --html: which attention, from 0")
    options.add_argument("--head", type=int, default=0, help="for --svg: which head, from 0")
    options.add_argument("--query", type=int, default=0, help="for --svg: which query, from 0")
    options.add_argument("--map", type=int, default=0, help="for --svg of positions: which map, from 0")
    options.add_argument(
        "--length", type=int | None, help="of a pattern or positions without a run: vectors of a set, 64 if not given"
    )
    chosen = parse(options, arguments)
    if chosen.view and not chosen.svg:
        raise InputError(f"--view is {chosen.view!r} without a picture, expected --svg FILE with it")
    page = _place(chosen.html, "--html", ".html")
    picture = _place(chosen.svg, "--svg", ".svg")
    questions = _questions(chosen)
    if picture is not None:
        from regard.inspector.page.drawing import View, draw, views_of

        view = View(chosen.view or views_of(questions)[0], chosen.layer or 0, chosen.head, chosen.query, map=chosen.map)
        write_atomically(picture, draw(questions, view).encode())
        print(picture)
    if page is not None:
        from regard.inspector.page.offline import offline_page

        write_atomically(page, offline_page(questions, questions.all(chosen.layer)).encode())
        print(page)
    if page is None and picture is None:
        from regard.inspector.page.drawing import with_pictures
        from regard.inspector.page.server import serve

        serve(with_pictures(questions), chosen.port, not chosen.no_open)
    return 0


def _questions(chosen: Any) -> Answering:
    """What is looked at: word vectors, an attention or positions without a run, or a run and its input."""
    if chosen.run == "vectors":
        return _words(chosen)
    spec = _is_spec(chosen.run)
    if not spec and chosen.length is not None:
        raise InputError("--length is for a pattern without a run, whose input has a length")
    if spec:
        if more := [name for name in _OF_RUNS if chosen[name]]:
            raise InputError(f"inspect got a pattern with {' and '.join(more)}, expected a pattern alone")
    elif (chosen.input is None) == (not chosen.text):
        given = "without an INPUT" if chosen.input is None else "with an INPUT and a --text"
        raise InputError(f"inspect got the run {chosen.run!r} {given}, expected one to run it on")
    return _sketched(chosen) if spec else _opened(chosen)


def _place(out: str, option: str, suffix: str) -> Path | None:
    """The file to write, or None where none is asked for."""
    if not out:
        return None

    def check(path: Path) -> None:
        if path.suffix.lower() != suffix:
            raise InputError(f"{option} is {str(path)!r}, expected a name that ends in {suffix}")

    return place_to_write(out, f"a file to write, such as weights{suffix}", check, option)


def _is_spec(operand: str) -> bool:
    """Whether the first operand is the text form of a pattern or an attention: no folder has such a name."""
    return re.match(r"[\s(~]*[A-Z]\w*\(", operand) is not None and not Path(operand).exists()


def _words(chosen: Any) -> Answering:
    """Word vectors, and the words to begin with."""
    from regard.inspector.words import WordQuestions
    from regard.vectors.files import load

    if chosen.input is None:
        raise InputError("inspect vectors got no file, expected a file of word vectors")
    if more := [name for name in (*_OF_RUNS[2:], "length") if chosen[name]]:
        raise InputError(f"inspect vectors got {' and '.join(more)}, expected a file and words as --text alone")
    return WordQuestions(load(chosen.input), Path(chosen.input).name, chosen.text.split())


def _sketched(chosen: Any) -> Answering:
    """An attention, or positions, without a run."""
    from regard.inspector.position_maps import PositionMaps, is_position

    length = 64 if chosen.length is None else chosen.length
    if is_position(chosen.run):
        return PositionMaps(chosen.run, length)

    from regard.inspector.answers import Questions
    from regard.inspector.sketch import Sketch

    return Questions(Sketch(chosen.run, length))


def _opened(chosen: Any) -> Answering:
    """The run and the input that were chosen."""
    reader: Any = read_config(Path(chosen.run)).data
    texts = [chosen.text] if chosen.text else []
    sources = sources_of(reader, [chosen.input] if chosen.input is not None else [], texts, "inspect")

    from regard.inspector.answers import Questions
    from regard.inspector.inspection import Inspection
    from regard.models.sequences import SequenceModel
    from regard.train import Run

    opened = Run.open(chosen.run)
    target = None
    if chosen.target:
        if not isinstance(opened.model, SequenceModel) or not hasattr(reader, "target"):
            raise InputError("--target is for runs that write texts, and this one writes none")
        target = reader.target(chosen.target, opened.encoding)
    files = not sources[0].is_text
    samples = _samples(reader, sources[0].value) if files else None
    found = Inspection.of_run(opened, datasets(opened, sources), chosen.set, target, files, samples)
    if chosen.beside_input:
        if chosen.beside:
            raise InputError("inspect got a --beside and a --beside-input, expected one of them")
        others = sources_of(reader, [chosen.beside_input], [], "inspect")
        other_files = not others[0].is_text
        return Questions(found, Inspection.of_run(opened, datasets(opened, others), files=other_files, named=True))
    if not chosen.beside:
        return Questions(found)
    if _is_spec(chosen.beside):
        from regard.inspector.beside import Otherwise

        return Questions(found, Otherwise(chosen.beside, found))
    other = Run.open(chosen.beside)
    return Questions(found, Inspection.of_run(other, datasets(other, sources), chosen.set, files=files))


def _samples(reader: Any, path: str) -> Any:
    """The samples of a sound file; None of other data, of folders and of standard input."""
    from regard.data.sound_reader import SoundReader

    if not isinstance(reader, SoundReader) or not Path(path).is_file():
        return None

    from regard.data.sound import read_sound

    return read_sound(Path(path))
