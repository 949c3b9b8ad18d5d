import pytest

from regard.data.parts import hidden, hidden_in, part_in, part_of, stated_part
from regard.errors import InputError

NAMED = {
    "train": (
        "train",
        "Train",
        "TRAIN",
        "Training",
        "trn",
        "train_set",
        "TrainSet",
        "trainset",
        "train2017",
        "train data",
    ),
    "validation": (
        "val",
        "Valid",
        "VALIDATION",
        "dev",
        "Dev",
        "devel",
        "development",
        "eval",
        "evaluation",
        "val2017",
        "dev-set",
    ),
    "test": ("test", "TEST", "Testing", "tst", "test_1", "test-data", "TestSet", "Test (2)"),
}


@pytest.mark.parametrize(("part", "name"), [(part, name) for part, names in NAMED.items() for name in names])
def test_a_part_is_told_from_its_name_whatever_its_letters(part: str, name: str) -> None:
    assert part_of(name) == part
    assert part_in(f"my.{name}.csv") == part
    assert stated_part(f" {name} ", "here") == part


@pytest.mark.parametrize(
    "name", ["", "cats", "testament", "trainer", "contest", "devil", "7", "set", "train_station", "été"]
)
def test_other_names_are_no_parts(name: str) -> None:
    assert part_of(name) is None
    with pytest.raises(InputError, match="here has the split"):
        stated_part(name, "here")


def test_the_last_word_that_names_a_part_tells_a_file() -> None:
    assert part_in("test_of_train.csv") == "train"
    assert part_in("testament.csv") is None
    assert part_in("ReviewsTrain.csv") == "train"


def test_a_split_that_is_nearly_a_part_is_suggested() -> None:
    with pytest.raises(InputError, match="line 3 has the fold 'trian': did you mean 'train'"):
        stated_part("trian", "line 3", "fold")
    with pytest.raises(InputError, match="expected train, validation, test"):
        stated_part("5", "line 3")


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store",
        "._1.png",
        ".git",
        ".ipynb_checkpoints",
        "__MACOSX",
        "Thumbs.db",
        "THUMBS.DB",
        "desktop.ini",
        "@eaDir",
        "~$a.doc",
    ],
)
def test_what_systems_leave_is_hidden(name: str) -> None:
    assert hidden(name)
    assert hidden_in(f"cats/{name}/1.png") == f"cats/{name}"


@pytest.mark.parametrize("name", ["cats", "1.png", "_x.png", "thumbs", "MACOSX", "a.ini"])
def test_what_people_put_is_not_hidden(name: str) -> None:
    assert not hidden(name)
    assert hidden_in(f"cats/{name}") == ""
