import gzip
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data.documents import Columns, read_documents
from regard.data.encoding import Numbers
from regard.data.examples import UNSEEN
from regard.data.inputs import arriving
from regard.data.text import Texts
from regard.errors import InputError

published = pytest.mark.skipif(
    not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data"
)
ROWS = [("good", 'fine, and "new"'), ("bad", "two\nlines"), ("good", "好电影 😀")]


def csv_file(tmp_path: Path) -> Path:
    path = tmp_path / "own.csv"
    path.write_text('id,label,text\n1,good,"fine, and ""new"""\n2,bad,"two\nlines"\n3,good,好电影 😀\n', "utf-8")
    return path


def many(tmp_path: Path, name: str = "own.txt", count: int = 30) -> Path:
    path = tmp_path / name
    path.write_text("".join(f"{'good' if n % 3 else 'bad'} text {n}\n" for n in range(count)))
    return path


def test_every_format_says_the_same(tmp_path: Path) -> None:
    lines = [json.dumps({"label": label, "text": text}) for label, text in ROWS]
    (tmp_path / "own.jsonl").write_text("\n\n".join(lines))
    (tmp_path / "own.ndjson.gz").write_bytes(gzip.compress("\n".join(lines).encode()))
    (tmp_path / "own.tsv").write_text(
        "".join(["text\tlabel\n", *(f"{t}\t{l}\n".replace("\nl", " l") for l, t in ROWS)])
    )
    (tmp_path / "own").write_text("".join(f"{label} {text}\n".replace("\nl", " l") for label, text in ROWS))
    csv_file(tmp_path)
    for name in ("own.csv", "own.jsonl", "own.ndjson.gz", "own.tsv", "own"):
        found = read_documents(tmp_path / name, Columns())
        joined = [("good", ROWS[0][1]), ("bad", "two lines"), ("good", ROWS[2][1])]
        assert [(d.label, d.text) for d in found] == (joined if name in ("own.tsv", "own") else ROWS)
        assert found[0].name.startswith(f"{name}:")


def test_columns_have_the_names_that_they_are_given(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("body,kind,part\na b,1,train\na,0,train\nb,1,test\nc,0,dev\n")
    reader = Texts(str(path), text_column="body", label_column="kind", split_column="part", minimum_count=1)
    encoding = reader.fit()
    assert encoding.labels == ("0", "1")
    assert encoding.words == ("<unknown>", "a", "b")
    assert [len(reader.part(part, encoding)) for part in ("train", "validation", "test")] == [2, 1, 1]  # type: ignore[arg-type]
    example = reader.part("validation", encoding)[0]
    assert (example.name, example.values.tolist(), int(example.target)) == ("a.csv:5", [0], 0)  # type: ignore[arg-type]
    assert example.values.dtype == np.int64


def test_a_tree_and_an_archive_of_it_say_the_same(tmp_path: Path) -> None:
    tree = tmp_path / "tree" / "reviews"
    for part, labels in (("train", ("pos", "neg", "unsup")), ("test", ("pos", "neg"))):
        for label in labels:
            (tree / part / label).mkdir(parents=True)
            for n in range(20):
                (tree / part / label / f"{n}.txt").write_text(f"{part} {label} {n}")
        (tree / part / "urls.txt").write_text("none of the texts")
    (tmp_path / "archived").mkdir()
    with tarfile.open(tmp_path / "archived" / "all.tar.xz", "w:xz") as archive:
        archive.add(tree, "reviews")
    found = [read_documents(place, Columns()) for place in (tmp_path / "tree", tmp_path / "archived")]
    keys = [[(d.name, d.text, d.label, d.part) for d in documents] for documents in found]
    assert keys[0] == keys[1]
    assert [sum(d.part == part for d in found[0]) for part in ("train", "validation", "test")] == [36, 4, 40]
    assert {d.label for d in found[0]} == {"pos", "neg"}
    for document in found[0]:
        folder, label, name = document.name.split("/")
        assert (folder, label, f"{folder} {label} {name[:-4]}") == (
            "test" if document.part == "test" else "train",
            document.label,
            document.text,
        )


def test_files_are_parts_by_their_names_and_one_file_is_divided_label_by_label(tmp_path: Path) -> None:
    for part in ("train", "dev", "test"):
        many(tmp_path, f"stsa.binary.{part}", 6)
    assert [d.part for d in read_documents(tmp_path, Columns())] == ["validation"] * 6 + ["test"] * 6 + ["train"] * 6
    alone = read_documents(tmp_path / "stsa.binary.dev", Columns())
    assert {(d.label, d.part) for d in alone} == {
        (label, p) for label in ("good",) for p in ("train", "validation", "test")
    } | {("bad", "train")}


def test_numbers_are_brought_to_mean_0_and_deviation_1(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,split\na,1,train\nb,3,train\nc,5,test\nd,2,dev\n")
    reader = Texts(str(path), target="number")
    encoding = reader.fit()
    assert encoding.targets == Numbers(2.0, 1.0)
    assert float(reader.part("test", encoding)[0].target) == 3  # type: ignore[arg-type]
    path.write_text("text,label,split\na,1,train\nb,many,train\nc,5,test\n")
    with pytest.raises(InputError, match=r"a\.csv, line 3, holds 'many', expected a finite number"):
        reader.fit()


def test_numbers_that_all_differ_are_divided_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label\n" + "".join(f"a,{n / 7}\n" for n in range(30)))
    reader = Texts(str(path), target="number")
    encoding = reader.fit()
    assert [len(reader.part(part, encoding)) for part in ("train", "validation", "test")] == [24, 3, 3]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "text,lable\na,b\n", "has no column 'label' in its first line: did you mean 'lable'?"),
        ("a.csv", "text,label\na\n", "line 2, has 1 fields, expected 2"),
        ("a.csv", "text,label\na,\n", "line 2, has no label, expected one for each text"),
        ("a.csv", "text,label,split\na,b,trian\n", "line 2, has the split 'trian': did you mean 'train'?"),
        ("a.csv", "", "is empty, expected a first line"),
        ("a.jsonl", '{"text": "a", "label": 1}\n[1]\n', "line 2, is no JSON object"),
        ("a.jsonl", '{"text": "a", "label": 1}\n{"txt": "a"}\n', "line 2, has no entry 'text': did you mean 'txt'?"),
        ("a.jsonl", '{"text": 7, "label": 1}\n', "line 1, has the text 7, expected a text"),
        ("a.jsonl", '{"text": "a", "label": null}\n', "line 1, has no label"),
        ("a.jsonl", '{"text": "a\\ud800", "label": 1}\n', "line 1, holds half of a character, U+D800, at place 1"),
        ("a.txt", "\n \n", "is empty, expected texts with labels"),
        ("a.txt.gz", "no gzip", "expected a whole gzip file"),
        ("a.tar.xz", "no archive", "is no whole archive"),
        ("a.csv", "text,label,split\na,b,train\na,b,dev\n", "has no test part"),
    ],
)
def test_departures_from_a_format_name_file_and_line(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError) as caught:
        Texts(str(tmp_path / name)).fit()
    assert str(tmp_path / name) in str(caught.value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_archive_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for n in range(50):
            content = os.urandom(100).hex().encode()
            member = tarfile.TarInfo(f"pos/{n}.txt")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"a\.tar\.gz is no whole archive"):
        read_documents(path, Columns())


