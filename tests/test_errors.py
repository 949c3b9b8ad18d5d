"""Errors stay one sentence, whatever they quote."""

import pickle

import pytest

from regard.data.encoding import Labels
from regard.errors import InputError, nearest


@pytest.mark.parametrize("quoted", ["a\nb", "a\tb\r", "\0", "\udce9", "\u202e", "x" * 10_000, "\n" * 10_000])
def test_a_sentence_is_one_line_that_prints(quoted: str) -> None:
    error = InputError(f"line 3 has the label {quoted}, expected one of a, b")
    assert str(error).isprintable()
    assert str(error).startswith("line 3 has the label ")
    assert str(error).endswith(", expected one of a, b")
    assert len(str(error)) < 1600
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    str(error).encode()


def test_a_sentence_that_prints_stays_as_it_is() -> None:
    for sentence in ("café.csv, line 3, holds '电影 😀', expected text", "a\\nb"):
        assert str(InputError(sentence)) == sentence


def test_many_or_long_names_are_listed_in_part() -> None:
    assert nearest("lable", ["text", "label"]) == "did you mean 'label'?"
    assert nearest("x", []) == "known are "
    long = nearest("label", ["a" * 10_000, "b"])
    assert long == f"known are {'a' * 60}, b"
    many = nearest("label", [f"column number {n:04}" for n in range(1000)])
    assert many.startswith("known are column number 0000, ")
    assert many.endswith(", column number 0009 and 990 more")


def test_a_label_of_very_many_digits_is_a_name() -> None:
    digits = "9" * 5000
    assert Labels.of([digits, "10", "9"]).names == ("9", "10", digits)
