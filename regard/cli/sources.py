"""The inputs of a command: files and folders, standard input, and texts, which never name a file."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from regard.errors import InputError

if TYPE_CHECKING:
    import jsonargparse

    from regard.data.examples import Dataset
    from regard.data.reader import Reader
    from regard.train import Run

__all__ = ["Source", "add_sources", "datasets", "looks_like_text", "sources_of", "tell_skips", "with_ids"]

_MARKS = frozenset("._-+~/\\@=,%:#")
_JSON = re.compile(r"""\s*(\{\s*["}]|\[\s*["\[{\]])""")
_FILE = re.compile(
    r"(?i)\.(txt|csv|tsv|jsonl?|ndjson|ya?ml|conllu?|gz|xz|bz2|tar|tgz|zip|parquet|xlsx?|ods|docx?|pdf|html?|xml|md|log|wav|flac|ogg|"
    r"mp3|m4a|png|jpe?g|gif|bmp|tiff?|webp|npy|npz|pt)$"
)


class Source(NamedTuple):
    """One input: a text, or else a path, of which `-` is standard input."""

    value: str
    is_text: bool = False


def add_sources(options: jsonargparse.ArgumentParser, help: str = "files and folders, or - for standard input") -> None:  # noqa: A002
    """The operands `INPUT` and the option `--text`."""
    options.add_argument("inputs", metavar="INPUT", nargs="*", help=help)
    options.add_argument(
        "--text",
        action="append",
        type=str,
        default=[],
        metavar="TEXT",
        help="a text itself; several --text are several",
    )


def sources_of(reader: Reader, inputs: Sequence[str], texts: Sequence[str], command: str) -> list[Source]:
    """The sources that a command names: its operands, then its texts; standard input if it names none.

    An operand that is no file is a text if the reader takes texts, and it `looks_like_text` or the reader recognizes it.

    Raises:
        InputError: no source where standard input is a terminal; an operand that is neither a file nor clearly a text; a text for a
            reader of other data.
    """
    takes_texts = hasattr(reader, "texts")
    if texts and not takes_texts:
        raise InputError(
            f"--text is for runs that read texts, expected files for data of the type {type(reader).__name__}"
        )
    if not inputs and not texts:
        if sys.stdin is None or sys.stdin.isatty():
            raise InputError(f"{command} needs an INPUT, expected files, --text, or - to type lines")
        return [Source("-")]
    recognizes = getattr(reader, "recognizes", None)
    found = [_source(each, recognizes) if takes_texts else Source(each) for each in inputs]
    for text in texts:
        if not text.strip():
            raise InputError(f"--text is {text!r}, expected a text")
    found += [Source(text.strip(), True) for text in texts]
    for source in found:
        if source.is_text and not source.value.isprintable() and source.value != _utf8(source.value):
            raise InputError(
                f"the text {_utf8(source.value)!r} holds bytes that are no characters, expected text in UTF-8"
            )
    return found


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _source(operand: str, recognizes: Callable[[str], bool] | None) -> Source:
    if operand == "-" or _is_there(operand):
        return Source(operand)
    if not operand.strip():
        raise InputError(f"an INPUT is {operand!r}, expected a text, a file, or - for standard input")
    if recognizes is not None and recognizes(operand):
        return Source(operand.strip(), True)
    if _JSON.match(operand):
        expected = "expected JSON lines in a file or on standard input, or --text for the text itself"
        raise InputError(f"{operand:.40} looks like JSON, {expected}")
    if looks_like_text(operand) and not ("/" in operand and _is_there(operand.rpartition("/")[0])):
        return Source(operand.strip(), True)
    raise InputError(
        f"{operand} is not there, expected a file or a folder, or --text {_quoted(operand)} for the text itself"
    )


def _is_there(operand: str) -> bool:
    try:
        return Path(operand).exists()
    except (OSError, ValueError):  # longer than any file's name, or with a character that no name has
        return False


def looks_like_text(operand: str) -> bool:
    """Whether an operand that is no file can only be a text.

    It has white space, a character other than letters, digits and `._-+~/\\\\@=,%:#`, a letter of a script without capitals
    (Chinese, Japanese, Thai, Arabic), or is longer than a file's name can be; and it neither ends as data files do nor begins like
    a path.

    >>> [looks_like_text(each) for each in ("I saw a saw", "Wonderful!", "我喜欢", "good", "my letters.csv", "../no such file")]
    [True, True, True, False, False, False]
    """
    if len(operand.rpartition("/")[2].encode(errors="replace")) > 255:
        return True
    if _FILE.search(operand) or re.match(r"~?/|\.{1,2}/", operand):
        return False
    return any(
        letter.isspace() or not (letter.isalnum() or letter in _MARKS) or unicodedata.category(letter) == "Lo"
        for letter in unicodedata.normalize("NFC", operand)
    )


def _quoted(text: str) -> str:
    return f'"{text}"' if re.search(r"\s", text) else text


def tell_skips(reader: Any, path: str) -> None:
    """Say what is skipped in a folder: nothing is dropped without being counted."""
    if path != "-" and Path(path).is_dir() and hasattr(reader, "folder_files"):
        for line in reader.folder_files(Path(path))[1].lines():
            print(f"{path}: skipped {line}", file=sys.stderr)


def datasets(run: Run, sources: Sequence[Source]) -> Iterator[Dataset]:
    """The examples of the sources, in their order."""
    for is_text, group in groupby(sources, lambda source: source.is_text):
        values: list[Any] = [source.value for source in group]
        if is_text:
            yield run.texts(values)
        else:
            for value in values:
                tell_skips(run.experiment.data, value)
            yield from run.inputs(values)


def with_ids(reader: Reader, column: str) -> Reader:
    """The reader that takes names of examples from a column of that name.

    Raises:
        InputError: a reader without such a column.
    """
    if column and not hasattr(reader, "id_column"):
        raise InputError(
            f"--id is for tables and JSON lines of texts, expected none for data of the type {type(reader).__name__}"
        )
    return replace(reader, id_column=column) if column else reader
