"""Files that others made: what can be told for certain is read, and what has no end is refused."""

import bz2
import codecs
import gzip
import json
import lzma
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from regard.errors import InputError
from regard.files import (
    LONGEST_LINE,
    TextForm,
    check_encoding,
    opened,
    parse_json,
    parse_object,
    plain_suffix,
    read_json,
    read_lines,
    read_whole,
    text_form,
)

LINES = ["label,text", "good,café — 电影", "bad,naïve 😀"]


def written(tmp_path: Path, content: bytes, name: str = "file") -> Path:
    path = tmp_path / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("codec", "name"),
    [
        ("utf-8", "UTF-8"),
        ("utf-8-sig", "UTF-8"),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16 without a byte order mark"),
        ("utf-16-be", "UTF-16 without a byte order mark"),
        ("utf-32", "UTF-32"),
    ],
)
def test_lines_are_the_same_in_each_unicode_encoding_and_with_each_end(
    tmp_path: Path, codec: str, name: str, end: str
) -> None:
    for last in ("", end):
        path = written(tmp_path, (end.join(LINES) + last).encode(codec))
        assert list(read_lines(path)) == list(enumerate(LINES, 1))
        assert text_form(path).name == name
    big = codecs.BOM_UTF16_BE + end.join(LINES).encode("utf-16-be")
    assert [line for _, line in read_lines(written(tmp_path, big))] == LINES


def test_text_without_latin_letters_is_told_as_utf_16(tmp_path: Path) -> None:
    lines = ["хорошо, фильм", "плохо, фильм", "電影, 好"]
    for codec in ("utf-16-le", "utf-16-be"):
        path = written(tmp_path, "\n".join(lines).encode(codec))
        assert [line for _, line in read_lines(path)] == lines


def test_a_carriage_return_within_a_line_ends_none_where_line_feeds_do(tmp_path: Path) -> None:
    path = written(tmp_path, b"a\rb\nc\n\n\nd")
    assert list(read_lines(path)) == [(1, "a\rb"), (2, "c"), (3, ""), (4, ""), (5, "d")]
    assert list(read_lines(written(tmp_path, b""))) == []
    assert list(read_lines(written(tmp_path, b"a\0b\n"))) == [(1, "a\0b")]


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("windows-1252", "naïve “café” €"),
        ("mac-roman", "naïve “café”"),
        ("windows-1251", "хороший фильм"),
        ("gb18030", "联通电影"),
        ("shift-jis", "映画はよい"),
        ("latin-1", "plain"),
        ("utf-16", "电影"),
    ],
)
def test_text_is_read_in_the_encoding_that_was_said(tmp_path: Path, codec: str, text: str) -> None:
    path = written(tmp_path, f"{text}\n{text}".encode(codec))
    assert [line for _, line in read_lines(path, form=text_form(path, codec))] == [text, text]


def test_what_a_file_says_of_itself_outweighs_an_encoding_of_one_byte(tmp_path: Path) -> None:
    for codec in ("utf-8", "utf-8-sig", "utf-16"):
        path = written(tmp_path, "café\n".encode(codec))
        assert [line for _, line in read_lines(path, form=text_form(path, "windows-1252"))] == ["café"]


def test_bytes_that_are_no_text_name_the_line_and_what_to_say(tmp_path: Path) -> None:
    path = written(tmp_path, "fine\na café here\n".encode("windows-1252"))
    with pytest.raises(InputError) as caught:
        list(read_lines(path, form=text_form(path, option="--data.encoding")))
    assert str(caught.value) == (
        f"{path}, line 2, holds the byte 0xe9, expected text in UTF-8: "
        "--data.encoding windows-1252 reads it as 'café', another encoding as something else"
    )
    with pytest.raises(InputError, match=r"line 2, holds the byte 0xe9, expected text in UTF-8$"):
        list(read_lines(path))
    path = written(tmp_path, b"a\n\x81\n")
    with pytest.raises(InputError, match="line 2, holds the byte 0x81, expected text in windows-1252"):
        list(read_lines(path, form=text_form(path, "windows-1252")))
    path = written(tmp_path, "ab\ncd".encode("utf-16") + b"\x00\xd8\n\x00")
    with pytest.raises(InputError, match="file, at place 12, holds bytes that are not UTF-16"):
        list(read_lines(path))
    with pytest.raises(InputError, match=r"has 200 zeros in its first 400 bytes, expected text in UTF-8"):
        text_form(written(tmp_path, b"\0\0\1\2" * 100))


@pytest.mark.parametrize("name", ["utf-8-sig", "UTF-16LE", "cp1252", "macroman", ""])
def test_encodings_have_the_names_that_python_knows(name: str) -> None:
    check_encoding(name, "data.encoding")


@pytest.mark.parametrize("name", ["ansi", "rot13", "hex", "unicode_escape", "idna", "undefined", "a\0b"])
def test_what_is_no_encoding_of_text_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"data\.encoding is .*, expected the name of an encoding"):
        check_encoding(name, "data.encoding")


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".BZ2", bz2.compress), (".xz", lzma.compress)]
)
def test_compressed_files_are_read_by_their_ending(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    content = compress("\n".join(LINES).encode())
    assert [line for _, line in read_lines(written(tmp_path, content, f"a.csv{suffix}"))] == LINES
    assert plain_suffix(Path(f"a.CSV{suffix}")) == ".csv"
    with pytest.raises(InputError, match=r"breaks off or is damaged, expected a whole \w+ file"):
        list(read_lines(written(tmp_path, content[:-9], f"a{suffix}")))
    with pytest.raises(InputError, match=r"breaks off or is damaged, expected a whole \w+ file"):
        list(read_lines(written(tmp_path, b"no such file", f"a{suffix}")))


def test_a_few_bytes_that_unfold_to_many_are_not_read_to_their_end(tmp_path: Path) -> None:
    for suffix, compress in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress)):
        path = written(tmp_path, compress(b"good a\n" * 150_000) * 150, f"a{suffix}")
        with pytest.raises(InputError, match="unfolds to more than 200 times its size"):
            read_whole(path, 1 << 30)
    path = written(tmp_path, gzip.compress(b"good a\n" * 150_000) * 4, "b.gz")
    assert sum(1 for _ in read_lines(path)) == 600_000


