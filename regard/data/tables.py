"""Tables: CSV and TSV files with a first line that names the columns, as programs and spreadsheets write them."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from regard.data.survey import Skips
from regard.errors import InputError, nearest
from regard.files import LONGEST_TEXT, TextForm, read_lines, text_form

__all__ = ["SEPARATORS", "Row", "Style", "Table", "check_separator", "read_table", "rows_of"]

SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
"""The separators that are looked for, by name."""

_NAMES = {character: name for name, character in SEPARATORS.items()}
# All up to the quote that closes, or to the end of the line.
_DOUBLED = re.compile(r'[^"]*(?:""[^"]*)*')
_ESCAPED = re.compile(r'[^"\\]*(?:\\(?:.|$)[^"\\]*)*')
_DOUBLED_FIELD = re.compile(r'(?:^|\t)"[^\t"]*(?:""[^\t"]*)+"(?:\t|$)')
_SAID = re.compile(r'"?sep=(.)"?[,;\t]*', re.IGNORECASE)


@dataclass(frozen=True)
class Style:
    """How the fields of a table are written.

    Args:
        separator: the character between two fields.
        quotes: whether a field may stand in quotes, in which separators and ends of lines are text; else quotes are text.
        escaped: whether a quote within quotes follows a backslash; else it is doubled.
    """

    separator: str = ","
    quotes: bool = True
    escaped: bool = False

    def __str__(self) -> str:
        if not self.quotes:
            return "TSV" if self.separator == "\t" else f"table with {self._between} and without quotes"
        between = "" if self.separator == "," else f" with {self._between}"
        return f"CSV{between}" + (", quotes escaped by backslashes" if self.escaped else "")

    @property
    def _between(self) -> str:
        name = _NAMES.get(self.separator)
        return f"{name}s" if name else f"{self.separator!r} between fields"


@dataclass(frozen=True)
class Row:
    """A row: its fields as written, the number of its last line, whether any stands in quotes, and the lines that it spans."""

    number: int
    fields: list[str]
    quoted: bool = False
    lines: tuple[str, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing stands in it, not even quotes."""
        return not self.quoted and not any(text.strip("\ufeff \t\r\xa0") for text in self.fields)


@dataclass(frozen=True)
class Table:
    """A table as it was read.

    Args:
        header: the name of each column.
        rows: each row's number, that of its last line, and its fields without the white space around them.
        format: what it was read as, such as "CSV with semicolons".
        encoding: of the text, such as "UTF-8".
        skips: rows without a field, and first lines that stand there again.
    """

    header: list[str]
    rows: list[tuple[int, list[str]]]
    format: str
    encoding: str
    skips: Skips = field(default_factory=Skips)


def check_separator(name: str, option: str) -> str:
    """The character that the name of a separator, or the character itself, stands for; empty for "".

    Raises:
        InputError: what is neither; `option` begins the sentence.
    """
    found = SEPARATORS.get(name, "\t" if name == "\\t" else name)
    if len(found) > 1 or found in ('"', "\\", "\n", "\r", " ") or found.isalnum():
        expected = f"expected one of {', '.join(SEPARATORS)}, or one character between fields"
        raise InputError(f"{option} is {name!r}, {expected}")
    return found


def read_table(
    path: Path, columns: Collection[str], tabs: bool = False, separator: str = "", encoding: str = "", option: str = ""
) -> Table:
    """A CSV or TSV file with at least these columns.

    Quotes are strict: one that opens a field closes it before a separator or the end of a line, and quotes within are doubled, or
    all follow a backslash. Blanks around quotes are passed over; a quote within a field that begins otherwise is text. In a row,
    empty fields beyond the last column are passed over.

    Args:
        columns: those that are needed.
        tabs: whether fields are separated by tabs and quotes are text (TSV).
        separator: the character between fields; where it is empty, a first line `sep=;` says it, or the first line that names
            columns: of comma, semicolon, tab and pipe the one with which it names all that are needed.
        encoding: see `text_form`. option: likewise.

    Raises:
        InputError: an empty file, a missing or repeated column, a row of another number of fields, a quote that is not closed, or
            that closes where lines that look like rows have passed; the sentence names the line.
    """
    form = text_form(path, encoding, option)
    style, begin = _style(path, form, columns, tabs, separator)
    try:
        return _parsed(path, form, style, begin, columns)
    except InputError as error:
        for other in _others(path, form, style):
            try:
                return _parsed(path, form, other, begin, columns)
            except InputError:
                continue
        raise error from None


