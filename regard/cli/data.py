"""`regard data`: the published data sets, and a look at one's own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.cli.options import parse, parser
from regard.data.registry import DATASETS, get, locate
from regard.errors import InputError, nearest

if TYPE_CHECKING:
    from regard.data.reader import Reader
    from regard.data.survey import Survey

__all__ = ["run"]

_DESCRIPTION = """`regard data look PATH` says what a file or folder, or a published data set, would be read as: its format, columns
and encoding, its parts and labels with counts, what is skipped and why, and the first examples. Nothing is trained or written.
`regard data list` says where each data set comes from, its licence and its checksums.
`regard data get NAME` downloads one from its source, checks it, and prints the folder where it lies.
The folder named by the environment variable REGARD_DATA is looked at first."""


def run(arguments: Sequence[str]) -> int:
    options = parser("data", _DESCRIPTION)
    options.add_argument("action", metavar="look | list | get", help="what to do")
    options.add_argument("name", metavar="PATH | NAME", nargs="?", help="a file or folder to look at, or a data set")
    options.add_argument(
        "--as", metavar="TYPE", help="the reader to look with, such as Texts, if not the one for most files"
    )
    options.add_argument("--json", action="store_true", help="print what a look finds as an object of JSON")
    options.add_argument(
        "--data.OPTION", metavar="VALUE", help="look with an option of the reader, as in `regard train`"
    )
    own, reading = _divided(arguments)
    chosen = parse(options, own)
    if chosen.action != "look" and (reading or chosen.json or chosen["as"]):
        raise InputError(f"data {chosen.action} takes no options, expected them after `data look PATH`")
    if chosen.action == "list":
        print("\n\n".join(_told(name) for name in ([chosen.name] if chosen.name else DATASETS)))
    elif chosen.action == "get":
        if chosen.name is None:
            raise InputError(f"data get needs a name, expected one of {', '.join(DATASETS)}")
        print(get(chosen.name))
    elif chosen.action == "look":
        if chosen.name is None:
            raise InputError(f"data look needs a file or folder, or a name, one of {', '.join(DATASETS)}")
        survey = _look(chosen.name, chosen["as"], reading)
        print(json.dumps(survey.as_json(), ensure_ascii=False, indent=1) if chosen.json else survey.full())
    else:
        raise InputError(f"data does not know {chosen.action!r}: {nearest(chosen.action, ('look', 'list', 'get'))}")
    return 0


def _divided(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The command's own arguments, and those that set options of the reader."""
    own: list[str] = []
    reading: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        goes = reading if argument.startswith("--data.") else own
        goes.append(argument)
        if goes is reading and "=" not in argument and rest and not rest[0].startswith("--"):
            goes.append(rest.pop(0))
    return own, reading


def _look(name: str, kind: str | None, arguments: Sequence[str]) -> Survey:
    """What the reader for a place, or for a published data set, finds there."""
    from regard.data.readers import READERS, reader_of

    known = {reader.__name__: reader for reader in READERS}
    if kind is not None and kind not in known:
        raise InputError(f"--as is {kind!r}: {nearest(kind, known)}")
    place = Path(name)
    if name in DATASETS and not place.exists():
        return _published(name, kind, arguments).survey()
    chosen = known[kind] if kind else reader_of(place)
    return _made(chosen, {"path": name}, arguments).survey()


def _published(name: str, kind: str | None, arguments: Sequence[str]) -> Reader:
    """The reader of the recipe that a published data set belongs to."""
    from regard.recipes import RECIPES, recipe

    for each in RECIPES:
        reader = recipe(each).experiment().data
        if reader.path is None and reader.published == name and kind in (None, type(reader).__name__):
            values = {entry.name: getattr(reader, entry.name) for entry in fields(reader)}
            return _made(type(reader), values, arguments)
    raise InputError(f"no recipe trains on {name!r}: it lies in {locate(name)}, expected a file or folder in it")


def _made(reader: type[Reader], values: dict[str, Any], arguments: Sequence[str]) -> Reader:
    """The reader with its options as the arguments set them."""
    options = parser("data look", "")
    options.add_class_arguments(reader, "data")
    nested = {entry.name for entry in fields(reader) if is_dataclass(values.get(entry.name))}
    options.set_defaults({f"data.{name}": asdict(v) if name in nested else v for name, v in values.items()})
    chosen = parse(options, arguments)
    made: Reader = options.instantiate(chosen)["data"]
    return made


def _told(name: str) -> str:
    if name not in DATASETS:
        raise InputError(f"there is no data set {name!r}: {nearest(name, DATASETS)}")
    published = DATASETS[name]
    try:
        place = str(locate(name))
    except InputError:
        place = "not here" + (f": regard data get {name}" if published.base else "")
    told = {
        "what": published.title,
        "source": published.source,
        "licence": published.licence,
        "cite": published.citation,
        "note": published.note,
        "here": place,
    }
    lines = [name, *(f"    {word:8} {text}" for word, text in told.items() if text)]
    lines += [f"    sha-256  {checksum}  {file}" for file, checksum in published.files.items()]
    return "\n".join(lines)
