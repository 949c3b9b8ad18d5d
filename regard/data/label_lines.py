"""Lines that hold a label and a text each: what separates them, and which comes first, told from all lines or not at all."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from regard.data.survey import listed
from regard.data.tables import Style, rows_of
from regard.errors import InputError

__all__ = ["FORMATS", "LabelLine", "read_label_lines"]

LabelLine = tuple[int, str, str]
"""The number of a line, its label and its text."""

_Lines = Sequence[tuple[int, str]]
_FASTTEXT, _BLANK = "__label__", "label text"
_SHOWN = 60
# A label that a blank ends has none of these: they separate fields, or end what somebody said.
_NO_LABEL = re.compile(r"[\t,;|\"]|[.:!?]$")


def read_label_lines(lines: _Lines, path: Path, like: str = "", numbers: bool = False) -> tuple[list[LabelLine], str]:
    """The labels and texts of lines, none of which is blank, and their format, one of `FORMATS`.

    A format is taken where every line fits it and its labels are few: at most two, or a third of the lines; the first line's is
    that of others as well, and most either stand several times or in no text. Labels before a blank, which any text has, must not
    be the words of texts. Where several formats are possible, or none, nothing is read.

    Args:
        lines: with their numbers.
        path: the file, for sentences.
        numbers: whether labels are numbers: then it is enough that all are.
        numbers: whether labels are numbers: then it is enough that all are.
        like: the format of a file that belongs to it, such as the training part: then every line must fit that.

    Raises:
        InputError: no format, or several; a line that departs from `like`, or from fastText's format.
    """
    if like:
        found = _FORMS[like](lines)
        if found is None:
            number, line = next((number, line) for number, line in lines if _FORMS[like]([(number, line)]) is None)
            raise InputError(
                f"{path}, line {number}, is {_shown(line)}, expected {like} as in the files that belong to it"
            )
        return found, like
    if lines[0][1].startswith(_FASTTEXT):
        return _fasttext_lines(lines, path), _FASTTEXT_FORMAT
    fitting = {name: found for name, form in _FORMS.items() if (found := form(lines)) is not None}
    certain = {
        name: found for name, found in fitting.items() if (_are_numbers(found) if numbers else _are_labels(name, found))
    }
    # What is the same on all lines may be a label, but is none where something else is.
    differing = {name: found for name, found in certain.items() if len({label for _, label, _ in found}) > 1}
    certain = differing or certain
    if len(certain) == 1:
        name, found = certain.popitem()
        return found, name
    number, line = lines[0]
    if certain:
        raise InputError(
            f"{path} can be read as {' and as '.join(certain)}, expected a table whose first line names its columns"
            f" (line {number} is {_shown(line)})"
        )
    formats = ", ".join(f"`{name}`" for name in FORMATS)
    raise InputError(
        f"{path} is of no known format: line {number} is {_shown(line)}, expected a label and a text on each line, with few labels"
        f" ({formats}), JSON lines, or a table whose first line names its columns"
    )


def _shown(line: str) -> str:
    return repr(line if len(line) <= _SHOWN else f"{line[: _SHOWN - 3]}...")


def _are_labels(form: str, lines: Sequence[LabelLine]) -> bool:
    """Whether what stands where labels would are labels: few, and no words of what is only text."""
    counts = Counter(label for _, label, _ in lines)
    # The first line may name the columns.
    if len(lines) < 2 or counts[lines[0][1]] == 1:
        return False
    if not (len(counts) <= 2 and len(counts) < len(lines)) and 3 * len(counts) > len(lines):
        return False
    words = Counter(word for _, _, text in lines for word in text.casefold().split())
    again = [words[label.casefold()] for label in counts]
    if form == _BLANK and 2 * sum(again) >= len(lines):
        # A text begins with words that others hold as well.
        return False
    once = sum(count == 1 for count in counts.values())
    return len(counts) <= 2 or 10 * once <= len(counts) or 5 * sum(map(bool, again)) <= len(counts)


def _are_numbers(lines: Sequence[LabelLine]) -> bool:
    try:
        return all(math.isfinite(float(label)) for _, label, _ in lines)
    except ValueError:
        return False


def _between(separator: str, label_first: bool) -> Callable[[_Lines], list[LabelLine] | None]:
    """What reads a label and a text with a separator between them; None where a line does not fit."""

    def read(lines: _Lines) -> list[LabelLine] | None:
        if not all(separator in line for _, line in lines):
            return None
        if separator != "\t" and any('"' in line for _, line in lines):
            return _as_csv(lines, separator, label_first)
        counts = {line.count(separator) for _, line in lines}
        if len(lines) > 1 and len(counts) == 1 and counts != {1}:
            # Columns, and no line says which.
            return None
        found = []
        for number, line in lines:
            first, _, last = line.partition(separator) if label_first else line.rpartition(separator)
            label, text = (first, last) if label_first else (last, first)
            found.append((number, label.strip(), text.strip()))
        return found if all(label and text for _, label, text in found) else None

    return read


def _as_csv(lines: _Lines, separator: str, label_first: bool) -> list[LabelLine] | None:
    found = []
    try:
        for row in rows_of(iter(lines), Style(separator), ""):
            if len(row.fields) != 2:
                return None
            label, text = row.fields if label_first else reversed(row.fields)
            found.append((row.number, label.strip(), text.strip()))
    except InputError:
        return None
    return found if all(label for _, label, _ in found) else None


def _blank(lines: _Lines) -> list[LabelLine] | None:
    found = []
    for number, line in lines:
        label, _, text = line.strip().partition(" ")
        # A tab would be what separates.
        if not text or "\t" in text or _NO_LABEL.search(label):
            return None
        found.append((number, label, text.strip()))
    return found


def _fasttext(lines: _Lines) -> list[LabelLine] | None:
    try:
        return _fasttext_lines(lines, Path())
    except InputError:
        return None


def _fasttext_lines(lines: _Lines, path: Path) -> list[LabelLine]:
    return list(_each_fasttext(lines, path))


def _each_fasttext(lines: _Lines, path: Path) -> Iterator[LabelLine]:
    for number, line in lines:
        labels: list[str] = []
        rest = line.strip()
        while rest.startswith(_FASTTEXT):
            label, _, rest = rest.partition(" ")
            labels.append(label.removeprefix(_FASTTEXT))
            rest = rest.lstrip()
        if not all(labels) or not labels:
            raise InputError(
                f"{path}, line {number}, is {_shown(line)}, expected `{_FASTTEXT_FORMAT}` as on the first line"
            )
        if len(labels) > 1:
            found = listed(labels)
            raise InputError(
                f"{path}, line {number}, has the labels {found}, expected one; a table or JSON lines may have several"
            )
        yield number, labels[0], rest


_FASTTEXT_FORMAT = f"{_FASTTEXT}label text"
_FORMS: dict[str, Callable[[_Lines], list[LabelLine] | None]] = {
    _BLANK: _blank,
    "label<TAB>text": _between("\t", label_first=True),
    "text<TAB>label": _between("\t", label_first=False),
    "label,text": _between(",", label_first=True),
    "text,label": _between(",", label_first=False),
    "label;text": _between(";", label_first=True),
    "text;label": _between(";", label_first=False),
    _FASTTEXT_FORMAT: _fasttext,
}
FORMATS = tuple(_FORMS)
"""The formats by name."""