def rows_of(lines: Iterator[tuple[int, str]], style: Style, where: str) -> Iterator[Row]:
    """The rows that numbered lines hold; one that is in quotes may go on over several.

    Raises:
        InputError: a quote that is not closed, or text between a closing quote and the separator.
    """
    for number, line in lines:
        line = line.lstrip("\ufeff")
        if style.quotes and '"' in line:
            yield _quoted(number, line, lines, style, where)
        else:
            _check_returns(line, number, where)
            yield Row(number, line.split(style.separator), lines=(line,))


def _quoted(number: int, line: str, lines: Iterator[tuple[int, str]], style: Style, where: str) -> Row:
    """The row that begins with a line in which quotes stand."""
    inner, separator = _ESCAPED if style.escaped else _DOUBLED, style.separator
    fields: list[str] = []
    spanned, at, quoted = [line], 0, False
    while True:
        begin = _past_blanks(line, at, separator)
        if line[begin : begin + 1] == '"':
            quoted, first, pieces, size = True, number, [], 0
            at = begin + 1
            while (end := inner.match(line, at).end()) == len(line):  # type: ignore[union-attr]
                pieces.append(line[at:])
                size += len(pieces[-1]) + 1
                number, line = next(lines, (0, ""))
                if not number or size > LONGEST_TEXT:
                    end_of = "up to the end of the file" if not number else f"in {LONGEST_TEXT:,} characters"
                    raise InputError(
                        f"{where}, line {first}, opens a quote that is not closed {end_of}, expected its end"
                    )
                spanned.append(line)
                at = 0
            pieces.append(line[at:end])
            fields.append(_without_quotes("\n".join(pieces), style))
            at = _past_blanks(line, end + 1, separator)
            if at < len(line) and line[at] != separator:
                last = f" and closes in line {number}" if number != first else ""
                after = f"text follows the closing quote: {line[at : at + 30]!r}"
                expected = "expected a separator or the end of the line, and a quote within quotes doubled"
                raise InputError(f"{where}, line {first}, opens a quote{last} where {after}, {expected}")
        else:
            end = line.find(separator, at)
            fields.append(line[at : end if end >= 0 else len(line)])
            _check_returns(fields[-1], number, where)
            at = end if end >= 0 else len(line)
        if at >= len(line):
            return Row(number, fields, quoted, tuple(spanned))
        at += 1
        if at == len(line):
            return Row(number, [*fields, ""], quoted, tuple(spanned))


def _past_blanks(line: str, at: int, separator: str) -> int:
    while at < len(line) and line[at].isspace() and line[at] != separator:
        at += 1
    return at


def _without_quotes(text: str, style: Style) -> str:
    return re.sub(r'\\(["\\])', r"\1", text) if style.escaped else text.replace('""', '"')


def _check_returns(text: str, number: int, where: str) -> None:
    if "\r" in text:
        raise InputError(f"{where}, line {number}, holds a carriage return within a line, expected one at its end only")


def _style(path: Path, form: TextForm, columns: Collection[str], tabs: bool, separator: str) -> tuple[Style, int]:
    """The style that the first line is written in, and how many lines come before it."""
    lines = ((number, line.lstrip("\ufeff")) for number, line in read_lines(path, form=form))
    number, first = next(((number, line) for number, line in lines if line.strip(" \t\xa0,;|")), (0, ""))
    if not number:
        raise InputError(f"{path} is empty, expected a first line that names the columns {', '.join(columns)}")
    begin = number - 1
    if said := _SAID.fullmatch(first):
        return Style(separator or said[1], quotes=True), begin + 1
    if separator or tabs:
        separator = separator or "\t"
        # Quotes within quotes are written by programs alone.
        written = separator != "\t" or any(_DOUBLED_FIELD.search(line) for _, line in lines if '""' in line)
        return Style(separator, quotes=not tabs or written), begin
    found = {}
    for other in SEPARATORS.values():
        try:
            header = _header(path, form, Style(other), begin)
        except InputError:
            continue
        found[other] = (sum(name in header for name in columns), len(header))
    # A comma where nothing tells.
    return Style(max(found, key=lambda other: (*found[other], other == ","), default=",")), begin


