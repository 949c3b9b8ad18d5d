"""Recordings with their texts: what is read, how texts become ids, and what is refused."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from recordings import sounds, spoken_letters, write

from regard.data.augment import Noise, SpecAugment, Speed
from regard.data.encoding import Encoding, Labels
from regard.data.examples import VectorSet
from regard.data.readers import reader_of
from regard.data.speech import Sounds
from regard.data.transcripts import Transcripts
from regard.errors import InputError

published = pytest.mark.skipif(
    not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data"
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def ids(target: object) -> list[int]:
    assert isinstance(target, VectorSet)
    return [int(each) for each in target.values]


def test_frames_are_those_of_sounds_and_targets_are_the_letters(tmp_path: Path) -> None:
    table = spoken_letters(tmp_path, ["ABC", "B A", "CAB", "A\tB "] * 3)
    reader = Transcripts(str(table), mels=20)
    encoding = reader.fit()
    assert isinstance(encoding.targets, Encoding)
    (letters,) = encoding.targets.columns.values()
    assert (letters[0], set(letters[1:-2]), letters[-2:]) == ("<unknown>", set("ABC "), ("<begin>", "<end>"))
    assert encoding.width == 20
    part = reader.part("train", encoding)
    assert part.target_kind == "sets"
    for i in range(len(part)):
        example = part[i]
        assert isinstance(example.target, VectorSet)
        spelled = "".join(letters[n] for n in example.target.values)
        assert example.target.text is not None
        # White space is one blank, and the text is kept as it stands in the table.
        assert spelled == " ".join(example.target.text.split()) + "<end>"
        same = Sounds(str(table.parent), mels=20).example(
            (table.parent / example.name).read_bytes(), Encoding(width=20)
        )
        np.testing.assert_array_equal(example.values, same.values)


def test_training_varies_sounds_and_leaves_texts(tmp_path: Path) -> None:
    table = str(spoken_letters(tmp_path, ["ABC", "CAB", "BCA"] * 4))
    plain = Transcripts(table)
    encoding = plain.fit()
    recorded = plain.part("train", encoding)
    changed = [
        Transcripts(table, speed=Speed((0.8, 1.25))),
        Transcripts(table, mask=SpecAugment(time_masks=2, band_masks=2)),
        Transcripts(table, noise=Noise(str(sounds(tmp_path)))),
    ]
    for reader in changed:
        training = reader.training(encoding)
        assert training.target_kind == "sets"
        training.set_epoch(1)
        differs = False
        for i in range(len(training)):
            assert ids(training[i].target) == ids(recorded[i].target) == ids(training.targets[i])
            assert len(training[i].values) <= training.lengths[i]
            one, other = training[i].values, recorded[i].values
            differs |= one.shape != other.shape or bool(np.abs(one - other).max() > 0.1)
        assert differs
        again = reader.part("validation", encoding)
        np.testing.assert_array_equal(again[0].values, plain.part("validation", encoding)[0].values)


def test_the_vocabulary_is_of_the_training_part_and_may_be_pieces(tmp_path: Path) -> None:
    rows = [("AB AB", "train"), ("AB BA", "train"), ("XAB", "test"), ("AB", "validation")]
    table = spoken_letters(tmp_path, [text for text, _ in rows], [part for _, part in rows])
    reader = Transcripts(str(table))
    encoding = reader.fit()
    assert isinstance(encoding.targets, Encoding)
    assert "X" not in encoding.targets.columns["token"]
    assert ids(reader.part("test", encoding)[0].target)[0] == 0
    pieces = Transcripts(str(table), tokens="bpe", vocabulary=8, minimum_count=1).fit()
    assert isinstance(pieces.targets, Encoding)
    assert any(len(piece.strip("\u2581")) > 1 for piece in pieces.targets.columns["token"][1:-2])
    lower = Transcripts(str(table), lowercase=True).fit()
    assert isinstance(lower.targets, Encoding)
    assert "a" in lower.targets.columns["token"]
    assert "A" not in lower.targets.columns["token"]


def test_a_table_without_parts_is_divided_by_the_names(tmp_path: Path) -> None:
    texts = [f"A{'B' * n}" for n in range(20)]
    reader = Transcripts(str(spoken_letters(tmp_path, texts)))
    encoding = reader.fit()
    assert [len(reader.part(part, encoding)) for part in ("train", "validation", "test", "all")] == [16, 2, 2, 20]  # type: ignore[arg-type]
    assert not reader.names_parts()


def test_a_folder_and_its_table_are_the_same(tmp_path: Path) -> None:
    table = spoken_letters(tmp_path, ["AB", "BA", "ABA"])
    assert table.name == "utterances.csv"
    folder, file = Transcripts(str(table.parent)), Transcripts(str(table))
    assert folder.labels("train") == file.labels("train")
    assert folder.root == file.root == table.parent
    other = table.with_name("mine.tsv")
    other.write_text(table.read_text().replace(",", "\t").replace("text", "sentence").replace('"', ""))
    mine = Transcripts(str(other), column="sentence")
    assert [text for text, _ in mine.labels("all")] == ["AB", "BA", "ABA"]
    assert mine.labels("all")[0][1] == f"{other}, line 2, (0.wav)"


def test_tables_of_sounds_and_texts_are_known_by_their_columns(tmp_path: Path) -> None:
    table = spoken_letters(tmp_path, ["AB", "BA", "ABA"])
    assert reader_of(table) is reader_of(table.parent) is Transcripts
    assert reader_of(sounds(tmp_path)) is Sounds
    header, *rows = table.read_text().splitlines()
    # With speakers as well it is what the recipes of voices read.
    table.write_text("\n".join([f"{header},speaker", *(f"{row},x" for row in rows)]))
    assert reader_of(table.parent) is Sounds
    assert [row["text"] for row in csv.DictReader(table.read_text().splitlines())] == [
        text for text, _ in Transcripts(str(table)).labels("all")
    ]


BAD = [
    ("path,text\n0.wav,\n", "line 2, .*has an empty text, expected a text"),
    ("path,text\n0.wav,  \n", "line 2, .*has an empty text, expected a text"),
    ("path,transcript\n0.wav,A\n", "has no column 'text'"),
    ("file,text\n0.wav,A\n", "has no column 'path'"),
    ("path,text,split\n0.wav,A,trial\n", "has the split 'trial'"),
    ("path,text,split\n0.wav,A,test\n", "has no sound in the train part"),
    ("path,text,split\n9.wav,A,train\n", r"9\.wav is not there"),
    ("path,text,split\nempty.wav,A,train\n", r"empty\.wav has no samples|empty\.wav is empty"),
    ("path,text,split\nsilent.wav,A,train\n", r"silent\.wav is silent"),
    ("path,text,split\nutterances.csv,A,train\n", r"utterances\.csv cannot be read as sound"),
    ("path,text\n", "has a first line only, expected at least one row"),
]


@pytest.mark.parametrize(("content", "sentence"), BAD)
def test_what_is_wrong_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    table = spoken_letters(tmp_path, ["AB", "BA"])
    write(table.parent / "empty.wav", np.zeros(0, np.float32))
    write(table.parent / "silent.wav", np.zeros(16_000, np.float32))
    table.write_text(content)
    reader = Transcripts(str(table), minimum_count=1)
    with pytest.raises(InputError, match=sentence):
        reader.part("train", reader.fit())


def test_what_is_no_table_and_options_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    table = spoken_letters(tmp_path, ["AB", "BA"])
    with pytest.raises(InputError, match=r"has no utterances\.csv, expected a table with the columns path and text"):
        Transcripts(str(sounds(tmp_path))).fit()
    with pytest.raises(InputError, match=r"no\.csv is not there, expected a table with the columns path and words"):
        Transcripts(str(tmp_path / "no.csv"), column="words").fit()
    with pytest.raises(InputError, match=r"data\.speed\.voices is true, expected false"):
        Transcripts(speed=Speed((0.9, 1.0), voices=True))
    with pytest.raises(InputError, match=r"data\.mels is 0, expected at least 1"):
        Transcripts(mels=0)
    with pytest.raises(InputError, match="the targets of the encoding are labels, expected sets of ids"):
        Transcripts(str(table)).part("train", Encoding(Labels(("a",)), width=40))


@published
def test_the_published_sentences_are_other_ones_in_each_part() -> None:
    reader = Transcripts()
    texts = {part: [text for text, _ in reader.labels(part)] for part in ("train", "validation", "test")}  # type: ignore[arg-type]
    assert {part: len(each) for part, each in texts.items()} == {"train": 1344, "validation": 192, "test": 384}
    known = set(texts["train"])
    assert [sum(text in known for text in texts[part]) for part in ("validation", "test")] == [2, 2]
    assert max(Counter(texts["train"]).values()) == 2
    with (reader.root / "utterances.csv").open() as file:
        speakers = {
            part: {row["speaker"] for row in csv.DictReader(file) if row["split"] == part} for part in ("train",)
        }
    assert len(speakers["train"]) == 96
    encoding = reader.fit()
    assert isinstance(encoding.targets, Encoding)
    assert set(encoding.targets.columns["token"][1:-2]) == set(" ABCDEFGHIJKLMNOPQRSTUVWXYZ'")
