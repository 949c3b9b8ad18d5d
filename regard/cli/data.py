"""`regard data`: the published data sets."""

from collections.abc import Sequence

from regard.cli.options import parse, parser
from regard.data.registry import DATASETS, get, locate
from regard.errors import InputError, nearest

__all__ = ["run"]

_DESCRIPTION = """`regard data list` says where each data set comes from, its licence and its checksums.
`regard data get NAME` downloads one from its source, checks it, and prints the folder where it lies.
The folder named by the environment variable REGARD_DATA is looked at first."""


def run(arguments: Sequence[str]) -> int:
    options = parser("data", _DESCRIPTION)
    options.add_argument("action", metavar="list | get", help="what to do")
    options.add_argument("name", metavar="NAME", nargs="?", help="a data set")
    chosen = parse(options, arguments)
    if chosen.action == "list":
        print("\n\n".join(_told(name) for name in ([chosen.name] if chosen.name else DATASETS)))
    elif chosen.action == "get":
        if chosen.name is None:
            raise InputError(f"data get needs a name, expected one of {', '.join(DATASETS)}")
        print(get(chosen.name))
    else:
        raise InputError(f"data does not know {chosen.action!r}: {nearest(chosen.action, ('list', 'get'))}")
    return 0


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