def _others(path: Path, form: TextForm, style: Style) -> Iterator[Style]:
    """Styles that may fit where a style does not: quotes after backslashes, and between tabs quotes that are text."""
    if style.quotes and any('\\"' in line for _, line in read_lines(path, form=form)):
        yield replace(style, escaped=True)
    if style.separator == "\t":
        yield replace(style, quotes=not style.quotes)


def _rows(path: Path, form: TextForm, style: Style, begin: int) -> Iterator[Row]:
    lines = read_lines(path, form=form)
    for _ in range(begin):
        next(lines)
    return rows_of(lines, style, str(path))


def _header(path: Path, form: TextForm, style: Style, begin: int) -> list[str]:
    names = [name.strip() for name in next(_rows(path, form, style, begin), Row(0, [])).fields]
    while names and not names[-1]:
        names.pop()
    return names


def _parsed(path: Path, form: TextForm, style: Style, begin: int, columns: Collection[str]) -> Table:
    header = _header(path, form, style, begin)
    _check_header(path, header, columns)
    skips, rows, spanning = Skips(), [], []
    blank: list[int] = []
    table = _rows(path, form, style, begin)
    next(table)
    for row in table:
        name = f"{path.name}, line {row.number}"
        if row.empty:
            if len(row.fields) > 1:
                skips.add("empty rows", name)
            else:
                blank.append(row.number)
            continue
        # Blank lines at the end of a file are none of its rows.
        while blank:
            skips.add("blank lines", f"{path.name}, line {blank.pop(0)}")
        fields = [text.strip() for text in row.fields]
        if not any(fields[len(header) :]):
            fields = fields[: len(header)]
        if len(fields) != len(header):
            found = f"{len(fields)} fields, expected {len(header)}"
            raise InputError(f"{path}, line {row.number}, has {found}: one for each column of the first line")
        if fields == header:
            skips.add("first lines that stand there again", name)
            continue
        rows.append((row.number, fields))
        if len(row.lines) > 1:
            spanning.append((len(rows) - 1, row))
    if not rows:
        raise InputError(f"{path} has a first line only, expected at least one row")
    _check_swallowed(path, rows, spanning, style.separator)
    return Table(header, rows, str(style), form.name, skips)


def _check_header(path: Path, header: list[str], columns: Collection[str]) -> None:
    for name in columns:
        if name not in header:
            raise InputError(f"{path} has no column {name!r} in its first line: {nearest(name, header)}")
    if len(set(header)) < len(header):
        again = next(name for i, name in enumerate(header) if name in header[:i])
        raise InputError(f"{path} names the column {again!r} twice in its first line, expected each once")


def _check_swallowed(
    path: Path, rows: list[tuple[int, list[str]]], spanning: list[tuple[int, Row]], separator: str
) -> None:
    """Refuse a quoted field that goes on over lines which are rows themselves: its quote was meant to close before.

    A line looks like a row where it has as many fields, and in each column whose entries repeat it has one of them. The last line
    ends a row in any case.
    """
    if not spanning:
        return
    within = {place for place, _ in spanning}
    others = [fields for place, (_, fields) in enumerate(rows) if place not in within]
    entries = [set(column) for column in zip(*others, strict=True)]
    repeating = [(j, known) for j, known in enumerate(entries) if 2 * len(known) <= len(others)]
    for _, row in spanning if repeating else ():
        first = row.number - len(row.lines) + 1
        for number, line in enumerate(row.lines[:-1], first):
            fields = [text.strip().strip('"') for text in line.split(separator)]
            if len(fields) == len(rows[0][1]) and all(fields[j] in known for j, known in repeating):
                swallowed = f"whose line {number} is like a row of its own: {line[:40]!r}"
                expected = "expected a quote that closes in the row in which it opens"
                raise InputError(
                    f"{path}, line {first}, opens a quote that closes in line {row.number}, {swallowed}, {expected}"
                )
