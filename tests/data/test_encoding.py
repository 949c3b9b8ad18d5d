import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from regard.data.encoding import Encoding, Grid, Labels, Numbers
from regard.errors import InputError

FILES = ("labels.json", "vocabulary.json", "encoding.json")
ENCODING = Encoding(
    Labels(("a", "ü"), copies=3),
    {"word": ("<unknown>", "the")},
    ("<unknown>", "t", "\u2028"),
    width=3,
    grid=Grid(2, (8, 8)),
    edge_width=1,
    band_mean=(0.1, 1 / 3),
)


def test_an_encoding_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    ENCODING.save(tmp_path / "new")
    assert Encoding.load(tmp_path / "new") == ENCODING
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["encoding.json", "labels.json", "vocabulary.json"]


@pytest.mark.parametrize("name", ["labels.json", "vocabulary.json", "encoding.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    ENCODING.save(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        Encoding.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("labels.json", '"a"', '"b"'),
        ("labels.json", '"a",', ""),
        ("vocabulary.json", '"the"', '"a"'),
        ("encoding.json", '"width": 3', '"width": 4'),
        ("encoding.json", '"statistics"', '"other"'),
        ("encoding.json", '"checksum"', '"sum"'),
    ],
)
def test_an_altered_file_is_refused(tmp_path: Path, name: str, old: str, new: str) -> None:
    ENCODING.save(tmp_path)
    text = (tmp_path / name).read_text("utf-8")
    assert old in text
    (tmp_path / name).write_text(text.replace(old, new), "utf-8")
    with pytest.raises(InputError, match="altered"):
        Encoding.load(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", "{}"])
def test_other_json_is_refused(tmp_path: Path, text: str) -> None:
    ENCODING.save(tmp_path)
    (tmp_path / "encoding.json").write_text(text)
    with pytest.raises(InputError, match="altered"):
        Encoding.load(tmp_path)


def test_a_file_that_is_not_json_is_refused(tmp_path: Path) -> None:
    ENCODING.save(tmp_path)
    (tmp_path / "labels.json").write_bytes(b'["a", "\xff')
    with pytest.raises(InputError, match=r"labels\.json is not JSON"):
        Encoding.load(tmp_path)


def test_labels_are_plain_json(tmp_path: Path) -> None:
    ENCODING.save(tmp_path)
    assert json.loads((tmp_path / "labels.json").read_text("utf-8")) == ["a", "ü"]


def test_numbers_are_brought_to_mean_0_and_deviation_1(tmp_path: Path) -> None:
    targets = Numbers.of(["1", "2", "6"])
    values = np.array([targets(text, "here") for text in ("1", "2", "6")])
    assert values.mean() == pytest.approx(0, abs=1e-6)
    assert values.std() == pytest.approx(1)
    Encoding(targets).save(tmp_path)
    assert Encoding.load(tmp_path).targets == targets
    with pytest.raises(InputError, match="here holds 'x', expected a finite number"):
        targets("x", "here")


def test_equal_numbers_have_no_deviation_to_divide_by() -> None:
    assert float(Numbers.of(["2", "2"])("2", "here")) == 0


def test_classes_that_are_numbers_are_in_their_order() -> None:
    assert Labels.of(["10", "9", "b", "a"]).names == ("9", "10", "a", "b")


# Encodings, and the three files that training wrote of them before they were made of parts.
BEFORE: list[tuple[Encoding, Any, Any, Any]] = [
    (
        Encoding(
            Labels(("a", "ü")),
            {"word": ("<unknown>", "the"), "prefix": ("<unknown>", "th")},
            ("<unknown>", "t"),
            segmentation=0,
        ),
        ["a", "ü"],
        {"word": ["<unknown>", "the"], "prefix": ["<unknown>", "th"], "character": ["<unknown>", "t"]},
        {
            "width": 0,
            "coords": 0,
            "extent": [],
            "edge_width": 0,
            "statistics": {},
            "tokenizer": "",
            "copies": 1,
            "checksum": "bc53eb3a0fcc9916a90455260c876262bdaf696f75ecb10662e24aebd68e060b",
        },
    ),
    (
        Encoding(Numbers(0.1, 1 / 3), width=3, grid=Grid(2, (8, 8)), edge_width=1, band_mean=(1.5, -2.0, 0.25)),
        [],
        {},
        {
            "width": 3,
            "coords": 2,
            "extent": [8, 8],
            "edge_width": 1,
            "statistics": {"mean": [0.1], "deviation": [0.3333333333333333], "band_mean": [1.5, -2.0, 0.25]},
            "tokenizer": "",
            "copies": 1,
            "checksum": "8fda838ae23e0bbd8cb3f5cea2f3d131e1feded93e77d550937e75368d8a8349",
        },
    ),
    (
        Encoding(Labels(("x",), copies=3), {"token": ("<unknown>", "a")}, tokenizer='{"a": 1}', segmentation=0),
        ["x"],
        {"token": ["<unknown>", "a"]},
        {
            "width": 0,
            "coords": 0,
            "extent": [],
            "edge_width": 0,
            "statistics": {},
            "tokenizer": '{"a": 1}',
            "copies": 3,
            "checksum": "abfd87a8262df29714b5bf641f7d1a16265ce8b72c4d46049c2c848d6795ec82",
        },
    ),
]


@pytest.mark.parametrize(("encoding", "labels", "vocabularies", "rest"), BEFORE)
def test_the_files_of_earlier_runs_are_read_and_still_written(
    tmp_path: Path, encoding: Encoding, labels: Any, vocabularies: Any, rest: Any
) -> None:
    for name, content in zip(FILES, (labels, vocabularies, rest), strict=True):
        (tmp_path / name).write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    assert Encoding.load(tmp_path) == encoding
    encoding.save(tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_encodings_of_pairs_hold_those_of_their_other_sets(tmp_path: Path) -> None:
    pair = Encoding(
        Encoding(columns={"word": ("?", "Haus")}), {"word": ("?", "house")}, context=Encoding(Labels(("a",)), width=3)
    )
    pair.save(tmp_path)
    assert Encoding.load(tmp_path) == pair
    assert pair.labels == ()
    text = (tmp_path / "encoding.json").read_text("utf-8")
    (tmp_path / "encoding.json").write_text(text.replace('"Haus"', '"House"'), "utf-8")
    with pytest.raises(InputError, match="altered"):
        Encoding.load(tmp_path)


def test_the_words_are_those_of_a_first_column_of_words() -> None:
    assert Encoding(columns={"word": ("?", "a"), "prefix": ("?", "p")}).words == ("?", "a")
    assert Encoding(columns={"token": ("?", "a")}).words == Encoding(width=3).words == ()


def test_an_encoding_without_targets_has_none_to_give() -> None:
    with pytest.raises(InputError, match="the encoding has no labels or numbers"):
        Encoding(width=3).target("a", "here")
    made = (Encoding(Labels(("a",))), Encoding(Numbers(0.0, 1.0)), Encoding(Encoding(width=3)), Encoding(width=3))
    assert [encoding.described_targets for encoding in made] == ["labels", "numbers", "sets", "missing"]


@pytest.mark.parametrize("name", ["labels.json", "vocabulary.json", "encoding.json"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("[" * 100_000, "is nested more than 64 deep"),
        ('{"a": ' * 100_000, "is nested more than 64 deep"),
        ("[NaN]", "holds NaN, expected numbers that JSON knows"),
        ("[1e999]", "holds the number 1e999, expected a finite one"),
        ("9" * 10_000, "holds a number of 10,000 digits"),
        ('{"a": 1, "a": 2}', "has the entry 'a' twice, expected each once"),
        ("", "is not JSON"),
        ("\udcff", "is not JSON"),
        ("null", "was altered, expected all three as training wrote them"),
        ("{}", "was altered, expected all three as training wrote them"),
    ],
    ids=lambda text: text[:12],
)
def test_json_that_training_never_writes_is_refused(tmp_path: Path, name: str, content: str, sentence: str) -> None:
    Encoding(Labels(("a", "b")), columns={"word": ("<unknown>", "c")}).save(tmp_path)
    (tmp_path / name).write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError, match=sentence):
        Encoding.load(tmp_path)
