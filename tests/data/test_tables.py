"""Tables as programs and spreadsheets write them: each reads as it was meant, or is refused in a sentence that names the line."""

import io
from pathlib import Path
from typing import Any

import pytest

from regard.data.inputs import arriving
from regard.data.tables import Table, check_separator, read_table
from regard.errors import InputError
from regard.files import LONGEST_LINE

COLUMNS = ("text", "label")


def table(tmp_path: Path, content: str | bytes, name: str = "own.csv", **options: Any) -> Table:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, COLUMNS, name.endswith(".tsv"), **options)


# The content; the fields of its rows; what it was read as.
READ = {
    "commas": ('text,label\n"a, b",1\nc,2', [["a, b", "1"], ["c", "2"]], "CSV"),
    "semicolons": ('text;label\n"a; b";1\nc, d;2\n', [["a; b", "1"], ["c, d", "2"]], "CSV with semicolons"),
    "semicolons and decimal commas": (
        "text;label\na;0,5\nb;1,5\n",
        [["a", "0,5"], ["b", "1,5"]],
        "CSV with semicolons",
    ),
    "tabs": ('text\tlabel\n"a\tb"\t1\nc\t2\n', [["a\tb", "1"], ["c", "2"]], "CSV with tabs"),
    "pipes": ("text|label\na, b|1\n", [["a, b", "1"]], "CSV with pipes"),
    "sep=": ('sep=;\r\ntext;label\r\n"a";1\r\n', [["a", "1"]], "CSV with semicolons"),
    "sep= in quotes": ('"sep=|"\ntext|label\na|1\n', [["a", "1"]], "CSV with pipes"),
    "sep= of another": ("sep=^\ntext^label\na, b^1\n", [["a, b", "1"]], "CSV with '^' between fields"),
    "names in quotes": ('"text";"label"\n"a";"1"\n', [["a", "1"]], "CSV with semicolons"),
    "more columns": ("id;label;a,b;text\n1;x;;y\n", [["1", "x", "", "y"]], "CSV with semicolons"),
    "macintosh": ('text,label\ra,1\r"b\rc",2\r', [["a", "1"], ["b\nc", "2"]], "CSV"),
    "windows": ('text,label\r\na,1\r\n"b\r\nc",2\r\n', [["a", "1"], ["b\nc", "2"]], "CSV"),
    "mixed ends": ("text,label\r\na,1\nb,2\r\n", [["a", "1"], ["b", "2"]], "CSV"),
    "mark": ("\ufefftext,label\na,1\n", [["a", "1"]], "CSV"),
    "mark before quotes": ('\ufeff"text","label"\na,1\n', [["a", "1"]], "CSV"),
    "blanks": ('text ,\tlabel\n  a b  , 1\n"b, c" , "2"\n', [["a b", "1"], ["b, c", "2"]], "CSV"),
    "blank before quote": ('text, label\na, "b, c"\nx, "y ""z"""\n', [["a", "b, c"], ["x", 'y "z"']], "CSV"),
    "no-break spaces": ("text\xa0,label\na\xa0, \xa0x\n", [["a", "x"]], "CSV"),
    "trailing columns": ("text,label,,\na,1,,\nb,2,,\n", [["a", "1"], ["b", "2"]], "CSV"),
    "trailing separators": ("text,label\na,1,\nb,2,,\n", [["a", "1"], ["b", "2"]], "CSV"),
    "doubled quotes": ('text,label\n"a ""b"", c",1\n"""",2\n', [['a "b", c', "1"], ['"', "2"]], "CSV"),
    "quotes within": (
        'text,label\n5" pipe,1\nthe "best" film,2\n',
        [['5" pipe', "1"], ['the "best" film', "2"]],
        "CSV",
    ),
    "escaped quotes": (
        'text,label\n"a \\"b\\", c",1\n"C:\\\\",2\n"d\\n",3\n',
        [['a "b", c', "1"], ["C:\\", "2"], ["d\\n", "3"]],
        "CSV, quotes escaped by backslashes",
    ),
    "backslash at the end": ('text,label\n"C:\\",1\n"b",2\n', [["C:\\", "1"], ["b", "2"]], "CSV"),
    "lines": ('text,label\n"one\ntwo, three\n\nfour",1\nb,2\n', [["one\ntwo, three\n\nfour", "1"], ["b", "2"]], "CSV"),
    "lines with commas": (
        'text,label\n"so, it\nwent, on\nand, on",x\nb,y\nc,x\nd,y\ne,x\n',
        [["so, it\nwent, on\nand, on", "x"], ["b", "y"], ["c", "x"], ["d", "y"], ["e", "x"]],
        "CSV",
    ),
    "stray quote between tabs": ('text\tlabel\n"a\t1\nb\t2\n', [['"a', "1"], ["b", "2"]], "TSV"),
    "empty in quotes": ('text,label\n"",1\n', [["", "1"]], "CSV"),
    "index without a name": (",text,label\n0,a,1\n", [["0", "a", "1"]], "CSV"),
}


