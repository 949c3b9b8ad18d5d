"""`regard explain`: one output vector by its numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from regard.cli.options import parse, parser
from regard.cli.sources import datasets, sources_of
from regard.errors import InputError
from regard.files import write_atomically
from regard.train.folder import read_config

__all__ = ["run"]

_DESCRIPTION = """One output vector by its numbers: the query, every key it attends to, score, weight, value, and the
weighted sum, which is the model's own output. Without RUN, four vectors whose numbers can be worked by hand."""


def run(arguments: Sequence[str]) -> int:
    options = parser("explain", _DESCRIPTION)
    options.add_argument("run", metavar="RUN", nargs="?", help="a run folder")
    options.add_argument("input", metavar="INPUT", nargs="?", help="what `regard predict` takes")
    options.add_argument("--text", type=str, default="", metavar="TEXT", help="a text itself, in place of INPUT")
    options.add_argument(
        "--query",
        type=int | Literal["class"],
        default=1,
        help="which input of the set, from 0, or class for a class vector; where several became one vector any of those",
    )
    options.add_argument("--layer", type=int, default=0, help="which attention of the model, from 0")
    options.add_argument("--head", type=int, default=0, help="which head, from 0")
    options.add_argument("--set", type=int, default=0, help="which set of the input, from 0")
    options.add_argument(
        "--picture", type=str, default="", metavar="FILE", help="write the weights into a picture (SVG) of a molecule"
    )
    chosen = parse(options, arguments)
    if chosen.run is not None and (chosen.input is None) == (not chosen.text):
        given = "without an INPUT" if chosen.input is None else "with an INPUT and a --text"
        raise InputError(f"explain got the run {chosen.run!r} {given}, expected one to run it on")
    if chosen.run is None and any(chosen[name] for name in ("layer", "head", "set", "text")):
        raise InputError("the example has one set, layer and head, expected RUN and INPUT to choose others")
    if chosen.run is not None:
        reader = read_config(Path(chosen.run)).data
        texts = [chosen.text] if chosen.text else []
        sources = sources_of(reader, [chosen.input] if chosen.input is not None else [], texts, "explain")
        if chosen.picture and not (hasattr(reader, "picture") and sources[0].is_text and chosen.query != "class"):
            raise InputError(f"--picture is {chosen.picture!r}, expected it where INPUT is the SMILES of a molecule")
    elif chosen.picture:
        raise InputError("the example is no molecule, expected --picture with RUN and the SMILES of one")
    elif chosen.query == "class":
        raise InputError("the example has no class vector, expected --query 0 to 3")

    from regard.inspector.explain import explain_example, explain_run

    if chosen.run is None:
        print(explain_example(chosen.query))
        return 0

    import torch

    from regard.train import Run

    with torch.no_grad():
        opened = Run.open(chosen.run)
        inputs = datasets(opened, sources)
        explanation = explain_run(opened, inputs, chosen.query, chosen.layer, chosen.head, chosen.set)
    if chosen.picture:
        weights = {heard.index: heard.weight for heard in explanation.heard}
        drawing_reader: Any = opened.experiment.data
        picture = drawing_reader.picture(sources[0].value, weights, explanation.index)
        write_atomically(Path(chosen.picture), picture.encode())
    print(explanation)
    return 0
