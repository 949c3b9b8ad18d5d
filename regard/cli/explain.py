"""`regard explain`: one output vector by its numbers, or which words of a sentence its translation looks at."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from regard.cli.options import parse, parser
from regard.cli.pictures import picture_format, place_to_write, svg_format, write_picture
from regard.cli.sources import datasets, sources_of
from regard.errors import InputError
from regard.files import write_atomically
from regard.train.folder import read_config

__all__ = ["run"]

_DESCRIPTION = """One output vector by its numbers: the query, every key it attends to, score, weight, value, and the
weighted sum, which is the model's own output. Without RUN, four vectors whose numbers can be worked by hand.
Of a picture, --out draws the weights over it. Of a run
that writes sequences, such as translations: how much each piece that is written attends to each piece that is read."""


def run(arguments: Sequence[str]) -> int:
    options = parser("explain", _DESCRIPTION)
    options.add_argument("run", metavar="RUN", nargs="?", help="a run folder")
    options.add_argument("input", metavar="INPUT", nargs="?", help="what `regard predict` takes")
    options.add_argument("--text", type=str, default="", metavar="TEXT", help="a text itself, in place of INPUT")
    options.add_argument(
        "--query",
        type=int | Literal["class"] | None,
        help="which input of the set, from 0, or class for a class vector; where several became one vector any of those; 1 if not "
        "given. Of what is written: this piece alone, by its numbers",
    )
    options.add_argument(
        "--layer",
        type=int | None,
        help="which attention of the model, from 0; of what is written the mean if not given",
    )
    options.add_argument("--head", type=int | None, help="which head, from 0; of what is written the mean if not given")
    options.add_argument("--set", type=int, default=0, help="which set of the input, from 0")
    options.add_argument("--encoder", action="store_true", help="of what is read, where the run writes sequences")
    options.add_argument(
        "--target", type=str, default="", metavar="TEXT", help="to write, in place of what the run writes"
    )
    options.add_argument("--json", action="store_true", help="the numbers as a JSON object")
    options.add_argument(
        "--out",
        default="",
        metavar="PICTURE",
        help="draw what is written against what is read, in place of a table; or a molecule with the weights of its atoms, as SVG; "
        "or a picture under the weights of its patches",
    )
    chosen = parse(options, arguments)
    if chosen.run is not None and (chosen.input is None) == (not chosen.text):
        given = "without an INPUT" if chosen.input is None else "with an INPUT and a --text"
        raise InputError(f"explain got the run {chosen.run!r} {given}, expected one to run it on")
    if chosen.run is not None:
        _print(chosen)
        return 0
    if any(chosen[name] for name in ("layer", "head", "set", "text", "encoder", "target", "out")):
        raise InputError("the example has one set, layer and head, expected RUN and INPUT to choose others")
    if chosen.query == "class":
        raise InputError("the example has no class vector, expected --query 0 to 3")

    from regard.inspector.explain import explain_example

    print(_form(explain_example(1 if chosen.query is None else chosen.query), chosen.json))
    return 0


def _form(found: Any, as_json: bool) -> str:
    return json.dumps(asdict(found), ensure_ascii=False) if as_json else str(found)


def _print(chosen: Any) -> None:
    """Explain what a run computes for an input."""
    reader = read_config(Path(chosen.run)).data
    texts = [chosen.text] if chosen.text else []
    sources = sources_of(reader, [chosen.input] if chosen.input is not None else [], texts, "explain")
    # Of one atom's query, in place of all that a run writes.
    molecule = hasattr(reader, "picture")
    if chosen.out and molecule and not (sources[0].is_text and chosen.query != "class"):
        raise InputError(f"--out is {chosen.out!r}, expected it where INPUT is the SMILES of a molecule")
    out = None
    if chosen.out:
        such, check = ("molecule.svg", svg_format) if molecule else ("alignment.png", picture_format)
        out = place_to_write(chosen.out, f"a picture to write, such as {such}", check)

    from regard.models.sequences import SequenceModel
    from regard.train import Run

    opened = Run.open(chosen.run)
    inputs = list(datasets(opened, sources))
    writes = isinstance(opened.model, SequenceModel)
    pictured = not writes and all(hasattr(part, "picture") for part in inputs)
    # What neither writes nor is a picture has nothing to draw, which is said below.
    chosen_parts = chosen.query is not None or chosen.encoder
    beside = (chosen.json or chosen_parts) if writes else (chosen.json and pictured)
    if out and not molecule and beside:
        also = "--json" if pictured else "--query, --encoder or --json"
        raise InputError(
            f"--out draws all that is {'attended to' if pictured else 'written'}, expected no {also} with it"
        )
    if chosen.encoder or not writes:
        _refuse_written(chosen, writes, drawn=molecule or pictured)
        if out is not None and pictured:
            from regard.inspector.overlay import overlay_run

            asked = 1 if chosen.query is None else chosen.query
            found = overlay_run(opened, inputs, asked, chosen.layer or 0, chosen.head or 0, chosen.set)
            write_picture(found.plot(), out)
            return

        from regard.inspector.explain import explain_run

        query = 1 if chosen.query is None else chosen.query
        explanation = explain_run(opened, inputs, query, chosen.layer or 0, chosen.head or 0, chosen.set)
        if out is not None:
            weights = {heard.index: heard.weight for heard in explanation.heard}
            drawing_reader: Any = opened.experiment.data
            picture = drawing_reader.picture(sources[0].value, weights, explanation.index)
            write_atomically(out, picture.encode())
        print(_form(explanation, chosen.json))
        return
    _print_written(chosen, opened, inputs, out)


def _print_written(chosen: Any, opened: Any, inputs: Any, out: Path | None) -> None:
    """Explain what a run writes for an input."""
    from regard.inspector.alignment import align_run, explain_written

    target = _target(opened.experiment.data, chosen.target, opened.encoding) if chosen.target else None
    if chosen.query is not None:
        if chosen.query == "class":
            raise InputError("query class was asked for, expected the number of a piece that is written, or --encoder")
        places = chosen.query, chosen.layer or 0, chosen.head or 0, chosen.set
        print(_form(explain_written(opened, inputs, *places, target), chosen.json))
        return
    found = align_run(opened, inputs, chosen.layer, chosen.head, chosen.set, target)
    if out is None:
        print(_form(found, chosen.json))
        return

    from regard.vectors.lettering import lettering

    names = [*found.source, *found.written]
    letters = lettering(names)
    if note := letters.note(names):
        print(note, file=sys.stderr)
    write_picture(found.plot(letters), out)
    print(out)


def _refuse_written(chosen: Any, writes: bool, drawn: bool) -> None:
    """Refuse options of what is written where it is not what is explained."""
    if chosen.encoder and not writes:
        raise InputError("--encoder is for runs that write sequences, and this one writes none")
    for name in ("target", "out"):
        if chosen[name] and not (drawn and name == "out"):
            without = "expected no --encoder with it" if writes else "and this one writes none"
            raise InputError(f"--{name} is for what a run writes, {without}")


def _target(reader: Any, text: str, encoding: Any) -> Any:
    if not hasattr(reader, "target"):
        raise InputError(
            f"--target is for targets that are texts, and data of the type {type(reader).__name__} has none"
        )
    return reader.target(text, encoding)
