"""Files of word vectors: exact round trips, what other programs write, and every way to be broken."""

import gzip
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks import peers
from regard.errors import InputError
from regard.vectors.files import load, save
from regard.vectors.words import WordVectors

VECTORS = WordVectors(
    ["the", "été", "我", "c++"], np.array([[0.1, -1e-30], [3, 1 / 3], [1e30, 0], [-0.5, 7]], np.float32)
)
ENDINGS = ["txt", "vec", "bin", "safetensors"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_is_read(tmp_path, ending):
    path = tmp_path / f"v.{ending}"
    save(VECTORS, path)
    read = load(path)
    assert read.words == VECTORS.words
    assert (read.matrix == VECTORS.matrix).all()


@given(
    st.lists(st.text(st.characters(exclude_categories=("Z", "C")), min_size=1), min_size=1, max_size=5, unique=True),
    st.data(),
)
def test_any_numbers_survive_as_text(tmp_path_factory, words, draw):
    matrix = draw.draw(
        arrays(np.float32, (len(words), 3), elements=st.floats(width=32, allow_nan=False, allow_infinity=False))
    )
    for ending in ENDINGS:
        path = tmp_path_factory.mktemp("v") / f"v.{ending}"
        save(WordVectors(words, matrix), path)
        read = load(path)
        assert read.words == tuple(words)
        assert (read.matrix == matrix).all()


def test_bytes_are_those_of_word2vec(tmp_path):
    save(VECTORS, tmp_path / "v.txt")
    assert (tmp_path / "v.txt").read_text().splitlines()[:2] == ["4 2", "the 0.1 -1e-30"]
    save(VECTORS, tmp_path / "v.bin")
    begin = b"4 2\nthe " + struct.pack("<2f", 0.1, -1e-30) + "été ".encode()
    assert (tmp_path / "v.bin").read_bytes().startswith(begin)


def test_variants_of_other_programs_are_read(tmp_path):
    # The original program ends lines with a space, and puts a line feed behind each binary vector.
    text = b"2 2\r\na 1 2 \r\nb 3 4.5e0 \r\n"
    (tmp_path / "v.txt").write_bytes(text)
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(text))
    (tmp_path / "v.bin").write_bytes(
        b"2 2\na " + struct.pack("<2f", 1, 2) + b"\nb " + struct.pack("<2f", 3, 4.5) + b"\n"
    )
    for name in ("v.txt", "v.txt.gz", "v.bin"):
        assert load(tmp_path / name).matrix.tolist() == [[1, 2], [3, 4.5]]
    (tmp_path / "twice.txt").write_text("3 1\na 1\na 2\nb 3\n")
    assert load(tmp_path / "twice.txt")["a"].tolist() == [1]
    assert load(tmp_path / "twice.txt").words == ("a", "b")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "line 1, holds '', expected a first line with the number of words and the width"),
        (b"the 0.1 0.2\n", "line 1, holds 'the 0.1 0.2'"),
        (b"0 5\n", "line 1, holds '0 5'"),
        (b"-1 5\n", "line 1"),
        (b"1 99999999999999999\n", "line 1"),
        (b"3 2\na 1 2\nb 3 4\n", "ends after line 3, expected the 3 words"),
        (b"2 2\na 1 2\nb 3", "line 3, has 1 numbers, expected 2"),
        (b"1 2\na 1 2\nb 3 4\n", "line 3, is one too many"),
        (b"1 2\na 1 x\n", "line 2, holds what is no number"),
        (b"1 2\na 1 nan\n", "line 2, holds a number that is not finite"),
        (b"1 2\na 1 1e99\n", "line 2, holds a number that is not finite"),
        (b"1 2\n\xff 1 2\n", "line 2, holds the byte 0xff"),
        (b"1000000000 1000000\na 1", "line 2, has 1 numbers, expected 1000000"),
    ],
)
def test_broken_text_names_its_line(tmp_path, content, sentence):
    (tmp_path / "v.txt").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        load(tmp_path / "v.txt")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "line 1, holds ''"),
        (b"\x80\x00\x01", "line 1, holds"),
        (b"1000000000000 1000\na ", "ends at byte 21, too early for the 1,000,000,000,000 words"),
        (b"2 2\na 12345678b 1234", "ends at byte 20"),
        (b"2 1\nlong 1234b 1", "breaks off in word 2 of 2, at byte 14"),
        (b"2 1\na 1234bbbbbbbbbbb", "breaks off in word 2 of 2"),
        (b"1 1\na 1234b 1234", "byte 11, goes on behind the 1 words"),
        (b"1 1\n\xff 1234", "byte 5, holds the byte 0xff"),
        (b"1 1\na " + struct.pack("<f", np.nan), "byte 7, begins 1 numbers that are not all finite"),
    ],
)
def test_broken_binary_names_its_byte(tmp_path, content, sentence):
    (tmp_path / "v.bin").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        load(tmp_path / "v.bin")


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_cut_anywhere_is_refused(tmp_path, ending):
    path = tmp_path / f"v.{ending}"
    save(WordVectors(["one", "two"], np.array([[1.25, 2.5], [3.75, 4.125]])), path)
    whole = path.read_bytes()
    # Cut behind the last digit but one, a text is whole and says something else.
    for end in range(len(whole) - (6 if ending in ("txt", "vec") else 0)):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError):
            load(path)


def test_what_cannot_be_written_or_read_is_one_sentence(tmp_path):
    for ending in ("txt", "bin"):
        with pytest.raises(InputError, match="cannot hold the word 'new york'"):
            save(WordVectors(["new york"], np.ones((1, 2))), tmp_path / f"v.{ending}")
        assert not (tmp_path / f"v.{ending}").exists()
    with pytest.raises(InputError, match="cannot be read"):
        load(tmp_path / "none.txt")
    (tmp_path / "v.txt.gz").write_bytes(gzip.compress(b"1 1\na 1\n")[:-4])
    with pytest.raises(InputError, match="breaks off or is damaged"):
        load(tmp_path / "v.txt.gz")


def test_gensim_reads_what_is_written_and_the_other_way_round(tmp_path):
    try:
        gensim = peers.load("gensim.models")
    except ImportError:
        pytest.skip("gensim is not installed: `make peers`")
    for ending in ("txt", "bin"):
        path = tmp_path / f"v.{ending}"
        save(VECTORS, path)
        theirs = gensim.KeyedVectors.load_word2vec_format(str(path), binary=ending == "bin")
        assert tuple(theirs.index_to_key) == VECTORS.words
        assert (theirs.vectors == VECTORS.matrix).all()
        theirs.save_word2vec_format(str(path), binary=ending == "bin")
        assert load(path).words == VECTORS.words
        assert (load(path).matrix == VECTORS.matrix).all()
