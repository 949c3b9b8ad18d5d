"""What names say: which part of a data set a file, a folder or a value of a column is, and which files nobody put there."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from regard.data.examples import PARTS, Part
from regard.errors import InputError, nearest

__all__ = ["PART_NAMES", "hidden", "hidden_in", "part_in", "part_of", "stated_part"]

PART_NAMES: dict[str, Part] = {
    "train": "train",
    "training": "train",
    "trn": "train",
    "validation": "validation",
    "validate": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "devel": "validation",
    "development": "validation",
    "eval": "validation",
    "evaluation": "validation",
    "test": "test",
    "testing": "test",
    "tst": "test",
}
"""What the parts of a data set are called in files, folders and columns, in small letters."""

# Words that people add to the name of a part: "train set", "testdata".
_ADDED = ("set", "data", "dataset", "split", "part", "subset")
# What systems and programs leave in folders, in small letters.
_SYSTEM = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "@eadir", "__pycache__"),
    *("$recycle.bin", "system volume information", "lost+found"),
}


def _words(name: str) -> list[str]:
    """The words of a name in small letters, without what only says that it is a set: `TrainImages`, `train2017`, `testset`."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word.lower() for word in re.findall(r"[^\W\d_]+", apart)]
    for at, word in enumerate(words):
        short = next((word.removesuffix(end) for end in _ADDED if word.removesuffix(end) in PART_NAMES), word)
        words[at] = short
    return [word for word in words if word not in _ADDED] or words


def part_of(name: str) -> Part | None:
    """The part that a name is the name of, whatever the case of its letters, and whatever number it has.

    >>> part_of("Train"), part_of("TESTING"), part_of("val2017"), part_of("test set"), part_of("train_station")
    ('train', 'test', 'validation', 'test', None)
    """
    words = _words(name)
    return PART_NAMES.get(words[0]) if len(words) == 1 else None


def part_in(name: str) -> Part | None:
    """The part that a file's name tells: that of the last of its words which names one.

    >>> part_in("stsa.binary.dev"), part_in("Reviews_TRAIN.csv"), part_in("testament.txt")
    ('validation', 'train', None)
    """
    return next((PART_NAMES[word] for word in reversed(_words(name)) if word in PART_NAMES), None)


def stated_part(text: str, where: str, column: str = "split") -> Part:
    """The part that a value of a column names; `where` begins the sentence of an error.

    Raises:
        InputError: it names none.

    >>> stated_part(" Valid ", "nodes.csv, line 3,")
    'validation'
    """
    part = part_of(text)
    if part is None:
        clause = nearest(text.strip().lower(), PART_NAMES)
        clause = clause if clause.startswith("did you mean") else f"expected {', '.join(PARTS)}"
        joint = ":" if clause.startswith("did") else ","
        raise InputError(f"{where} has the {column} {text!r}{joint} {clause}")
    return part


def hidden(name: str) -> bool:
    """Whether a file or folder of this name is none of the user's data: hidden, or left by a system or a program.

    >>> [hidden(name) for name in (".ipynb_checkpoints", "._1.png", "__MACOSX", "Thumbs.db", "~$text.txt", "cats")]
    [True, True, True, True, True, False]
    """
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM


def hidden_in(path: str) -> str:
    """The first of the folders of a relative path, or the file, that is `hidden`, as a path; empty where none is.

    >>> hidden_in("cats/.git/objects/ab"), hidden_in("cats/1.png")
    ('cats/.git', '')
    """
    parts = PurePosixPath(path).parts
    first = next((at for at, name in enumerate(parts) if hidden(name)), None)
    return "" if first is None else "/".join(parts[: first + 1])
