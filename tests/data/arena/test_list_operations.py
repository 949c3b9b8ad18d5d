"""ListOps as files: made by a seed, read with every tree checked."""

import pytest

from regard.data.arena.list_operations import ListOps
from regard.data.arena.making import make_listops
from regard.errors import InputError


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arena") / "listops"
    make_listops(folder, 5, (40, 8, 6))
    return folder


def test_what_is_made_is_read(made):
    reader = ListOps(str(made))
    encoding = reader.fit()
    parts = {name: reader.part(name, encoding) for name in ("train", "validation", "test")}
    assert [len(part) for part in parts.values()] == [40, 8, 6]
    example = parts["test"][0]
    assert 500 < len(example.values) < 2000
    assert example.values.min() >= 1
    assert example.values.max() <= 15
    assert "501" in reader.survey().notes[0] or "symbols" in reader.survey().notes[0]


def test_the_seed_decides_every_file(made, tmp_path):
    make_listops(tmp_path / "again", 5, (40, 8, 6))
    make_listops(tmp_path / "other", 6, (40, 8, 6))
    for file in made.iterdir():
        assert (tmp_path / "again" / file.name).read_bytes() == file.read_bytes()
        assert (tmp_path / "other" / file.name).read_bytes() != file.read_bytes()


def test_the_published_form_is_read(made):
    lines = (made / "basic_test.tsv").read_text().splitlines()
    assert lines[0] == "Source\tTarget"
    assert all(line.startswith("( ( ") and line[-3:-1] == ")\t" for line in lines[1:])


def test_parentheses_say_nothing_more(made, tmp_path):
    for file in made.iterdir():
        bare = file.read_text().replace("( ", "").replace(" )", "")
        (tmp_path / file.name).write_text(bare)
    ours, theirs = ListOps(str(made)), ListOps(str(tmp_path))
    encoding = ours.fit()
    assert theirs.fit() == encoding
    for one, other in zip(ours.part("test", encoding), theirs.part("test", encoding), strict=True):
        assert one.values.tolist() == other.values.tolist()
        assert one.target == other.target


def test_nothing_is_left_where_it_cannot_be_made(made, tmp_path):
    with pytest.raises(InputError, match="is there already, expected a new folder"):
        make_listops(made, 5, (4, 1, 1))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        make_listops(tmp_path / "file" / "below", 5, (4, 1, 1))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "is empty, expected trees"),
        ("Source\tTarget\n", "is empty, expected trees"),
        ("[MAX 1 2 ]\t2\n", "line 1, is '.MAX 1 2 ].t2', expected the columns Source and Target"),
        ("Source\tTarget\n[MAX 1 2 ] 2\n", "line 2, has no tab"),
        ("Source\tTarget\n[MAX 1 2 ]\t1\n", "line 2, has the value '1', and its tree has 2, expected the same"),
        ("Source\tTarget\n[MAX 1 2 ]\tfour\n", "line 2, has the value 'four', and its tree has 2"),
        ("Source\tTarget\n[MAX 1 2\t2\n", r"line 2, ends within \[MAX"),
        ("Source\tTarget\n[MAX 1 2 ] [MAX 1 ]\t2\n", "line 2, goes on after its tree"),
    ],
)
def test_files_that_are_none_are_refused(tmp_path, content, sentence):
    (tmp_path / "own.tsv").write_text(content)
    with pytest.raises(InputError, match=sentence):
        ListOps(str(tmp_path / "own.tsv")).fit()


def test_trees_after_the_first_are_trees_too(tmp_path):
    good = "[MAX 1 2 ]\t2\n[MIN 1 2 ]\t1\n" * 1500
    (tmp_path / "own.tsv").write_text(f"Source\tTarget\n{good}[MAX ] 2 ]\t2\n")
    with pytest.raises(InputError, match=r"line 3002, has \[MAX without an argument"):
        ListOps(str(tmp_path / "own.tsv")).fit()


def test_a_tree_in_memory_must_be_one(made):
    reader = ListOps(str(made))
    encoding = reader.fit()
    assert reader.example("[MAX 1 2 ]", encoding).tokens == ("[MAX", "1", "2", "]")
    assert reader.recognizes(" [MAX 1 2 ]")
    assert not reader.recognizes("basic_test.tsv")
    with pytest.raises(InputError, match="the tree ends within"):
        reader.example("[MAX 1 2", encoding)


def test_folders_without_trees_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"data.path is not given, expected a folder that `regard arena make listops"):
        ListOps().fit()
    with pytest.raises(InputError, match=r"has no .tsv file with train, val or test in its name"):
        ListOps(str(tmp_path)).fit()
    with pytest.raises(InputError, match="is not there, expected a file of trees"):
        ListOps(str(tmp_path / "none.tsv")).fit()
