"""Parallel text: what is read from which files, what is skipped and refused, and that pieces join to the text they are cut from."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from regard.data.batch import collate
from regard.data.encoding import BEGIN, END, Encoding
from regard.data.parallel import ParallelText
from regard.data.readers import reader_of
from regard.data.registry import DATASETS, locate
from regard.data.tokenizer import text_of as joined
from regard.errors import InputError

LINES = [(f"Haus {n:05b}, ja.", f"A house {n:05b}, yes.") for n in range(20)]


def write(path: Path, lines: list[str]) -> Path:
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def folder(root: Path, parts=("train", "val", "test_2016"), end="") -> Path:
    root.mkdir(exist_ok=True)
    for number, part in enumerate(parts):
        chosen = LINES[: 20 if number == 0 else 3]
        for side, language in enumerate(("de", "en")):
            write(root / f"{part}.{language}{end}", [f"{pair[side]} {number:02b}" for pair in chosen])
    return root


def text_of(ids, encoding):
    entries = encoding.columns["token"]
    return joined([entries[i] for i in ids if entries[i] not in (BEGIN, END)], encoding)


def texts(reader, part):
    """The pairs of a part as texts."""
    encoding = reader.fit()
    found = reader.part(part, encoding)
    return [(text_of(found[i].values, encoding), found[i].target.text) for i in range(len(found))]


@pytest.mark.parametrize("end", ["", ".gz"])
def test_a_folder_has_a_file_for_each_part_and_language(tmp_path, end):
    reader = ParallelText(str(folder(tmp_path / "own", end=end)), minimum_count=1)
    assert texts(reader, "validation") == [(f"{de} 01", f"{en} 01") for de, en in LINES[:3]]
    assert texts(reader, "test") == [(f"{de} 10", f"{en} 10") for de, en in LINES[:3]]
    assert [str(part) for part in reader.survey().parts.values()] == ["20 pairs", "3 pairs", "3 pairs"]
    assert reader.survey().columns == {"de": "source", "en": "target"}


def test_the_direction_is_an_option(tmp_path):
    place = str(folder(tmp_path / "own"))
    back = ParallelText(place, source_language="en", target_language="de", minimum_count=1)
    assert texts(back, "test") == [(f"{en} 10", f"{de} 10") for de, en in LINES[:3]]


def two_files(tmp_path):
    write(tmp_path / "corpus.en", [en for _, en in LINES])
    return ParallelText(str(write(tmp_path / "corpus.de", [de for de, _ in LINES])), minimum_count=1)


def other_names(tmp_path):
    source, target = (
        write(tmp_path / "in.txt", [de for de, _ in LINES]),
        write(tmp_path / "out", [en for _, en in LINES]),
    )
    return ParallelText(str(source), str(target), minimum_count=1)


def target_named(tmp_path):
    two_files(tmp_path)
    return ParallelText(str(tmp_path / "corpus.en"), minimum_count=1)


def table(tmp_path):
    rows = ["id\ten\tde", *(f"{n}\t{en}\t{de}" for n, (de, en) in enumerate(LINES))]
    return ParallelText(str(write(tmp_path / "own.tsv", rows)), minimum_count=1)


def commas(tmp_path):
    rows = ["de,en", *(f'"{de}","{en}"' for de, en in LINES)]
    return ParallelText(str(write(tmp_path / "own.csv", rows)), minimum_count=1)


def tabs(tmp_path):
    return ParallelText(str(write(tmp_path / "own.txt", [f"{de}\t{en}" for de, en in LINES])), minimum_count=1)


def objects(tmp_path):
    rows = [json.dumps({"de": de, "en": en}) for de, en in LINES]
    return ParallelText(str(write(tmp_path / "own.jsonl", rows)), minimum_count=1)


def nested(tmp_path):
    rows = [json.dumps({"translation": {"de": de, "en": en}}) for de, en in LINES]
    return ParallelText(str(write(tmp_path / "own.json", rows)), minimum_count=1)


@pytest.mark.parametrize("make", [two_files, other_names, target_named, table, commas, tabs, objects, nested])
def test_every_form_of_file_holds_the_same_pairs(tmp_path, make):
    reader = make(tmp_path)
    assert not reader.names_parts()
    assert texts(reader, "all") == LINES
    assert [len(reader.part(part, reader.fit())) for part in ("train", "validation", "test")] == [16, 2, 2]


def test_parts_stand_in_a_column_or_in_files_of_both_languages(tmp_path):
    rows = [
        json.dumps({"de": de, "en": en, "split": ("train", "dev", "test")[n % 3]}) for n, (de, en) in enumerate(LINES)
    ]
    reader = ParallelText(str(write(tmp_path / "own.jsonl", rows)), minimum_count=1)
    assert texts(reader, "validation") == LINES[1::3]
    (tmp_path / "parts").mkdir()
    for name, pairs in (("train", LINES[:10]), ("test", LINES[10:])):
        write(tmp_path / "parts" / f"{name}.tsv", ["de\ten", *(f"{de}\t{en}" for de, en in pairs)])
    reader = ParallelText(str(tmp_path / "parts"), minimum_count=1)
    assert texts(reader, "test") == LINES[10:]
    # Without a validation part some of the training part become one.
    assert (len(texts(reader, "validation")), len(texts(reader, "train"))) == (2, 8)


def test_pairs_with_an_empty_side_and_long_ones_are_counted_and_named(tmp_path):
    root = folder(tmp_path / "own")
    write(root / "train.de", ["a b", "", "c", "d" * 50, " "])
    write(root / "train.en", ["A B", "B", " ", "D", ""])
    write(root / "notes.md", ["?"])
    reader = ParallelText(str(root), minimum_count=1, longest=20)
    assert texts(reader, "train") == [("a b", "A B")]
    assert reader.survey().skipped.lines() == [
        "1 files whose names tell no part: notes.md",
        "3 pairs with an empty side: train.de:2, train.de:3, train.de:5",
        "1 pairs of the training part longer than 20 characters: train.de:4",
    ]
    assert len(texts(ParallelText(str(root), minimum_count=1, longest=0), "train")) == 2


def test_examples_end_and_have_one_vocabulary(tmp_path):
    reader = table(tmp_path)
    encoding = reader.fit()
    assert isinstance(encoding.targets, Encoding)
    assert encoding.targets.columns == encoding.columns
    assert encoding.targets.columns["token"][-2:] == (BEGIN, END)
    part = reader.part("test", encoding)
    end = encoding.entry(END)
    for i in range(len(part)):
        source, target = part[i].values, part[i].target.values
        assert source[-1] == target[-1] == end
        assert not {0, encoding.entry(BEGIN), end} & {*source[:-1], *target[:-1]}
        assert part.lengths[i] == max(len(source), len(target))
    batch = collate([part[0], part[1]])
    assert batch.target_sets.layout.lengths.tolist() == [len(part[i].target.values) for i in range(2)]
    assert batch.target_texts == (part[0].target.text, part[1].target.text)
    folder = tmp_path / "run"
    folder.mkdir()
    encoding.save(folder)
    assert Encoding.load(folder) == encoding
    example = reader.example("Haus 3", encoding)
    assert example.tokens[-1] == END
    assert len(example.tokens) == len(example.values)


@pytest.mark.parametrize("tokens", ["bpe", "unigram", "characters", "bytes"])
def test_pieces_join_to_the_text_that_they_are_cut_from(tmp_path, tokens):
    lines = ['Er sagte: "Ja-ja" (z. B. 3,5 %)!', "Über „Straßen“ & <b>", "日本語です。"]
    write(tmp_path / "own.de", lines * 4)
    write(tmp_path / "own.en", lines * 4)
    reader = ParallelText(str(tmp_path / "own.de"), tokens=tokens, vocabulary=120 if tokens == "bpe" else 0)
    assert {source for source, _ in texts(reader, "all")} == set(lines)


def test_only_unknown_letters_are_unknown_and_a_long_sentence_is_read_whole(tmp_path):
    reader = table(tmp_path)
    encoding = reader.fit()
    unknown = reader.example("ΩΨΞ", encoding)
    assert 0 in unknown.values
    assert text_of(unknown.values, encoding).count("<unknown>") == list(unknown.values).count(0)
    assert len(reader.example("Haus " * 5000, encoding).values) >= 5001


def wrong_lengths(tmp_path):
    root = folder(tmp_path / "own")
    write(root / "train.en", ["one"])
    return ParallelText(str(root)), r"train.de has 20 lines and \S*train.en has 1, expected as many, line by line"


def missing_language(tmp_path):
    root = folder(tmp_path / "own")
    (root / "val.en").unlink()
    return ParallelText(str(root)), "has val.de and no val.en, expected a file for each language"


def other_languages(tmp_path):
    return (
        ParallelText(str(folder(tmp_path / "own")), source_language="fr", target_language="it"),
        "has no files of fr and it, found files that end in de, en, expected train.fr and train.it",
    )


def twice(tmp_path):
    root = folder(tmp_path / "own")
    write(root / "train.de.gz", ["x"])
    return ParallelText(str(root)), "has train.de and train.de.gz, expected one of them"


def alone(tmp_path):
    return ParallelText(
        str(write(tmp_path / "a.de", ["x"]))
    ), "has no file a.en beside it, expected the same sentences in en"


def absent(tmp_path):
    return ParallelText(str(tmp_path / "no.de")), "no.de is not there, expected a file of parallel text"


def target_absent(tmp_path):
    return ParallelText(
        str(write(tmp_path / "a.de", ["x"])), "no.en"
    ), "no.en is not there, expected the file of the targets"


def fields(tmp_path):
    return ParallelText(
        str(write(tmp_path / "a.tsv", ["a\tb", "a\tb\tc"]))
    ), "line 2, has 3 fields, expected SOURCE<TAB>TARGET"


def no_column(tmp_path):
    return ParallelText(str(write(tmp_path / "a.csv", ["de,fr", "a,b"]))), "has no column 'en'|en"


def half_a_header(tmp_path):
    return ParallelText(str(write(tmp_path / "a.tsv", ["de\tfr", "a\tb", "c\td"]))), "has no column 'en'"


def no_entry(tmp_path):
    return ParallelText(str(write(tmp_path / "a.jsonl", ['{"de": "a", "eng": "b"}']))), "line 1, has no entry 'en'"


def no_text(tmp_path):
    return ParallelText(
        str(write(tmp_path / "a.jsonl", ['{"de": "a", "en": 3}']))
    ), "line 1, has the en '3', expected a text"


def empty(tmp_path):
    write(tmp_path / "a.en", ["", ""])
    return ParallelText(str(write(tmp_path / "a.de", ["x", "y"]))), "has no pair of sentences"


def no_test(tmp_path):
    return ParallelText(str(folder(tmp_path / "own", ("train", "val")))), "has no test part"


def too_small(tmp_path):
    return ParallelText(
        str(write(tmp_path / "a.tsv", ["a\tb", "c\td"]))
    ), "has too few pairs for a test part, expected at least 3"


def small_vocabulary(tmp_path):
    return ParallelText(table(tmp_path).path, vocabulary=5), "data.vocabulary is 5, expected at least"


REFUSED = [wrong_lengths, missing_language, other_languages, twice, alone, absent, target_absent, fields, no_column]
REFUSED += [half_a_header, no_entry, no_text, empty, no_test, too_small, small_vocabulary]


@pytest.mark.parametrize("make", REFUSED)
def test_what_is_no_parallel_text_is_refused_in_a_sentence(tmp_path, make):
    reader, sentence = make(tmp_path)
    with pytest.raises(InputError, match=sentence):
        reader.part("test", reader.fit())


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(InputError, match="are 'de' and 'de', expected two languages"):
        ParallelText(target_language="de")
    with pytest.raises(InputError, match=r"data.longest is -1, expected at least 0"):
        ParallelText(longest=-1)


def test_an_empty_sentence_is_refused(tmp_path):
    reader = table(tmp_path)
    encoding = reader.fit()
    for text in ("", " \t"):
        with pytest.raises(InputError, match="is empty, expected a sentence to translate"):
            reader.example(text, encoding)


def test_files_that_belong_together_are_claimed(tmp_path):
    root = folder(tmp_path / "own")
    assert reader_of(root) is ParallelText
    assert ParallelText.claims(root) == 6
    assert ParallelText.claims(root / "train.de") == 1
    (root / "train.en").unlink()
    assert (ParallelText.claims(root), ParallelText.claims(root / "train.de")) == (4, 0)


def test_changed_files_are_read_again(tmp_path):
    reader = two_files(tmp_path)
    assert len(texts(reader, "all")) == 20
    write(tmp_path / "corpus.de", ["x"])
    write(tmp_path / "corpus.en", ["X"])
    with pytest.raises(InputError, match="too few pairs"):
        texts(reader, "train") and texts(reader, "test")


def test_the_published_pairs_are_there():
    try:
        root = locate("multi30k")
    except InputError as error:
        pytest.skip(str(error))
    assert {path.name for path in root.iterdir() if path.suffix == ".gz"} == set(DATASETS["multi30k"].files)
    reader = ParallelText()
    assert [str(part) for part in reader.survey().parts.values()] == ["29,000 pairs", "1,014 pairs", "1,000 pairs"]
    encoding = reader.fit()
    found = reader.part("test", encoding)
    target = found[0].target
    assert target.text == "A man in an orange hat starring at something."
    assert text_of(target.values, encoding.targets) == target.text
    assert np.isin(found[0].values, range(8002)).all()
