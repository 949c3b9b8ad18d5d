"""Files of word vectors: exact round trips, what other programs write, and every way to be broken."""

import bz2
import gzip
import lzma
import struct
import tracemalloc

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
COMPRESSED = ["gz", "txt.gz", "vec.gz", "bin.gz", "txt.xz", "bin.bz2", "TXT", "Bin.GZ", "SAFETENSORS"]


@pytest.mark.parametrize("ending", ENDINGS + COMPRESSED)
def test_what_is_written_is_read(tmp_path, ending):
    path = tmp_path / f"v.{ending}"
    save(VECTORS, path)
    read = load(path)
    assert read.words == VECTORS.words
    assert (read.matrix == VECTORS.matrix).all()
    again = tmp_path / "again" / f"w.{ending}"
    save(read, again)
    assert again.read_bytes() == path.read_bytes()


def test_a_name_says_the_compression_and_the_format(tmp_path):
    plain = {name: tmp_path / f"v.{name}" for name in ("txt", "bin")}
    for path in plain.values():
        save(VECTORS, path)
    opens = {"gz": gzip.decompress, "xz": lzma.decompress, "bz2": bz2.decompress}
    for ending in ("gz", "txt.gz", "vec.xz", "bin.bz2", "BIN.GZ"):
        path = tmp_path / f"w.{ending}"
        save(VECTORS, path)
        inner = "bin" if "bin" in ending.lower() else "txt"
        assert opens[ending.lower().rpartition(".")[2]](path.read_bytes()) == plain[inner].read_bytes()


@pytest.mark.parametrize(
    "name", ["v", "v.model", "v.npz", "v.zip", "v.txt.zip", "v.model.gz", "v.safetensors.gz", "v.100d", ".gz"]
)
def test_a_name_that_says_no_format_is_refused(tmp_path, name):
    with pytest.raises(
        InputError, match=r"says no format of word vectors, expected one that ends in \.txt, \.vec or \.bin"
    ):
        save(VECTORS, tmp_path / name)
    assert not list(tmp_path.iterdir())
    (tmp_path / name).write_bytes(b"2 1\na 1\nb 2\n")
    with pytest.raises(InputError, match="says no format of word vectors"):
        load(tmp_path / name)


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
    assert load(tmp_path / "twice.txt").skips.lines() == ["1 further vectors of a word that has one: 'a'"]
    assert not load(tmp_path / "v.txt").skips


GLOVE = "the 0.1 -2\n. . . 3 4e-1\nat name@domain.com 5 6\n1/2 7 8\n\u00a0 9 1\n3 1 1\nnew\u0085line 2 2\n"


@pytest.mark.parametrize(
    "content",
    [
        GLOVE,
        "\ufeff" + GLOVE,
        "7 2\n" + GLOVE,
        "\ufeff7 2\n" + GLOVE,
        GLOVE.replace("\n", " \r\n"),
        GLOVE.replace(" 0.1 -2", "\t0.1\t-2"),
        GLOVE.removesuffix("\n"),
    ],
)
def test_glove_has_no_first_line_and_words_with_blanks(tmp_path, content):
    for ending, compress in (("txt", bytes), ("txt.gz", gzip.compress)):
        (tmp_path / f"v.{ending}").write_bytes(compress(content.encode()))
        read = load(tmp_path / f"v.{ending}")
        assert read.words == ("the", ". . .", "at name@domain.com", "1/2", "\u00a0", "3", "new\u0085line")
        expected = np.array([[0.1, -2], [3, 0.4], [5, 6], [7, 8], [9, 1], [1, 1], [2, 2]], np.float32)
        assert (read.matrix == expected).all()


def test_vectors_of_glove_are_written_where_words_may_have_blanks(tmp_path):
    (tmp_path / "v.txt").write_text(GLOVE, "utf-8")
    read = load(tmp_path / "v.txt")
    with pytest.raises(
        InputError,
        match=r"cannot hold the word '\. \. \.', expected no white space in a word, or a name in .safetensors",
    ):
        save(read, tmp_path / "w.bin")
    save(read, tmp_path / "w.safetensors")
    assert load(tmp_path / "w.safetensors").words == read.words


def test_a_header_of_numbers_is_no_word(tmp_path):
    (tmp_path / "v.txt").write_text("2 3\n7 1 2 3\n8 4 5 6\n")
    assert load(tmp_path / "v.txt").words == ("7", "8")
    (tmp_path / "v.txt").write_text("2 3 4\n7 1 2\n")
    assert load(tmp_path / "v.txt").words == ("2", "7")


@pytest.mark.parametrize("content", [b"1 100000000\na 1 2\n", b"1 100000000\na " + bytes(100)])
@pytest.mark.parametrize("ending", ["txt", "bin", "txt.gz", "bin.gz"])
def test_a_width_beyond_measure_is_refused_without_memory_for_it(tmp_path, content, ending):
    path = tmp_path / f"v.{ending}"
    path.write_bytes(gzip.compress(content) if "gz" in ending else content)
    tracemalloc.start()
    with pytest.raises(InputError, match="says that vectors have 100,000,000 numbers, expected at most 65,536"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_memory_grows_with_what_is_there_and_not_with_what_is_promised(tmp_path):
    path = tmp_path / "v.bin.gz"
    path.write_bytes(gzip.compress(b"1000000000 50000\na " + bytes(100)))
    tracemalloc.start()
    with pytest.raises(InputError, match="breaks off in word 1 of 1,000,000,000, at byte 18"):
        load(path)
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "line 1, holds '', expected a first line with the number of words and the width"),
        (b"the 0.1\n", "line 1, holds 'the 0.1', expected a first line .*, or a word and at least two numbers"),
        (b"some words here\n", "line 1, holds what is no number, expected a word and 2 numbers"),
        (b"a 1 2\nb 1 2\nc 1\n", "line 3, has 1 numbers, expected 2"),
        (b"a 1 2\nb 1 2\nc 1 2 3\n", "line 3, has 3 numbers, expected 2"),
        (b"a 1 2\nb 1 2\nnew york 1 2 3\n", "line 3, has 3 numbers, expected 2"),
        (b"a 1 2\nb\nc\nd\n", "line 2, has 0 numbers, expected 2"),
        (b"a" + b" 1" * 70000 + b"\n", "says that vectors have 70,000 numbers, expected at most 65,536"),
        (b"1 2\n" + b"a" * 20000 + b" 1 2\n", "line 2, is longer than 10,128 bytes"),
        (b"x" * 5_000_000, "line 1"),
        (b"2 2\na 1 2 3\nb 3 4\n", "line 2, has 3 numbers, expected 2"),
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
        (b"1000000000 1000\na 1", "line 2, has 1 numbers, expected 1000"),
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
