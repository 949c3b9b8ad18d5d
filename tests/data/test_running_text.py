"""Text in windows of characters: what is a target, which part is where, and what is told of characters that are unknown."""

import re
from dataclasses import replace

import numpy as np
import pytest

from regard.data.encoding import Encoding
from regard.data.examples import PARTS
from regard.data.registry import DATASETS
from regard.data.running_text import RunningText, ShiftedWindows, Streams, Windows, character_ids
from regard.errors import InputError
from regard.files import sha256

TEXT = "".join(chr(97 + n % 26) for n in range(1000))


@pytest.fixture
def reader(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(TEXT)
    return RunningText(str(path), window=16)


def text_of(ids, encoding):
    entries = encoding.columns["token"]
    return "".join(entries[n] for n in ids.tolist())


@pytest.mark.parametrize(
    ("part", "begin", "end"), [("train", 0, 900), ("validation", 900, 950), ("test", 950, 1000), ("all", 0, 1000)]
)
def test_a_part_is_a_stretch_each_of_whose_characters_but_the_first_is_a_target_once(reader, part, begin, end):
    encoding = reader.fit()
    windows = reader.part(part, encoding)
    inputs = "".join(text_of(each.values, encoding) for each in windows)
    targets = "".join(text_of(each.target, encoding) for each in windows)
    assert inputs == TEXT[begin : end - 1]
    assert targets == TEXT[begin + 1 : end]
    assert [len(each.values) for each in windows] == windows.lengths
    assert max(windows.lengths) == min(16, end - begin - 1)
    assert [each.tolist() for each in windows.targets] == [each.target.tolist() for each in windows]
    assert windows[1].name == f"a.txt:{begin + 16}"
    assert len(reader.labels(part)) == end - begin - 1


def test_windows_of_training_begin_elsewhere_in_each_epoch_by_the_seed(reader):
    encoding = reader.fit()
    windows, same = reader.training(encoding), reader.training(encoding)
    begins = []
    for epoch in range(40):
        windows.set_epoch(epoch)
        same.set_epoch(epoch)
        texts = [text_of(each.values, encoding) for each in windows]
        assert texts == [text_of(each.values, encoding) for each in same]
        assert TEXT[:899].startswith("".join(texts))
        assert len("".join(texts)) > 899 - 16
        assert all(text_of(each.target, encoding)[:-1] == text[1:] for each, text in zip(windows, texts, strict=True))
        assert all(1 <= len(text) <= bound for text, bound in zip(texts, windows.lengths, strict=True))
        begins.append(len(texts[0]))
    assert len(set(begins)) > 10
    other = RunningText(reader.path, 16, seed=1).training(encoding)
    shifts = []
    for epoch in range(5):
        windows.set_epoch(epoch)
        other.set_epoch(epoch)
        shifts.append(len(windows[0].values) - len(other[0].values))
    assert any(shifts)


@pytest.mark.parametrize("length", [2, 3, 15, 16, 17, 31, 32, 33, 34])
@pytest.mark.parametrize("varied", [False, True])
def test_windows_of_any_length(length, varied):
    ids = np.arange(length)
    windows = ShiftedWindows(ids, 16, "x", seed=5) if varied else Windows(ids, 16, "x")
    for epoch in range(5 if varied else 1):
        if varied:
            windows.set_epoch(epoch)
        found = [windows[n] for n in range(len(windows))]
        for each, bound in zip(found, windows.lengths, strict=True):
            assert (each.target == each.values + 1).all()
            assert 1 <= len(each.values) <= bound <= 16
        targets = np.concatenate([each.target for each in found]).tolist()
        assert targets == list(range(1, length))[: len(targets)]
        assert len(targets) == length - 1 or (varied and len(targets) > length - 1 - 16)
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_characters_of_all_planes_have_ids(tmp_path):
    text = "aé漢😀\n" * 40
    (tmp_path / "b.txt").write_text(text, encoding="utf-8")
    reader = RunningText(str(tmp_path / "b.txt"), window=7)
    encoding = reader.fit()
    assert set(encoding.labels) == {"<unknown>", *"aé漢😀\n"}
    assert encoding.columns["token"] == encoding.labels
    assert text_of(character_ids("😀漢\n", encoding.labels), encoding) == "😀漢\n"
    encoding.save(tmp_path)
    assert Encoding.load(tmp_path) == encoding


def test_what_the_training_part_lacks_is_unknown_and_told(tmp_path):
    (tmp_path / "c.txt").write_text("ab" * 475 + "abßab" * 8 + "ß€abababab")
    reader = RunningText(str(tmp_path / "c.txt"))
    encoding = reader.fit()
    assert encoding.labels == ("<unknown>", "a", "b")
    test = reader.part("test", encoding)
    targets = np.concatenate(test.targets)
    assert int((targets == 0).sum()) == 10
    survey = reader.survey()
    assert survey.notes == ["10 characters of the test part are taken for the unknown one: 'ß' (9), '€' (1)"]
    assert {name: part.examples for name, part in survey.parts.items()} == {"train": 900, "validation": 50, "test": 50}


def test_rare_characters_are_unknown_where_asked(tmp_path):
    (tmp_path / "d.txt").write_text("ab" * 200 + "c" + "ab" * 200)
    reader = RunningText(str(tmp_path / "d.txt"), minimum_count=2)
    assert reader.fit().labels == ("<unknown>", "a", "b")
    assert reader.survey().notes == ["1 characters of the train part are taken for the unknown one: 'c' (1)"]


def test_a_folder_is_its_texts_one_after_another(tmp_path):
    for name, text in (("b.txt", "y" * 30 + "x" * 30), ("a.txt", "x" * 40), ("notes.pdf", "z")):
        (tmp_path / name).write_text(text)
    reader = RunningText(str(tmp_path), window=8)
    encoding = reader.fit()
    whole = "".join(text_of(each.values, encoding) for each in reader.part("all", encoding))
    assert whole == "x" * 40 + "y" * 30 + "x" * 29
    assert reader.survey().skipped.lines() == ["1 files ending in .pdf: notes.pdf"]


def test_inputs_are_whole_texts(reader, tmp_path):
    encoding = reader.fit()
    (found,) = reader.inputs([reader.path], encoding)
    assert text_of(found.values, encoding) == TEXT
    assert found.target is None
    (value,) = reader.texts(["abz"], ["t"], encoding)
    assert (value.name, value.tokens, text_of(value.values, encoding)) == ("t", ("a", "b", "z"), "abz")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 characters, expected at least 40: the train part would have 0"),
        ("ab" * 15, "has 30 characters, expected at least 40: the validation part would have 1"),
        ("a" * 100, "has 1 characters that stand 1 times or more, expected at least 2"),
    ],
)
def test_too_little_text_is_refused(tmp_path, text, message):
    (tmp_path / "e.txt").write_text(text)
    reader = RunningText(str(tmp_path / "e.txt"))
    with pytest.raises(InputError, match=re.escape(message)):
        [reader.part(part, reader.fit()) for part in PARTS]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: RunningText(window=0), "data.window is 0, expected at least 1"),
        (lambda path: RunningText(seed=-1), "data.seed is -1, expected at least 0"),
        (lambda path: RunningText(str(path / "no.txt")).fit(), "no.txt is not there, expected a file of text"),
        (lambda path: RunningText(str(path)).fit(), "has no texts, expected at least one, ending in .txt"),
    ],
)
def test_bad_options_are_refused(tmp_path, make, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make(tmp_path)


@pytest.mark.parametrize(
    ("value", "message"), [("", "t is empty, expected at least one character"), (3, "t is of the type int")]
)
def test_bad_values_are_refused(reader, value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        reader.example(value, reader.fit(), "t")


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "f.txt").write_bytes(b"ab\xff" * 30)
    with pytest.raises(InputError, match=r"f\.txt holds the byte 0xff at place 2, expected text in UTF-8"):
        RunningText(str(tmp_path / "f.txt")).fit()


def test_the_published_text(data):
    place = data / "tinyshakespeare" / "input.txt"
    assert sha256(place) == DATASETS["tinyshakespeare"].files["input.txt"]
    reader = RunningText()
    encoding = reader.fit()
    assert len(encoding.labels) == 66
    assert [sum(reader.part(part, encoding).lengths) for part in PARTS] == [1003853, 55769, 55769]
    assert reader.survey().notes == []


@pytest.mark.parametrize("streams", [1, 3, 7])
@pytest.mark.parametrize("part", PARTS)
def test_streams_are_stretches_whose_windows_follow_one_another(reader, part, streams):
    encoding = reader.fit()
    begin, end = {"train": (0, 900), "validation": (900, 950), "test": (950, 1000)}[part]
    segments = replace(reader, streams=streams).part(part, encoding)
    assert isinstance(segments, Streams)
    assert segments.streams == streams
    assert len(segments) % streams == 0
    inputs, targets = ([""] * streams for _ in range(2))
    for n, each in enumerate(segments):
        b = n % streams
        assert each.start == len(inputs[b])
        inputs[b] += text_of(each.values, encoding)
        targets[b] += text_of(each.target, encoding)
    assert "".join(inputs) == TEXT[begin : end - 1]
    assert "".join(targets) == TEXT[begin + 1 : end]
    assert max(map(len, inputs)) - min(map(len, inputs)) <= 1
    assert [len(each.values) for each in segments] == segments.lengths
    assert 0 < max(segments.lengths) <= 16
    assert max(segments.lengths) - min(segments.lengths) <= 1
    assert [each.tolist() for each in segments.targets] == [each.target.tolist() for each in segments]
    assert segments[0].name == f"a.txt:{begin}"


def test_more_streams_than_characters_are_refused(reader):
    with pytest.raises(InputError, match=r"a.txt has 49 characters to guess in this part, expected at least 60: one a"):
        replace(reader, streams=60).part("test", reader.fit())
    with pytest.raises(InputError, match=r"data\.streams is -1, expected at least 0"):
        RunningText(streams=-1)


def test_training_reads_streams_too(reader):
    encoding = reader.fit()
    own = replace(reader, streams=4)
    assert [each.name for each in own.training(encoding)] == [each.name for each in own.part("train", encoding)]
