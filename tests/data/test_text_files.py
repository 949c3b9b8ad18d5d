"""A file of texts is read in the format that all of its lines are in, or not at all."""

import json
import os
import random
from pathlib import Path

import pytest

from regard.data.documents import found_documents, read_documents
from regard.data.text import Texts
from regard.data.text_files import Columns, parse_file
from regard.errors import InputError

published = pytest.mark.skipif(
    not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data"
)
LINES = [("good" if n % 3 else "bad", f"text {n} is here") for n in range(30)]


def joined(form: str, lines: list[tuple[str, str]] = LINES) -> str:
    return "".join(form.format(label=label, text=text) + "\n" for label, text in lines)


# The content of a file without a known ending; what it is read as.
FORMATS = {
    "label text": (joined("{label} {text}"), "lines `label text`"),
    "label<TAB>text": (joined("{label}\t{text}"), "lines `label<TAB>text`"),
    "text<TAB>label": (joined("{text}\t{label}"), "lines `text<TAB>label`"),
    "label,text": (joined("{label},{text}"), "lines `label,text`"),
    "label, text": (joined("{label}, {text}"), "lines `label,text`"),
    "text,label": (joined("{text},{label}"), "lines `text,label`"),
    "label;text": (joined("{label};{text}"), "lines `label;text`"),
    "label,text in quotes": (joined('{label},"{text}"'), "lines `label,text`"),
    "__label__label text": (joined("__label__{label} {text}"), "lines `__label__label text`"),
    "table with commas": ("label,text\n" + joined('{label},"{text}"'), "CSV"),
    "table with semicolons": ("text;label\n" + joined("{text};{label}"), "CSV with semicolons"),
    "table with tabs": ("id\ttext\tlabel\n" + joined("7\t{text}\t{label}"), "CSV with tabs"),
    "table with sep=": ("sep=|\ntext|label\n" + joined("{text}|{label}"), "CSV with pipes"),
    "JSON lines": (
        "".join(json.dumps({"text": text, "label": label}) + "\n" for label, text in LINES),
        "JSON lines",
    ),
}


@pytest.mark.parametrize("name", ["own.txt", "own", "own.data", "own.labels"])
@pytest.mark.parametrize("case", FORMATS)
def test_lines_tell_their_format(case: str, name: str, tmp_path: Path) -> None:
    content, form = FORMATS[case]
    for encoding, called in (("utf-8", "UTF-8"), ("utf-16", "UTF-16")):
        (tmp_path / name).write_bytes(content.replace("\n", "\r\n").encode(encoding))
        found = parse_file(tmp_path / name, Columns())
        assert [(document.label, document.text) for document in found.documents] == LINES
        assert (found.format, found.encoding, len(found.skips)) == (form, called, 0)


def test_marks_and_separators_within_texts_are_text(tmp_path: Path) -> None:
    lines = [(label, f"{text}, and: 'so; it' is {n}") for n, (label, text) in enumerate(LINES)]
    path = tmp_path / "own.txt"
    for form in ("{label}\t{text}", "{label} {text}", "__label__{label} {text}"):
        path.write_text(joined(form, lines))
        assert [(document.label, document.text) for document in parse_file(path, Columns()).documents] == lines
    varied = [(label, text + ", more" * (n % 3)) for n, (label, text) in enumerate(LINES)]
    path.write_text(joined("{label},{text}", varied))
    assert [(document.label, document.text) for document in parse_file(path, Columns()).documents] == varied


