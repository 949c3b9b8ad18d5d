"""Trial lists: what is drawn, written and read again, and what is wrong with a list, told by its line."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import InputError
from regard.speaker.lists import drawn_trials, read_trials, write_trials

LABELS = st.lists(st.sampled_from("abcd"), min_size=3, max_size=14).filter(
    lambda labels: 1 < len(set(labels)) < len(labels)
)


@given(LABELS, st.integers(0, 40))
def test_what_is_drawn_are_pairs_of_each_kind_once(labels, most):
    first, second = drawn_trials(labels, most)
    pairs = [tuple(sorted(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)]
    assert len(set(pairs)) == len(pairs)
    for same in (True, False):
        there = {(i, j) for i, j in combinations(range(len(labels)), 2) if (labels[i] == labels[j]) == same}
        chosen = {pair for pair in pairs if (labels[pair[0]] == labels[pair[1]]) == same}
        assert chosen <= there
        assert len(chosen) == (min(most, len(there)) if most else len(there))


def test_what_is_drawn_is_spread_over_all():
    labels = [f"s{n:02}" for n in np.repeat(np.arange(40), 10)]
    first, second = drawn_trials(labels, 3000)
    two = np.array(labels)[first] != np.array(labels)[second]
    assert two.sum() == 3000
    counts = np.bincount(np.concatenate([first[two], second[two]]), minlength=400)
    # Each is in 15 trials on average, and the deviation of such counts is about 4.
    assert counts.min() >= 2
    assert 3 < counts.std() < 5
    again = drawn_trials(labels, 3000)
    np.testing.assert_array_equal(again[0], first)
    np.testing.assert_array_equal(again[1], second)


def test_a_list_is_read_as_it_was_written(tmp_path):
    names = ["Ada/1.wav", "Bob B/2 x.wav", "Ada/3.wav", "Bob B/4.wav"]
    path = tmp_path / "list.txt"
    assert write_trials(path, names, ["Ada", "Bob B", "Ada", "Bob B"]) == (2, 4)
    assert '1 "Bob B/2 x.wav" "Bob B/4.wav"\n' in path.read_text()
    found = read_trials(path)
    pairs = {
        (found.names[i], found.names[j]): t for i, j, t in zip(found.first, found.second, found.targets, strict=True)
    }
    assert pairs[("Ada/1.wav", "Ada/3.wav")]
    assert not pairs[("Ada/1.wav", "Bob B/4.wav")]
    assert len(pairs) == 6
    who = dict(zip(found.names, found.speakers.tolist(), strict=True))
    assert who["Ada/1.wav"] == who["Ada/3.wav"] != who["Bob B/4.wav"] == who["Bob B/2 x.wav"]
    with pytest.raises(InputError, match="already exists"):
        write_trials(path, names, ["Ada", "Bob B", "Ada", "Bob B"])
    assert len(path.read_text().splitlines()) == 6


def test_published_lists_are_read(tmp_path):
    """The form of VoxCeleb's lists; whom target trials do not link is a speaker alone."""
    path = tmp_path / "veri_test.txt"
    path.write_bytes(
        b"1 id10270/5r0dWxy17C8/00001.wav id10270/x6uYqmx31kE/00002.wav\r\n"
        b"0  id10270/x6uYqmx31kE/00002.wav\tid10300/ize_eiCFEg0/00003.wav\r\n\r\n"
        b"1 id10270/x6uYqmx31kE/00002.wav id10270/8jEAjG6SegY/00008.wav\r\n"
    )
    found = read_trials(path)
    assert found.targets.tolist() == [True, False, True]
    assert found.speakers[0] == found.speakers[1] == found.speakers[3] != found.speakers[2]
    assert found.names[2] == "id10300/ize_eiCFEg0/00003.wav"
    assert found.where[2].endswith("line 2, names")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "has no trial, expected lines '1 PATH PATH' or '0 PATH PATH'"),
        ("1 a b\n1 a\n", "line 2, is '1 a', expected"),
        ("1 a b\n\n2 a b\n", "line 3, is '2 a b', expected"),
        ("1 a b c\n", "line 1, is '1 a b c', expected"),
        ("0 a a\n", "line 1, compares a with itself"),
        ("1 a b\n1 b c\n0 d c\n0 a c\n", "line 4, says that a and c are of two speakers, but trials of 1 link them"),
        ('1 "a b\n', "line 1, opens a quote that is not closed up to the end of the file"),
        ('1 a b\n1 "c d\n0 e f\n1 g" h\n', "line 2, opens a quote that is not closed in it"),
        ('1 "c d\n0 e" f\n', "line 1, opens a quote that is not closed in it"),
        ('1 "a"b c\n', "line 1, opens a quote where text follows the closing quote: 'b c'"),
        ("1 a b\rc\n", "line 1, "),
        ("\n \t \n", "has no trial"),
        (b"1 a b\n1 a \xff\n", "line 2, holds the byte 0xff, expected text in UTF-8"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, sentence):
    path = tmp_path / "list.txt"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=rf"^{path}.* ?{sentence}") as refusal:
        read_trials(path)
    assert "\n" not in str(refusal.value)


def test_fields_of_a_list_may_be_quoted_and_apart_by_any_blanks(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text(
        '\ufeff1 "a  b/1.wav"   "c ""d"".wav" \n  0\ta\'b.wav "c ""d"".wav"\n1 0560 0561\n', encoding="utf-8"
    )
    assert read_trials(path).names == ("a  b/1.wav", 'c "d".wav', "a'b.wav", "0560", "0561")


def test_a_list_needs_both_kinds(tmp_path):
    for labels, kind in ((["a", "b", "c"], "one speaker"), (["a", "a"], "two speakers"), ([], "one speaker")):
        with pytest.raises(InputError, match=f"no two recordings of {kind} among the {len(labels)}"):
            write_trials(tmp_path / "list.txt", [f"{n}" for n in range(len(labels))], labels)
    with pytest.raises(InputError, match="cannot stand in a trial list"):
        write_trials(tmp_path / "list.txt", ["a\nb", "c", "d"], ["a", "a", "b"])
    with pytest.raises(InputError, match=r"cannot be read: No such file"):
        read_trials(tmp_path / "list.txt")
    assert not list(tmp_path.iterdir())