def test_a_line_without_end_is_not_read_to_its_end(tmp_path: Path) -> None:
    path = written(tmp_path, b"a\n" + b"x" * LONGEST_LINE + b"\n" + b"x" * (LONGEST_LINE + 1) + b"\nb\n")
    lines = read_lines(path)
    assert [next(lines)[0], len(next(lines)[1])] == [1, LONGEST_LINE]
    with pytest.raises(InputError, match=r"line 3, has more than 16,777,216 bytes, expected shorter lines"):
        next(lines)
    with open("/dev/zero", "rb") as endless, pytest.raises(InputError, match="x, line 1, has more than"):
        list(read_lines(endless, "x", TextForm()))
    with pytest.raises(InputError, match="has more than 5 bytes, expected at most that"):
        read_whole(path, 5)


def test_only_regular_files_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    (tmp_path / "circle").symlink_to("circle")
    for path, kind in (
        (tmp_path / "pipe", "is a named pipe"),
        (tmp_path / "link", "is a named pipe"),
        (tmp_path, "is a folder"),
        (Path("/dev/zero"), "is a device"),
        (tmp_path / "circle", "cannot be read: Too many levels of symbolic links"),
        (tmp_path / "none", "cannot be read: No such file"),
        (tmp_path / "none" / "a", "cannot be read: No such file"),
        (tmp_path / ("a" * 300), "cannot be read: File name too long"),
        (Path("a\0b"), "cannot be read: embedded null byte"),
    ):
        with pytest.raises(InputError, match=kind), opened(path):
            pass
    with socket.socket(socket.AF_UNIX) as bound:
        # The address of a socket has at most 108 bytes.
        monkeypatch.chdir(tmp_path)
        bound.bind("socket")
        with pytest.raises(InputError, match="is a socket, expected a file"), opened(Path("socket")):
            pass


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is kept from root")
def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, b"a")
    path.chmod(0)
    with pytest.raises(InputError, match="file cannot be read: Permission denied"), opened(path):
        pass


@pytest.mark.parametrize("value", [{"a": [1, 2.5, None, True, "é"]}, [], "a", -7, 10**99, 1e300, {"": {"": []}}])
def test_json_is_what_it_says(value: object, tmp_path: Path) -> None:
    text = json.dumps(value)
    assert parse_json(text, "here") == parse_json(b"\xef\xbb\xbf" + text.encode(), "here") == value
    assert read_json(written(tmp_path, text.encode())) == value


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is not JSON (Expecting value at place 0), expected JSON"),
        ("{'a': 1}", "is not JSON (Expecting property name enclosed in double quotes at place 1)"),
        ('{"a": 1,}', "is not JSON"),
        ('{"a": 1} {"a": 2}', "is not JSON (Extra data at place 9)"),
        ("[1,\n2,\n,]", "is not JSON (Expecting value in line 3)"),
        ('"a\tb"', "is not JSON (Invalid control character"),
        ("[" * 65 + "]" * 65, "is nested more than 64 deep, expected at most that"),
        ("[" * 200_000, "is nested more than 64 deep"),
        ('{"a":' * 200_000, "is nested more than 64 deep"),
        ('[{"a":' * 40 + "1" + "}]" * 40, "is nested more than 64 deep"),
        ('{"b": {"a": 1, "c": 2, "a": 3}}', "has the entry 'a' twice, expected each once"),
        ("[NaN]", "holds NaN, expected numbers that JSON knows"),
        ("-Infinity", "holds -Infinity, expected numbers that JSON knows"),
        ("1e999", "holds the number 1e999, expected a finite one"),
        ("[" + "7" * 101 + "]", "holds a number of 101 digits, expected at most 100"),
        ("7" * 100_000, "holds a number of 100,000 digits"),
        (b"\xff", "is not JSON (it holds the byte 0xff, no UTF-8)"),
    ],
    ids=lambda text: str(text)[:12],
)
def test_what_json_leaves_open_is_refused(text: str | bytes, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        parse_json(text, "here")
    assert str(caught.value).startswith(f"here {sentence}")
    with pytest.raises(InputError):
        read_json(written(tmp_path, text if isinstance(text, bytes) else text.encode()))


def test_json_may_be_nested_as_deep_as_the_bound(tmp_path: Path) -> None:
    assert parse_json("[" * 64 + "]" * 64, "here")
    assert len(parse_json("[" + "[]," * 1000 + "{}]", "here")) == 1001
    assert parse_json('"' + "[" * 1000 + '"', "here") == "[" * 1000


def test_an_object_is_expected_on_a_line() -> None:
    assert parse_object('{"text": "a"}', "line 1,") == {"text": "a"}
    for text in ("[1]", "7", '"a"', "null", "not so", '{"a"', ""):
        with pytest.raises(InputError, match=r"^line 1, is no JSON object.*expected one on each line$"):
            parse_object(text, "line 1,")