@pytest.mark.parametrize("case", READ)
def test_a_table_is_read_as_it_was_meant(case: str, tmp_path: Path) -> None:
    content, rows, form = READ[case]
    found = table(tmp_path, content)
    assert [fields for _, fields in found.rows] == rows
    assert (found.format, found.encoding, len(found.skips)) == (form, "UTF-8", 0)
    for encoding in ("utf-16", "utf-16-le"):
        if not content.startswith("\ufeff"):
            again = table(tmp_path, content.encode(encoding))
            assert ([fields for _, fields in again.rows], again.format) == (rows, form)


def test_quotes_of_a_tsv_are_text_unless_a_program_wrote_them(tmp_path: Path) -> None:
    found = table(tmp_path, 'text\tlabel\n"a" b\t1\n"c"\t2\n"\t3\n', "own.tsv")
    assert [fields for _, fields in found.rows] == [['"a" b', "1"], ['"c"', "2"], ['"', "3"]]
    assert found.format == "TSV"
    found = table(tmp_path, 'text\tlabel\n"a ""b"""\t1\n"c\nd"\t2\n', "own.tsv")
    assert [fields for _, fields in found.rows] == [['a "b"', "1"], ["c\nd", "2"]]
    assert found.format == "CSV with tabs"


def test_rows_have_the_numbers_of_their_last_lines_and_what_is_skipped_is_counted(tmp_path: Path) -> None:
    found = table(tmp_path, '\n,,\ntext,label\n\na,1\n,\n"b\nc",2\n , \ntext,label\nd,3\n,,\n\n\n')
    assert found.rows == [(5, ["a", "1"]), (8, ["b\nc", "2"]), (11, ["d", "3"])]
    assert found.skips.lines() == [
        "1 blank lines: own.csv, line 4",
        "3 empty rows: own.csv, line 6, own.csv, line 9, own.csv, line 12",
        "1 first lines that stand there again: own.csv, line 10",
    ]


@pytest.mark.parametrize(
    ("name", "separator", "content"),
    [
        ("own.csv", "semicolon", "text;label\na,b;1\n"),
        ("own.csv", "^", "text^label\na,b^1\n"),
        ("own.tsv", ";", 'text;label\n"a,b";1\n'),
        ("own.csv", "\\t", "text\tlabel\na,b\t1\n"),
        ("own.csv", "§", "text§label\na,b§1\n"),
    ],
)
def test_the_separator_that_was_said_is_taken(tmp_path: Path, name: str, separator: str, content: str) -> None:
    found = table(tmp_path, content, name, separator=check_separator(separator, "data.separator"))
    assert found.rows == [(2, ["a,b", "1"])]


@pytest.mark.parametrize("separator", ["comm", '"', "a", "0", " ", ",,", "\n", "\\"])
def test_what_separates_nothing_is_refused(separator: str) -> None:
    with pytest.raises(InputError, match=r"data\.separator is .*, expected one of comma, semicolon, tab, pipe, or one"):
        check_separator(separator, "data.separator")


ROWS = [f"text {n},{'good' if n % 3 else 'bad'}" for n in range(60)]


def changed(**lines: str) -> str:
    """Sixty rows, some replaced: `r9` is the row with number 9, in line 11."""
    rows = [lines.get(f"r{n}", row) for n, row in enumerate(ROWS)]
    return "\n".join(["text,label", *rows, ""])


