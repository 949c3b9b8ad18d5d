"""Pairs of documents: the published tables, and the stand-in of passages by authors."""

import pytest

from regard.data.arena.authors import draw_pairs, texts_by_author
from regard.data.arena.making import make_retrieval
from regard.data.arena.pairs import DocumentPairs
from regard.errors import InputError


@pytest.fixture(scope="module")
def books(tmp_path_factory):
    folder = tmp_path_factory.mktemp("books")
    for author in "ABCDEFG":
        for title in ("one", "two", "three"):
            words = " ".join(f"{author}-{title}-{n}\n" * (n % 2) + f"\t{n}" for n in range(2500))
            (folder / f"{author}_{title}_1850.txt").write_text(words)
    (folder / "H_alone_1850.txt").write_text("word " * 5000)
    return folder


@pytest.fixture(scope="module")
def made(books, tmp_path_factory):
    out = tmp_path_factory.mktemp("arena") / "retrieval"
    make_retrieval(out, 3, (20, 6, 6), books)
    return out


def rows(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_authors_of_one_part_are_in_no_other(made):
    authors = {}
    for file in made.iterdir():
        found = rows(file)
        assert all(len(row) == 5 for row in found)
        authors[file.name] = {row[n].partition("_")[0] for row in found for n in (1, 2)}
    assert sorted(authors) == ["author_pairs.eval.tsv", "author_pairs.test.tsv", "author_pairs.train.tsv"]
    assert len(set().union(*authors.values())) == sum(map(len, authors.values())) == 7
    assert "H" not in set().union(*authors.values())


def test_labels_say_whether_one_author_wrote_both(made):
    for file in made.iterdir():
        for label, first, second, one, other in rows(file):
            assert (first.partition("_")[0] == second.partition("_")[0]) == (label == "1")
            assert first.partition(":")[0] != second.partition(":")[0]
            assert one.split("-")[0][-1] == first[0]
            assert 3900 < len(one.encode()) <= 4000
            assert other == other.strip()
    labels = [row[0] for row in rows(made / "author_pairs.train.tsv")]
    assert labels.count("1") == 10


def test_the_seed_decides(books, made, tmp_path):
    make_retrieval(tmp_path / "again", 3, (20, 6, 6), books)
    make_retrieval(tmp_path / "other", 4, (20, 6, 6), books)
    name = "author_pairs.test.tsv"
    assert (tmp_path / "again" / name).read_bytes() == (made / name).read_bytes()
    assert (tmp_path / "other" / name).read_bytes() != (made / name).read_bytes()
    # More pairs to train on change no other part.
    parts = [list(lines) for lines in draw_pairs(texts_by_author(books)[0], 3, (30, 6, 6))]
    assert "".join(parts[2]).encode() == (made / name).read_bytes()


def test_what_is_made_is_read(made):
    reader = DocumentPairs(str(made), longest=100)
    encoding = reader.fit()
    assert encoding.context is not None
    assert encoding.context.columns == encoding.columns
    part = reader.part("validation", encoding)
    example = part[0]
    row = rows(made / "author_pairs.eval.tsv")[0]
    assert (example.values - 1).tolist() == list(row[3].encode()[:100])
    assert (example.context.values - 1).tolist() == list(row[4].encode()[:100])
    assert encoding.labels[int(example.target)] == row[0]
    assert part.lengths[0] == 200
    assert len(reader.part("train", encoding)) == 20


def test_published_labels_are_two(tmp_path):
    text = "".join(f"{n % 2}.0\tP{n}\tQ{n}\tone text\tanother\n" for n in range(20))
    for part in ("train", "eval", "test"):
        (tmp_path / f"new_aan_pairs.{part}.tsv").write_text(text)
    reader = DocumentPairs(str(tmp_path))
    assert reader.fit().labels == ("0.0", "1.0")
    assert reader.survey().parts["validation"].examples == 20


def test_pairs_in_memory_and_lines(made, tmp_path):
    reader = DocumentPairs(str(made))
    encoding = reader.fit()
    one, other = reader.example(["ab", "c"], encoding), reader.example("ab\tc", encoding)
    assert one.values.tolist() == other.values.tolist() == [98, 99]
    assert one.context.values.tolist() == [100]
    (tmp_path / "asked.tsv").write_text("1\tx\ty\tab\tc\n\nab\tc\n")
    asked = reader.inputs([str(tmp_path / "asked.tsv")], encoding)
    assert [example.values.tolist() for example in asked] == [[98, 99]] * 2
    with pytest.raises(InputError, match="the pair has 1 fields with tabs between, expected two texts"):
        reader.example("ab", encoding)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty, expected pairs of texts"),
        ("1\ta\tb\tone text\n", "line 1, has 4 fields with tabs between, expected label, two ids and two texts"),
        ("\ta\tb\tone text\tanother\n", "line 1, has no label"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path, content, sentence):
    (tmp_path / "own.tsv").write_text(content)
    with pytest.raises(InputError, match=sentence):
        DocumentPairs(str(tmp_path / "own.tsv")).fit()


def test_too_few_authors_are_refused(tmp_path):
    for author in "AB":
        for title in ("one", "two"):
            (tmp_path / f"{author}_{title}.txt").write_text("word " * 5000)
    with pytest.raises(InputError, match=r"has 2 authors with two books AUTHOR_TITLE\.txt of more than 8,000 bytes"):
        make_retrieval(tmp_path / "out", 0, (4, 2, 2), tmp_path)
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match=r"data.path is not given"):
        DocumentPairs().fit()


def test_books_that_are_not_used_are_counted_and_words_longer_than_passages_cut(tmp_path):
    def write(name, text):
        (tmp_path / "books" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "books" / name).write_text(text)

    for author in "abcdef":
        write(f"{author}_One.txt", "字" * 6000)
        write(f"{author}_Two.txt", "x" * 9000 + " " + "y" * 20)
    write("g_Alone.txt", "word " * 3000)
    write("a_Short.txt", "word")
    kept, skips = texts_by_author(tmp_path / "books")
    assert sorted(kept) == list("abcdef")
    assert skips.lines() == [
        "1 books of at most 8,000 bytes: a_Short.txt",
        "1 books of an author who has no other: g_Alone.txt",
    ]
    said = []
    make_retrieval(tmp_path / "out", 0, (20, 6, 6), tmp_path / "books", said.append)
    assert "skipped: 1 books of at most 8,000 bytes: a_Short.txt" in said
    for row in rows(tmp_path / "out" / "author_pairs.train.tsv"):
        assert all(len(text.encode()) > 3000 for text in row[3:])
    write("below/a_One.txt", "字" * 6000)
    with pytest.raises(InputError, match=r"has two books a_One\.txt, expected one of each title"):
        texts_by_author(tmp_path / "books")
    write("few/a_One.txt", "word")
    with pytest.raises(InputError, match=r"AUTHOR_TITLE\.txt of more than 8,000 bytes, expected at least 6"):
        texts_by_author(tmp_path / "books" / "few")