def test_many_labels_are_labels_where_texts_do_not_hold_them(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    lines = [(f"NUM:{min(n * n // 40, 11)}", f"what is the number {n} ?") for n in range(60)]
    path.write_text(joined("{label} {text}", lines))
    found = parse_file(path, Columns())
    assert [(document.label, document.text) for document in found.documents] == lines
    # Words at the beginning of sentences are words within others.
    draw = random.Random(1)
    words = ["the", "king", "and", "his", "lords", "came", "to", "a", "house", "of", "old", "men", "once", "more"]
    path.write_text("".join(" ".join(draw.choices(words, k=9)) + "\n" for _ in range(400)) + "Yorick is here now\n" * 2)
    with pytest.raises(InputError, match="is of no known format"):
        parse_file(path, Columns())


def test_numbers_are_told_by_being_numbers(tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    path.write_text("".join(f"{n / 7} text {n}\n" for n in range(30)))
    found = parse_file(path, Columns(target="number"))
    assert (found.documents[2].label, found.documents[2].text) == (str(2 / 7), "text 2")
    path.write_text("".join(f"text {n}\t{n / 7}\n" for n in range(30)))
    assert parse_file(path, Columns(target="number")).documents[2].label == str(2 / 7)


POEM = "It was the best of times,\nit was the worst of times,\nit was the age of wisdom,\nit was the age of folly,\n"
# The content of a file without a known ending; what its sentence says after the path.
REFUSED = {
    "a text": (POEM, " is of no known format: line 1 is 'It was the best of times,', expected a label and a text"),
    "two lines": ("good fine\nbad dull\n", " is of no known format: line 1 is 'good fine'"),
    "one line": ("good fine\n", " is of no known format: line 1 is 'good fine'"),
    "words": ("good\nbad\n" * 9, " is of no known format: line 1 is 'good'"),
    "other names of columns": (
        "sentence\tlabel\n" + joined("{text}\t{label}"),
        " is of no known format: line 1 is 'sentence\\tlabel'",
    ),
    "columns without names": (
        joined("7\t{text}\t{label}"),
        " is of no known format: line 1 is '7\\ttext 0 is here\\tbad'",
    ),
    "a line without a separator": (joined("{label}\t{text}") + "good\n", " is of no known format: line 1 is"),
    "a label without a text": (joined("{label}\t{text}") + "good\t\n", " is of no known format: line 1 is"),
    "labels on both sides": ("a\tb\nb\ta\na\ta\n" * 9, " can be read as label<TAB>text and as text<TAB>label"),
    "a line that is not fastText's": (
        joined("__label__{label} {text}") + "good x\n",
        ", line 31, is 'good x', expected",
    ),
    "several labels": ("__label__a __label__b x\n" * 9, ", line 1, has the labels a, b, expected one"),
    "no label": ("__label__ x\n" * 9, ", line 1, is '__label__ x', expected"),
    "a list": ('[{"text": "a", "label": "b"}]\n', " is of no known format: line 1 is"),
    "one object over lines": ('{"text": "a",\n"label": "b"}\n', ", line 1, is no JSON object"),
    "text among JSON": ('{"text": "a", "label": "b"}\nnot so\n', ", line 2, is no JSON object"),
    "blank lines": ("\n \n\t\n", " is empty, expected texts with labels"),
    "nothing": ("", " is empty, expected texts with labels"),
    "a log": ("INFO: began\nINFO: ended\nWARNING: none\n" * 9, " is of no known format: line 1 is 'INFO: began'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_in_no_format_is_refused_with_its_first_line(case: str, tmp_path: Path) -> None:
    content, sentence = REFUSED[case]
    (tmp_path / "own.txt").write_text(content)
    with pytest.raises(InputError) as caught:
        parse_file(tmp_path / "own.txt", Columns())
    assert str(caught.value).startswith(f"{tmp_path / 'own.txt'}{sentence}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("head", "name", "kind"),
    [
        (b"PK\x03\x04\x14\0\x06\0", "own.csv", "a workbook"),
        (b"PK\x03\x04\x14\0\x06\0", "own.txt", "a workbook"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "own.csv", "a workbook"),
        (b"PAR1\x15\x04\x15", "own", "a Parquet file"),
        (b"%PDF-1.7\n%\xe2\xe3", "own.txt", "a PDF"),
        (b"\x1f\x8b\x08\0", "own.csv", "compressed by gzip"),
        (b"BZh91AY&SY\xff", "own.csv", "compressed by bzip2"),
        (b"\xfd7zXZ\0\0\x04", "own.jsonl", "compressed by xz"),
        (b"\x28\xb5\x2f\xfd\x04\xff", "own.csv.zst", "compressed by Zstandard"),
        (b"SQLite format 3\0", "own.db", "a database of SQLite"),
        (b"\x89PNG\r\n\x1a\n", "own.txt", "a picture"),
    ],
)
def test_what_is_no_text_is_called_what_it_is(tmp_path: Path, head: bytes, name: str, kind: str) -> None:
    (tmp_path / name).write_bytes(head + bytes(range(256)) * 8)
    with pytest.raises(InputError, match=f"{name} is {kind}.*, expected text"):
        Texts(str(tmp_path / name)).fit()


def test_parts_have_the_format_that_the_training_part_tells(tmp_path: Path) -> None:
    (tmp_path / "own.train").write_text(joined("{label}\t{text}"))
    (tmp_path / "own.dev").write_text("good\tone\n")
    (tmp_path / "own.test").write_text("bad\tone text\n\nbest\tanother\n")
    found = found_documents(tmp_path, Columns())
    labels = {part: [d.label for d in found.documents if d.part == part] for part in ("train", "validation", "test")}
    assert labels == {"train": [label for label, _ in LINES], "validation": ["good"], "test": ["bad", "best"]}
    assert found.format == "lines `label<TAB>text`"
    assert found.skips.lines() == ["1 blank lines: own.test, line 2"]
    (tmp_path / "own.test").write_text("bad\tone\ngood two\n")
    with pytest.raises(
        InputError, match=r"own\.test, line 2, is 'good two', expected label<TAB>text as in the files that"
    ):
        found_documents(tmp_path, Columns())


def test_a_label_is_the_same_however_it_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": " a b ", "label": " very\\u00a0good "}\n{"text": "c", "label": "cafe\\u0301"}\n'
    )
    (tmp_path / "a.csv").write_text("text,label\n a b , very  good\nc,caf\u00e9\n")
    for name in ("a.jsonl", "a.csv"):
        found = parse_file(tmp_path / name, Columns()).documents
        assert [(document.text, document.label) for document in found] == [("a b", "very good"), ("c", "café")]
    (tmp_path / "a.jsonl").write_text(
        '{"text": "a", "label": true}\n{"text": "b", "label": 3}\n{"text": "c", "label": "\\ud800"}\n'
    )
    with pytest.raises(InputError, match=r"line 3, holds half of a character"):
        parse_file(tmp_path / "a.jsonl", Columns())


def test_options_say_what_a_file_does_not(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes("text^label\ncafé, noir^gut\nthé^schlecht\n".encode("windows-1252"))
    reader = Texts(str(path), separator="^", encoding="windows-1252")
    assert [d.text for d in read_documents(path, reader._columns, divide=False)] == ["café, noir", "thé"]
    with pytest.raises(
        InputError, match=r"line 2, holds the byte 0xe9, .*: --data\.encoding windows-1252 reads it as 'café'"
    ):
        Texts(str(path), separator="^").fit()
    assert [e.name for e in map(reader.inputs([str(path)], reader.fit()).__getitem__, range(2))] == [
        f"{path}:2",
        f"{path}:3",
    ]
    for option, value in (("separator", "ab"), ("encoding", "utf-9")):
        with pytest.raises(InputError, match=f"data.{option} is '{value}', expected"):
            Texts(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (
            ["0.5", "1.25", "2"],
            "all labels are numbers, some with a fraction, such as '0.5', expected names of classes",
        ),
        (["0,5", "1", "2"], "all labels are numbers, some with a fraction, such as '0,5', expected names of classes"),
        (["-1e-3", "1"], "all labels are numbers, some with a fraction, such as '-1e-3', expected names"),
        (["1", "1.0", "2"], "the labels '1' and '1.0' are one number, expected one spelling"),
    ],
)
def test_numbers_are_no_names_of_classes(tmp_path: Path, labels: list[str], sentence: str) -> None:
    path = tmp_path / "own.tsv"
    path.write_text("text\tlabel\n" + "".join(f"text {n}\t{labels[n % len(labels)]}\n" for n in range(30)))
    with pytest.raises(InputError) as caught:
        Texts(str(path)).fit()
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "labels", [["0", "1", "10"], ["1.0", "2.0"], ["0.5", "unknown"], ["v1.5", "v2"], ["inf", "nan"]]
)
def test_whole_numbers_and_words_are_names_of_classes(tmp_path: Path, labels: list[str]) -> None:
    path = tmp_path / "own.tsv"
    path.write_text("text\tlabel\n" + "".join(f"text {n}\t{labels[n % len(labels)]}\n" for n in range(30)))
    assert Texts(str(path)).fit().labels == tuple(labels)


def test_a_label_for_each_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("text,label\n" + "".join(f"text {n},label {n}\n" for n in range(30)))
    assert "train has 30 labels for 30 texts, so that most stand once" in Texts(str(path)).survey().notes
    path.write_text("text,label\n" + "".join(f"text {n},label {n % 9}\n" for n in range(60)))
    assert Texts(str(path)).survey().notes == []


def test_a_survey_says_what_a_file_was_read_as(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(("sep=;\ntext;label;;\n" + joined("{text};{label};;") + ";;;\n").encode("utf-16"))
    survey = Texts(str(path)).survey()
    assert (survey.format, survey.encoding, dict(survey.columns)) == (
        "CSV with semicolons",
        "UTF-16",
        {"text": "text", "label": "label"},
    )
    assert survey.skipped.lines() == ["1 empty rows: own.csv, line 33"]


@published
def test_the_published_sentences_are_lines_with_labels() -> None:
    found = found_documents(Texts()._place, Columns())
    assert (len(found.documents), found.format, found.encoding) == (9613, "lines `label text`", "UTF-8")
    with pytest.raises(InputError, match=r"input\.txt is of no known format: line 1 is 'First Citizen:'"):
        parse_file(Path(os.environ["REGARD_DATA"]) / "tinyshakespeare" / "input.txt", Columns())


def test_lists_of_labels_are_composed_and_strict(tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text('{"text": "a", "label": [" cafe\\u0301 ", "b"]}\n{"text": "b", "label": {"b  c": 1}}\n')
    found = parse_file(path, Columns(target="labels")).documents
    assert [json.loads(document.label or "") for document in found] == [["café", "b"], {"b c": 1}]
    (tmp_path / "own.csv").write_text('text,label\na,"{""b"": 1, ""b"": 0}"\n' + "c,b\n" * 20)
    with pytest.raises(InputError, match=r"own\.csv, line 2, has the labels .*, expected a list of texts"):
        Texts(str(tmp_path / "own.csv"), target="labels").fit()


def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "own.csv")
    for place in (str(tmp_path / "own.csv"), "/dev/zero", "/dev/stdin"):
        with pytest.raises(InputError, match=r"is a (named pipe|device), expected a file|cannot be read"):
            Texts(place).fit()
    (tmp_path / "own.txt").write_text("".join(f"{label} {text}\n" for label, text in LINES))
    reader = Texts(str(tmp_path / "own.txt"))
    for place in (str(tmp_path / "own.csv"), "/dev/zero"):
        with pytest.raises(InputError, match=r"is a (named pipe|device), expected a file"):
            reader.inputs([place], reader.fit())
