import gzip
import io
import os
from pathlib import Path

import numpy as np
import pytest

from regard.data.conllu import read_conllu, tokenize
from regard.data.examples import IGNORE, UNSEEN
from regard.data.text import Conllu
from regard.errors import InputError

published = pytest.mark.skipif(
    not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data"
)


def line(index: str, form: str, upos: str = "NOUN") -> str:
    return "\t".join([index, form, "_", upos, "_", "_", "0", "root", "_", "_"]) + "\n"


SMALL = (
    "# newdoc id = d\n# sent_id = first\n# text = The dunno The\n"
    + line("1", "The", "DET")
    + line("2-3", "dunno", "_")
    + line("2", "du", "VERB")
    + line("3", "nno", "PART")
    + line("3.1", "hidden", "VERB")
    + line("4", "the", "DET")
    + "\n"
    + line("1", "The", "DET")
    + "\n"
)


def folder(tmp_path: Path, **parts: str) -> Conllu:
    for name in ("train", "dev", "test"):
        (tmp_path / f"x-ud-{name}.conllu").write_text(parts.get(name, SMALL), "utf-8")
    return Conllu(str(tmp_path))


def test_words_are_read_and_tokens_and_empty_nodes_skipped(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu.gz"
    path.write_bytes(gzip.compress(SMALL.encode()))
    first, second = read_conllu(path)
    assert first.words == ("The", "du", "nno", "the")
    assert first.labels == ("DET", "VERB", "PART", "DET")
    assert first.name == "first"
    assert first.lines == (4, 6, 7, 9)
    assert second.name == "a.conllu.gz:11"


def test_ids_come_from_frequent_training_words(tmp_path: Path) -> None:
    reader = folder(tmp_path, dev=line("1", "THE", "DET") + line("2", "züge", "VERB") + "\n")
    encoding = reader.fit()
    assert encoding.labels == ("DET", "PART", "VERB")
    assert encoding.words == ("<unknown>", "the")
    assert set(encoding.characters[1:]) == {"T", "h", "e", "n"}
    example = reader.part("validation", encoding)[0]
    assert example.values.tolist() == [1, 0]
    assert example.values.dtype == np.int64
    assert example.target is not None
    assert example.target.tolist() == [0, 2]
    assert example.tokens == ("THE", "züge")
    characters = encoding.characters
    assert example.inner is not None
    assert [characters[i] for i in example.inner[0]] == ["T", "<unknown>", "<unknown>"]
    assert len(example.inner[1]) == 4


def test_case_and_characters_are_options(tmp_path: Path) -> None:
    folder(tmp_path)
    reader = Conllu(str(tmp_path), lowercase=False, characters=False, minimum_count=1)
    encoding = reader.fit()
    assert set(encoding.words[1:]) == {"The", "the", "du", "nno"}
    assert reader.part("train", encoding)[0].inner is None


def test_one_file_is_divided_by_the_names_of_its_sentences(tmp_path: Path) -> None:
    path = tmp_path / "own.conllu"
    path.write_text("".join(f"# sent_id = {i}\n{line('1', 'a')}\n" for i in range(20)))
    reader = Conllu(str(path))
    encoding = reader.fit()
    names = {part: {e.name for e in reader.part(part, encoding)} for part in ("train", "validation", "test")}  # type: ignore[arg-type]
    assert [len(names[part]) for part in names] == [16, 2, 2]
    assert set.union(*names.values()) == {str(i) for i in range(20)}


def test_a_sentence_of_5000_words(tmp_path: Path) -> None:
    reader = folder(tmp_path, train="".join(line(str(i), "word") for i in range(1, 5001)))
    encoding = reader.fit()
    dataset = reader.part("train", encoding)
    assert dataset.lengths == [5000]
    assert len(dataset[0].values) == len(dataset[0].inner or ()) == 5000


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is empty, expected sentences"),
        ("\n\n", "is empty, expected sentences"),
        ("# sent_id = a\n\n" + SMALL, "line 1, begins a sentence without words"),
        (line("1.1", "ghost") + "\n", "line 1, begins a sentence without words"),
        (SMALL + "1\tThe\n", "line 13, has 2 fields separated by tabs, expected the 10"),
        (SMALL + line("1", "a") + line("3", "b"), "line 14, has the word number 3, expected 2"),
        (SMALL + line("x", "a"), "line 13, has the word number 'x'"),
        (SMALL + line("1", ""), "line 13, has an empty second field"),
        (
            line("1", "a", "_") + line("2", "b", "_"),
            "line 1, has no upos, nor has any other of the 2 words of the train part",
        ),
    ],
)
def test_departures_from_the_format_name_file_and_line(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(InputError) as caught:
        folder(tmp_path, train=text).fit()
    assert str(tmp_path / "x-ud-train.conllu") in str(caught.value)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("gap", ["_", ""])
def test_a_word_without_label_is_left_out_of_the_loss_and_counted(tmp_path: Path, gap: str) -> None:
    train = line("1", "the", "DET") + line("2", "a", gap) + line("3", "saw", "VERB") + "\n" + line("1", "a", gap) + "\n"
    reader = folder(tmp_path, train=train, dev=line("1", "a", "DET") + "\n" + line("1", "the", gap))
    encoding = reader.fit()
    assert encoding.labels == ("DET", "VERB")
    first, second = (reader.part("train", encoding)[n] for n in range(2))
    assert first.tokens == ("the", "a", "saw")
    assert first.target is not None
    assert second.target is not None
    assert first.target.tolist() == [0, IGNORE, 1]
    assert second.target.tolist() == [IGNORE]
    assert [label for label, _ in reader.labels("train")] == ["DET", "VERB"]
    path = tmp_path / "x-ud-train.conllu"
    assert reader.survey().skipped.lines() == [
        f"3 words without upos: {path}, line 2, {path}, line 5, {tmp_path / 'x-ud-dev.conllu'}, line 3"
    ]


def test_a_part_without_any_label_is_refused(tmp_path: Path) -> None:
    reader = folder(tmp_path, dev=line("1", "a", "_") + line("2", "b", "_"))
    encoding = reader.fit()
    with pytest.raises(InputError, match="has no upos, nor has any other of the 2 words of the validation part"):
        reader.part("validation", encoding)
    with pytest.raises(InputError, match=r"x-ud-train\.conllu, line 4, has no xpos, nor has any other"):
        Conllu(str(tmp_path), column="xpos").fit()


@pytest.mark.parametrize("ending", ["CONLLU", "Conllu", "conll", "CONLLU.GZ", "conll.gz"])
def test_the_name_says_what_conllu_is_in_either_case(tmp_path: Path, ending: str) -> None:
    content = SMALL.encode()
    for part in ("train", "dev", "test"):
        path = tmp_path / f"x-{part}.{ending}"
        path.write_bytes(gzip.compress(content) if ending.lower().endswith("gz") else content)
    reader = Conllu(str(tmp_path), minimum_count=1)
    encoding = reader.fit()
    assert len(encoding.words) == 4
    found = reader.inputs([str(path)], encoding)
    assert [found[n].tokens for n in range(2)] == [("The", "du", "nno", "the"), ("The",)]
    assert len(reader.inputs([str(tmp_path)], encoding)) == 6


def test_other_columns_than_those_of_conllu_are_refused_by_line(tmp_path: Path) -> None:
    path = tmp_path / "a.conll"
    path.write_text("EU NNP B-NP B-ORG\n")
    with pytest.raises(InputError, match="line 1, has 1 fields separated by tabs, expected the 10 of CoNLL-U"):
        read_conllu(path)


def test_bytes_that_are_not_utf_8_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    path.write_bytes(line("1", "ok").encode() + line("2", "x").encode("latin1").replace(b"x", b"\xe9"))
    with pytest.raises(InputError, match="line 2, holds the byte 0xe9, expected text in UTF-8"):
        read_conllu(path)


def test_a_gzip_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu.gz"
    for content in (gzip.compress(SMALL.encode() * 50)[:-20], b"plain text"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="expected a whole gzip file"):
            read_conllu(path)


def test_a_label_that_training_never_saw_is_a_target_of_its_own_kind(tmp_path: Path) -> None:
    test = line("1", "a", "DET") + line("2", "b", "VERBS") + line("3", "c", "X") + line("4", "d", "VERBS") + "\n"
    reader = folder(tmp_path, test=test)
    encoding = reader.fit()
    assert reader.part("validation", encoding).unseen == {}
    part = reader.part("test", encoding)
    assert part[0].target.tolist() == [0, UNSEEN, UNSEEN - 1, UNSEEN]
    assert part.unseen == {"VERBS": 2, "X": 1}


def test_a_training_label_that_is_new_names_line_and_label(tmp_path: Path) -> None:
    encoding = folder(tmp_path).fit()
    reader = folder(tmp_path, train=line("1", "a", "DET") + line("2", "b", "VERBS") + "\n")
    with pytest.raises(InputError, match=r"x-ud-train\.conllu, line 2, has the label 'VERBS', .*did you mean 'VERB'"):
        reader.training(encoding)


def test_missing_files_are_named(tmp_path: Path) -> None:
    reader = folder(tmp_path)
    (tmp_path / "x-ud-dev.conllu").unlink()
    with pytest.raises(InputError, match="has no validation part"):
        reader.part("validation", reader.fit())
    with pytest.raises(InputError, match="nowhere is not there"):
        Conllu(str(tmp_path / "nowhere")).fit()


def test_inputs_are_lines_files_sentences_and_streams(tmp_path: Path) -> None:
    reader = folder(tmp_path)
    encoding = reader.fit()
    (tmp_path / "lines.txt").write_text("\ufeffThe saw.\n\n  \nI saw it\n", "utf-8")
    (tmp_path / "table.csv").write_text("id,text\n7,I saw a saw\n")
    sources = [str(tmp_path / name) for name in ("lines.txt", "table.csv", "x-ud-test.conllu")]
    dataset = reader.inputs(sources, encoding)
    (piped,) = reader.stream(io.BytesIO(b"from here\n"), encoding)
    examples = [dataset[i] for i in range(len(dataset))]
    examples.insert(2, piped[0])
    assert [e.tokens for e in examples[:4]] == [
        ("The", "saw", "."),
        ("I", "saw", "it"),
        ("from", "here"),
        ("I", "saw", "a", "saw"),
    ]
    assert [e.name for e in examples[1:4]] == [f"{tmp_path / 'lines.txt'}:4", "standard input:1", "7"]
    assert len(examples) == 6
    assert all(e.target is None for e in examples)


def test_inputs_without_a_sentence_are_refused(tmp_path: Path) -> None:
    reader = folder(tmp_path)
    encoding = reader.fit()
    (tmp_path / "empty.txt").write_text("\n")
    for source, sentence in ((tmp_path / "empty.txt", "is empty"), (tmp_path / "nowhere.txt", "is not there")):
        with pytest.raises(InputError, match=sentence):
            reader.inputs([str(source)], encoding)
    for nothing in ("", "  ", "I saw a saw"):
        with pytest.raises(InputError, match="is not there, expected a file or a folder; texts themselves are read by"):
            reader.inputs([nothing], encoding)


def test_conllu_under_another_name_is_not_taken_for_sentences(tmp_path: Path) -> None:
    reader = folder(tmp_path)
    path = (tmp_path / "x-ud-test.conllu").rename(tmp_path / "test.txt")
    with pytest.raises(InputError, match=r"test\.txt, line \d+, looks like CoNLL-U"):
        reader.inputs([str(path)], reader.fit())


def test_tokens_join_to_the_text_they_came_from() -> None:
    text = "\"Isn't it (so) ...\" we'll say: 3.5% e.g. --- http://a.b/?c=d, l'été …'"
    assert "".join(tokenize(text)) == "".join(text.split())
    assert tokenize("") == ()


@published
def test_the_published_treebank() -> None:
    reader = Conllu()
    encoding = reader.fit()
    assert len(encoding.labels) == 17
    parts = [reader.part(name, encoding) for name in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [12544, 2001, 2077]
    assert [sum(part.lengths) for part in parts] == [204577, 25147, 25094]
    example = parts[1][0]
    assert example.name == "weblog-blogspot.com_nominations_20041117172713_ENG_20041117_172713-0001"
    assert example.target is not None
    assert [encoding.labels[i] for i in example.target[:3]] == ["ADP", "DET", "PROPN"]


@published
@pytest.mark.parametrize("column", ["xpos", "deprel"])
def test_other_columns_of_the_published_treebank(column: str) -> None:
    reader = Conllu(column=column)  # type: ignore[arg-type]
    encoding = reader.fit()
    for name in ("validation", "test"):
        reader.part(name, encoding)  # type: ignore[arg-type]


def test_a_word_number_of_very_many_digits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.conllu"
    path.write_text("9" * 5000 + "\tword" + "\t_" * 8 + "\n\n")
    with pytest.raises(InputError, match=r"a\.conllu, line 1, has the word number 9+"):
        read_conllu(path, "upos")