# The content; what its sentence says after the path.
REFUSED = {
    "a quote that is never closed": (changed(r9='"text 9,good'), ", line 11, opens a quote that is not closed"),
    "a quote before the label": (changed(r9='text 9,"good'), ", line 11, opens a quote that is not closed"),
    "a quote that the next one closes": (
        changed(r9='"text 9,good', r40='"text 40",good'),
        ", line 11, opens a quote and closes in line 42 where text follows the closing quote: 'text 40\",good'",
    ),
    "a quote that a later field closes": (
        changed(r9='"text 9,good', r40='text 40",good'),
        ", line 11, opens a quote that closes in line 42, whose line 11 is like a row of its own: '\"text 9,good'",
    ),
    "a quote that the next row closes": (
        changed(r9='"text 9,good', r10='text 10",good'),
        ", line 11, opens a quote that closes in line 12, whose line 11 is like a row of its own",
    ),
    "text after a closing quote": (
        changed(r9='"text" 9,good'),
        ", line 11, opens a quote where text follows the closing",
    ),
    "one quote too many": (changed(r9='"text 9"",good'), ", line 11, opens a quote that is not closed"),
    "quotes within quotes": (changed(r9='"the "best" film",good'), ", line 11, opens a quote where text follows"),
    "some quotes escaped": (
        changed(r8='"a \\"b\\" c",bad', r9='"d" e,bad'),
        ", line 10, opens a quote where text follows",
    ),
    "a comma without quotes": (changed(r9="text, 9,good"), ", line 11, has 3 fields, expected 2"),
    "a row that breaks off": (changed(r9="text 9"), ", line 11, has 1 fields, expected 2"),
    "other separators": (changed(r9="text 9;good"), ", line 11, has 1 fields, expected 2"),
    "entries without a column": ("text,label,\na,1,x\n", ", line 2, has 3 fields, expected 2"),
    "a carriage return": ("text,label\na\rb,1\nc,2\n", ", line 2, holds a carriage return within a line"),
    "no column": ("text;lable\na;1\n", " has no column 'label' in its first line: did you mean 'lable'?"),
    "no names": ("fine,good\ndull,bad\n", " has no column 'text' in its first line: known are fine, good"),
    "names in one field": ('"text,label"\na,1\n', " has no column 'text' in its first line: known are text,label"),
    "a column twice": (
        "text,label,text\na,1,b\n",
        " names the column 'text' twice in its first line, expected each once",
    ),
    "nothing": ("", " is empty, expected a first line that names the columns text, label"),
    "commas alone": (",,\n,,\n", " is empty, expected a first line that names the columns text, label"),
    "names alone": ("text,label\n,\n\n", " has a first line only, expected at least one row"),
    "a first line in open quotes": ('"text,label\na,1\n', ", line 1, opens a quote that is not closed"),
    "another sep=": ("sep=;\ntext,label\na,1\n", " has no column 'text' in its first line"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_is_refused_with_its_line(case: str, tmp_path: Path) -> None:
    content, sentence = REFUSED[case]
    with pytest.raises(InputError) as caught:
        table(tmp_path, content)
    assert str(caught.value).startswith(f"{tmp_path / 'own.csv'}{sentence}")
    assert "\n" not in str(caught.value)


def test_the_sixty_rows_are_read_as_long_as_they_are_whole(tmp_path: Path) -> None:
    assert [f"{text},{label}" for _, (text, label) in table(tmp_path, changed()).rows] == ROWS


def test_fields_are_bounded(tmp_path: Path) -> None:
    long = "word " * (LONGEST_LINE // 8)
    found = table(tmp_path, f'text,label\n"{long}\n{long}",1\n')
    assert found.rows[0][1][0] == f"{long}\n{long}".strip()
    with pytest.raises(InputError, match=r"line 2, opens a quote that is not closed in 16,777,216 characters"):
        table(tmp_path, 'text,label\n"' + f"{long}\n" * 3)
    with pytest.raises(InputError, match=r"line 2, has more than 16,777,216 bytes, expected shorter lines"):
        table(tmp_path, "text,label\n" + long * 2 + ",1\n")


class Endless:
    """Gives a line that never ends, piece by piece."""

    def __init__(self) -> None:
        self.reads = 0

    def read1(self, size: int) -> bytes:
        self.reads += 1
        return b"x" * size


def test_a_line_of_a_stream_is_bounded() -> None:
    endless: Any = Endless()
    with pytest.raises(InputError, match="standard input, line 1, has more than 16,777,216 bytes"):
        list(arriving(endless))
    assert endless.reads == LONGEST_LINE // (1 << 16) + 1
    lines = [f"{n} " + "y" * 100_000 for n in range(5)]
    found = [line for group in arriving(io.BytesIO("\n".join(lines).encode())) for line in group]
    assert found == list(enumerate(lines, 1))
