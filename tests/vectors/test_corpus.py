"""Text becomes ids: the rule of words, counting, breaks, files of every kind, and bad input."""

import gzip
import io
import lzma
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from regard.errors import InputError
from regard.vectors import corpus
from regard.vectors.corpus import BREAK, keep_probability, read_corpus, tokenizer


def text(read: corpus.Corpus) -> str:
    return " ".join("|" if n == BREAK else read.words[n] for n in read.ids)


@pytest.mark.parametrize(
    ("given_text", "words"),
    [
        ("The CAT's tail; the cats' tails", ["the", "cat's", "tail", "the", "cats", "tails"]),
        ("l’eau — ÇA va? naïve", ["l'eau", "ça", "va", "naïve"]),
        ("我是学生 ok", ["我", "是", "学", "生", "ok"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("under_score 3.14 x2", ["under", "score", "3", "14", "x2"]),
        ("🙂 \x00\x07", []),
        ("e\u0301te\u0301", ["été"]),
    ],
)
def test_words_are_lowered_runs_of_letters_marks_and_digits(given_text, words):
    assert tokenizer("words")(given_text) == words


@given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_a_line_that_is_not_ascii_changes_no_other_word(ascii_text):
    """The quick pattern for ASCII and that for all scripts agree."""
    quick = tokenizer("words")(ascii_text)
    assert tokenizer("words")(ascii_text + " é") == [*quick, "é"]


def test_the_vocabulary_is_by_frequency_and_rare_words_leave_the_text(tmp_path):
    (tmp_path / "a.txt").write_text("b a b c a b d")
    read = read_corpus([tmp_path / "a.txt"], minimum_count=2)
    assert read.words == ("b", "a")
    assert read.counts.tolist() == [3, 2]
    assert text(read) == "b a b a b |"
    assert read.length == 5
    assert read_corpus([tmp_path], minimum_count=1, most=1).words == ("b",)


def test_texts_are_files_or_lines(tmp_path):
    (tmp_path / "b.txt").write_text("three four\n\nfour\n")
    (tmp_path / "a.txt").write_text("one\ntwo")
    (tmp_path / ".hidden").write_text("never")
    assert text(read_corpus([tmp_path], minimum_count=1)) == "one two | three four four |"
    assert text(read_corpus([tmp_path], minimum_count=1, lines=True)) == "one | two | three four | four |"


def test_compressed_files_and_archives_read_as_what_they_hold(tmp_path, monkeypatch):
    plain = b"so it is\nso it was"
    (tmp_path / "a.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "a.xz").write_bytes(lzma.compress(plain))
    (tmp_path / "A.TXT.GZ").write_bytes(gzip.compress(plain))
    with tarfile.open(tmp_path / "a.tar.xz", "w:xz") as archive:
        entry = tarfile.TarInfo("inner/a.txt")
        entry.size = len(plain)
        archive.addfile(entry, io.BytesIO(plain))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(plain)))
    (tmp_path / "A.TAR.XZ").write_bytes((tmp_path / "a.tar.xz").read_bytes())
    names = ("a.gz", "a.xz", "A.TXT.GZ", "a.tar.xz", "A.TAR.XZ")
    for source in (*(tmp_path / name for name in names), "-"):
        assert text(read_corpus([source], minimum_count=1)) == "so it is so it was |"


@pytest.mark.parametrize("block", [1, 2, 3, 7, 100])
def test_the_size_of_pieces_changes_nothing(tmp_path, monkeypatch, block):
    """Words are never cut, nor characters where there is no white space to cut at."""
    monkeypatch.setattr(corpus, "_BLOCK", block)
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbf" + "im été 我是学生\nword word".encode())
    assert text(read_corpus([tmp_path], minimum_count=1)) == "im été 我 是 学 生 word word |"
    assert text(read_corpus([tmp_path], minimum_count=1, lines=True)) == "im été 我 是 学 生 | word word |"


def test_a_file_without_any_white_space_is_read(tmp_path):
    (tmp_path / "a.txt").write_text("我是" * 1_000_000)
    assert read_corpus([tmp_path]).counts.tolist() == [1_000_000, 1_000_000]


def test_keeping_follows_equation_5():
    counts = np.array([10_000, 100, 1])
    keep = keep_probability(counts, 1e-3)
    discard = 1 - np.sqrt(1e-3 / (counts / counts.sum()))
    assert np.allclose(keep, 1 - np.maximum(0, discard))
    assert keep_probability(counts, 0).tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "no word occurs 5 times, there is none"),
        (b"one", "no word occurs 5 times, the most frequent of 1 occurs 1 times"),
        (b"fine \xff", r"a.txt holds the byte 0xff at byte 6, expected text in UTF-8"),
        ("cut é".encode()[:-1], r"holds the byte 0xc3 at byte 5"),
    ],
)
def test_bad_text_is_one_sentence(tmp_path, content, sentence):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_corpus([tmp_path / "a.txt"])


def test_bad_sources_are_one_sentence(tmp_path):
    with pytest.raises(InputError, match="is not there"):
        read_corpus([tmp_path / "none"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no file"):
        read_corpus([tmp_path / "empty"])
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"some text" * 99)[:-9])
    with pytest.raises(InputError, match="breaks off or is damaged"):
        read_corpus([tmp_path / "cut.gz"])
    with pytest.raises(InputError, match="minimum count is 0"):
        read_corpus([tmp_path], minimum_count=0)
    with pytest.raises(InputError, match="did you mean 'words'"):
        read_corpus([tmp_path], tokens="word")


def test_the_published_novels_are_read(data: Path):
    read = read_corpus([data / "novels"])
    assert read.words[:3] == ("the", "and", "to")
    assert (len(read.words), read.length) == (26_778, 6_115_515)
    assert (read.ids == BREAK).sum() == 36


def test_a_pipe_is_refused_where_a_file_is_expected(tmp_path):
    os.mkfifo(tmp_path / "a.txt")
    with pytest.raises(InputError, match="is a named pipe, expected a file"):
        read_corpus([tmp_path / "a.txt"], minimum_count=1)