def test_bytes_that_are_not_utf_8_name_file_and_place(tmp_path: Path) -> None:
    (tmp_path / "own").write_bytes(b"good fine\nbad \xe9t\xe9\n")
    with pytest.raises(InputError, match=r"own, line 2, holds the byte 0xe9, expected text in UTF-8"):
        Texts(str(tmp_path / "own")).fit()
    (tmp_path / "tree" / "pos").mkdir(parents=True)
    (tmp_path / "tree" / "pos" / "1.txt").write_bytes(b"caf\xe9")
    with pytest.raises(InputError, match=r"pos/1\.txt holds the byte 0xe9 at place 3, expected text in UTF-8"):
        Texts(str(tmp_path / "tree")).fit()


def test_folders_without_texts_by_label_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not there, expected a file of texts"):
        Texts(str(tmp_path / "nowhere")).fit()
    with pytest.raises(InputError, match=r"has no file by label, expected LABEL/FILE ending in \.txt"):
        Texts(str(tmp_path)).fit()
    for folder in ("train/pos", "test/pos", "more"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "1.txt").write_text("a")
    with pytest.raises(InputError, match="has more beside folders of parts, train, test"):
        Texts(str(tmp_path)).fit()


def test_a_label_that_training_never_saw_is_a_target_of_its_own_kind(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,split\na,good,train\nb,bad,train\nc,godo,test\nd,good,test\n")
    reader = Texts(str(path))
    part = reader.part("test", reader.fit())
    assert [target.tolist() for target in part.targets if target is not None] == [UNSEEN, 1]
    assert part.unseen == {"godo": 1}


def test_inputs_are_tables_lines_files_folders_and_texts(tmp_path: Path) -> None:
    reader = Texts(str(many(tmp_path)))
    encoding = reader.fit()
    (tmp_path / "lines.txt").write_text("one\n\ntwo words\n")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.txt").write_text("whole\ntext\n")
    table, lines, folder = str(csv_file(tmp_path)), str(tmp_path / "lines.txt"), str(tmp_path / "more")
    found = reader.inputs([table, lines, folder], encoding)
    examples = [found[i] for i in range(len(found))]
    assert [e.name for e in examples] == [
        *("1", "2", "3"),  # the table has a column of ids
        *(f"{lines}:{n}" for n in (1, 3)),
        f"{folder}/a.txt",
    ]
    assert examples[4].tokens == ("two", "words")
    assert examples[5].tokens == ("whole", "text")
    assert all(e.target is None for e in examples)
    (piped,) = reader.stream(io.BytesIO(b'{"text": "piped", "id": 7}\n'), encoding)
    assert [(piped[i].name, piped[i].tokens) for i in range(len(piped))] == [("7", ("piped",))]
    assert len(Texts(one_per_line=False).inputs([lines], encoding)) == 1
    for source, sentence in (("", "is not there"), ("nowhere.txt", "is not there"), ("a text", "is not there")):
        with pytest.raises(InputError, match=sentence):
            reader.inputs([source], encoding)
    (tmp_path / "lines.txt").write_text("\n")
    with pytest.raises(InputError, match=r"lines\.txt is empty, expected a text"):
        reader.inputs([lines], encoding)


class Pipe:
    """Gives one piece for each read, as a pipe does whose writer takes its time."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = [*pieces, b""]
        self.reads = 0

    def read1(self, size: int) -> bytes:
        self.reads += 1
        return self.pieces.pop(0)


def test_lines_are_given_as_they_arrive() -> None:
    pipe: Any = Pipe(b"first\nsec", b"ond\nthird\n", b"l\xc3", b"\xa4st")
    found = arriving(pipe)
    assert next(found) == [(1, "first")]
    assert pipe.reads == 1
    assert list(found) == [[(2, "second"), (3, "third")], [(4, "läst")]]


def test_a_stream_answers_what_came_before_an_error(tmp_path: Path) -> None:
    reader = Texts(str(many(tmp_path)))
    encoding = reader.fit()
    pipe: Any = Pipe(b"\nfine\nbroken \xff\nnever\n")
    stream = reader.stream(pipe, encoding)
    first = next(stream)
    assert [first[i].name for i in range(len(first))] == ["standard input:2"]
    with pytest.raises(InputError, match="standard input, line 3, holds the byte 0xff"):
        next(stream)
    pipe = Pipe(b'{"text": "fine"}\n', b'{"text": "good"}\nnot so\n')
    stream = reader.stream(pipe, encoding)
    assert [len(next(stream)), len(next(stream))] == [1, 1]
    with pytest.raises(InputError, match="standard input, line 3, is no JSON object"):
        next(stream)
    with pytest.raises(InputError, match="standard input is empty, expected a text on each line"):
        next(reader.stream(Pipe(b"\n"), encoding))  # type: ignore[arg-type]


def test_long_texts_are_read_whole_or_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('text,label\n"' + " ".join(f"w{n}" for n in range(100_000)) + '",a\nb,b\n' + "c,b\n" * 40)
    whole = Texts(str(path), minimum_count=1)
    encoding = whole.fit()
    assert len(encoding.words) >= 100_001
    place = str(path)
    long = whole.inputs([place], encoding)[0]
    assert len(long.values) == 100_000
    assert len(set(long.values.tolist())) == 100_000
    begin, end = (Texts(place, longest=7, keep=keep).inputs([place], encoding)[0] for keep in ("begin", "end"))  # type: ignore[arg-type]
    assert (begin.tokens, end.tokens) == (long.tokens[:7], long.tokens[-7:])  # type: ignore[index]
    assert begin.values.tolist() == long.values[:7].tolist()


def test_tags_are_white_space_where_asked_for(tmp_path: Path) -> None:
    path = many(tmp_path)
    text = "Good<br /><br>film, 3 < 4 > 2"
    for drop, expected in ((True, "good film , 3 < 4 > 2"), (False, "good<br / > < br > film , 3 < 4 > 2")):
        reader = Texts(str(path), drop_tags=drop)
        tokens = reader.example(text, reader.fit()).tokens
        assert tokens is not None
        if drop:
            assert " ".join(tokens) == expected
        else:
            assert any("br" in token for token in tokens)


def test_words_have_the_ids_of_their_prefixes_beside_their_own(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text,label,split\nboring bored bored,0,train\nfun,1,train\nboredom x,0,test\n,1,test\n")
    reader = Texts(str(path), prefix=3)
    encoding = reader.fit()
    assert encoding.columns == {"word": ("<unknown>", "bored"), "prefix": ("<unknown>", "bor")}
    found = reader.part("test", encoding)
    assert found[0].values.tolist() == [[0, 1], [0, 0]]
    assert found[1].values.shape == (0, 2)
    assert found.lengths == [2, 0]
    with pytest.raises(InputError, match=r"data\.prefix is 3 and data\.tokens is bytes, expected words"):
        Texts(str(path), prefix=3, tokens="bytes").fit()


@published
def test_the_published_sentences() -> None:
    reader = Texts()
    encoding = reader.fit()
    parts = [reader.part(name, encoding) for name in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [6920, 872, 1821]
    assert encoding.labels == ("0", "1")
    example = parts[1][0]
    words = [encoding.words[i] for i in example.values]
    assert (words, int(example.target)) == (["one", "long", "string", "of", "cliches", "."], 0)  # type: ignore[arg-type]


@published
@pytest.mark.rare
def test_the_published_reviews() -> None:
    reader = Texts(dataset="imdb", tokens="bytes", longest=4096)
    encoding = reader.fit()
    parts = [reader.part(name, encoding) for name in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [22500, 2500, 25000]
    assert [sum(int(part[i].target) for i in range(len(part))) for part in parts] == [11250, 1250, 12500]  # type: ignore[arg-type]
    assert encoding.labels == ("neg", "pos")
    assert max(parts[2].lengths) == 4096
