import os
from pathlib import Path

import pytest

from regard.data.arrangement import by_label
from regard.data.folders import files_below, files_by_part, labeled_files
from regard.errors import InputError


def arranged(
    *names: str, folders: tuple[str, ...] = (), lone: bool = False
) -> tuple[list[tuple[str, str | None]], dict[str, list[str]]]:
    found, skips = by_label("data", names, folders, (".png", ".jpg"), lone)
    return [(each.label, each.part) for each in found], {reason: skipped.names for reason, skipped in skips}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["cats/1.png", "dogs/1.JPG"], [("cats", None), ("dogs", None)]),
        (["Train/cats/1.png", "TEST/cats/2.png"], [("cats", "test"), ("cats", "train")]),
        (["Training/cats/1.png", "Testing/cats/2.png"], [("cats", "test"), ("cats", "train")]),
        (["valid/a/1.png", "train/a/1.png", "test/a/1.png"], [("a", "test"), ("a", "train"), ("a", "validation")]),
        (["cats/train/1.png", "cats/test/2.png", "dogs/Train/1.png"], [("cats", "test"), ("cats", "train"), ("dogs", "train")]),
        # Folders around all, with or without files of other kinds beside.
        (["set/cats/1.png", "set/dogs/1.png"], [("cats", None), ("dogs", None)]),
        (["set/in/train/a/1.png", "set/in/test/a/1.png"], [("a", "test"), ("a", "train")]),
        # As published archives unpack.
        (["seg_train/seg_train/sea/1.png", "seg_test/seg_test/sea/1.png"], [("sea", "test"), ("sea", "train")]),
        (["train/train/a/1.png", "train/train/b/1.png", "test/test/a/1.png"], [("a", "test"), ("a", "train"), ("b", "train")]),
        (["train_images/a/1.png", "test_images/a/1.png"], [("a", "test"), ("a", "train")]),
        (["train2017/a/1.png", "val2017/a/1.png"], [("a", "train"), ("a", "validation")]),
        # A label may be called as a part is, below a part.
        (["train/train/1.png", "train/car/1.png", "test/train/1.png"], [("train", "test"), ("car", "train"), ("train", "train")]),
        # Labels that only begin alike are labels.
        (["train_station/1.png", "house/1.png"], [("house", None), ("train_station", None)]),
        # What lies deeper belongs to the label.
        (["cats/a/1.png", "cats/b/c/2.png", "dogs/1.png"], [("cats", None), ("cats", None), ("dogs", None)]),
        # One letter, composed and decomposed.
        (["train/caf\u00e9/1.png", "test/cafe\u0301/1.png"], [("caf\u00e9", "test"), ("caf\u00e9", "train")]),
    ],
)  # fmt: skip
def test_labels_and_parts_are_told_from_paths(names: list[str], labels: list[tuple[str, str | None]]) -> None:
    assert arranged(*names) == (labels, {})


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["train/a/1.png", "cats/1.png"], "data has cats beside folders of parts, train: expected"),
        (["Train/a/1.png", "TEST/a/1.png", "extra/a/1.png"], "data has extra beside folders of parts, Train, TEST"),
        (["train_images/a/1.png", "test_images/a/1.png", "a/1.png"], "data has a beside folders of parts"),
        (["train/a/1.png", "Train/a/1.png"], "data has 2 folders of the train part, Train, train, expected one"),
        (["dev/a/1.png", "eval/a/1.png", "train/a/1.png"], "2 folders of the validation part, dev, eval"),
        (["cats/train/1.png", "cats/2.png", "dogs/test/1.png"], r"data/cats/2\.png is in no part"),
        (["cats/train/1.png", "cats/test/1.png", "dogs/1.png"], r"data/dogs/1\.png is in no part"),
        (["train/cats/test/1.png", "test/cats/2.png"], r"data/train/cats/test/1\.png lies in the folder 'test'"),
        (["cats/new/train/1.png", "cats/new/2.png", "dogs/3.png"], "lies in the folder 'train', which names a part"),
        (["1.png", "cats/1.png", "dogs/1.png"], r"data/1\.png has no label"),
        (["train/1.png", "test/2.png"], r"data/t\w+/\d\.png has no label"),
        (["train/1.png", "train/a/1.png", "test/a/2.png"], r"data/train/1\.png has no label"),
        (["cats/1.png", "dogs/1.webp", "dogs/2.webp"], r"data/dogs has no file that is read, only others: \.webp \(2\)"),
        (["train/a/1.png", "train/b/1.bmp", "test/a/1.png"], r"data/train/b has no file that is read.*\.bmp \(1\)"),
        (["train/a/1.png", "test/a/1.bmp"], "data/test/a has no file that is read"),
        (["a/1.bmp", "b/README"], r"data/a has no file that is read, only others: \.bmp"),
        (["1.bmp"], r"data has no file by label, but 1 files ending in \.bmp, expected LABEL/FILE ending in \.jpg, \.png"),
        ([], "data has no file by label, expected"),
        (["cats/caf\udce9.png", "dogs/1.png"], r"data/cats/caf\\xe9\.png has a name that is not in UTF-8"),
        (["caf\udce9/1.png", "dogs/1.png"], r"has a name that is not in UTF-8"),
    ],
)  # fmt: skip
def test_what_fits_no_arrangement_is_refused(names: list[str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        arranged(*names)


def test_data_that_is_mostly_something_else_is_refused() -> None:
    boxes = [
        f"BCCD/{folder}/{n}.{end}" for folder, end in (("Annotations", "xml"), ("Pictures", "jpg")) for n in range(6)
    ]
    sentence = r"own has 1 files ending in .txt, and others: .xml \(6\), .jpg \(6\), expected few others"
    with pytest.raises(InputError, match=sentence):
        by_label("own", ["BCCD/Sets/train.txt", *boxes], [], (".txt",))
    # A caption for each picture is no reason to refuse pictures.
    pictures = [f"{label}/{n}.{end}" for label in "ab" for n in range(3) for end in ("jpg", "txt", "json")]
    assert len(by_label("own", pictures, [], (".jpg",))[0]) == 6


def test_what_is_skipped_is_counted_by_reason() -> None:
    labels, skipped = arranged("a/1.png", "a/1.XML", "a/README", "b/2.jpg", "c.csv", folders=("a", "b", "d", "d/e"))
    assert labels == [("a", None), ("b", None)]
    assert skipped == {
        "files ending in .xml": ["a/1.XML"],
        "files without an ending": ["a/README"],
        "files ending in .csv": ["c.csv"],
        "folders without a file": ["d"],
    }
    labels, skipped = arranged("a/1.png", "b/2.jpg", "3.png", lone=True)
    assert (labels, skipped) == ([("a", None), ("b", None)], {"files in no folder of a label": ["3.png"]})


def put(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


def test_hidden_files_are_no_examples_and_are_counted(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png", "cats/._1.png", "cats/.ipynb_checkpoints/1.png", "__MACOSX/cats/._1.png")
    put(tmp_path, "cats/Thumbs.db", ".DS_Store", "dogs/desktop.ini", ".hidden/2.png")
    found, skips = labeled_files(tmp_path, (".png",))
    assert [each.name for each in found] == ["cats/1.png", "dogs/1.png"]
    ((reason, skipped),) = skips
    assert (reason, skipped.count) == ("hidden files and folders", 7)
    assert "cats/.ipynb_checkpoints" in skipped.names
    assert "__MACOSX" in skipped.names


def test_a_folder_that_is_hidden_itself_is_read(tmp_path: Path) -> None:
    put(tmp_path / ".data", "a/1.png")
    assert len(labeled_files(tmp_path / ".data", (".png",))[0]) == 1


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    put(tmp_path / "data", "cats/1.png")
    put(tmp_path / "else", "2.png", "deep/3.png")
    (tmp_path / "data" / "dogs").symlink_to(tmp_path / "else")
    (tmp_path / "else" / "again").symlink_to(tmp_path / "data")
    (tmp_path / "data" / "cats" / "self").symlink_to("self")
    (tmp_path / "data" / "cats" / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(tmp_path / "data" / "cats" / "pipe.png")
    found, skips = labeled_files(tmp_path / "data", (".png",))
    assert [each.name for each in found] == ["cats/1.png", "dogs/2.png", "dogs/deep/3.png"]
    assert {reason: skipped.names for reason, skipped in skips} == {
        "links to a folder that they lie in": ["dogs/again"],
        "links to nothing": ["cats/gone.png", "cats/self"],
        "pipes and devices": ["cats/pipe.png"],
    }


def test_names_with_line_ends_and_blanks_are_names(tmp_path: Path) -> None:
    put(tmp_path, "a b/1\n2.png", "c/ .png")
    assert [(each.name, each.label) for each in labeled_files(tmp_path, (".png",))[0]] == [
        ("a b/1\n2.png", "a b"),
        ("c/ .png", "c"),
    ]


def test_files_below_have_endings_in_any_letters(tmp_path: Path) -> None:
    put(tmp_path, "a/1.PNG", "b.png", "c.txt", ".d.png")
    files, skips = files_below(tmp_path, (".png",), "pictures")
    assert files == [tmp_path / "a/1.PNG", tmp_path / "b.png"]
    assert {reason for reason, _ in skips} == {"files ending in .txt", "hidden files and folders"}
    with pytest.raises(InputError, match=r"has no pictures, expected at least one, ending in \.gif"):
        files_below(tmp_path, (".gif",), "pictures")


def test_files_of_parts_are_told_and_the_others_counted(tmp_path: Path) -> None:
    put(tmp_path, "Train.csv", "my-TEST.csv", "notes.csv", "._Train.csv", "train/1.png", "test.pdf")
    files, skips = files_by_part(tmp_path, lambda path: path.suffix == ".csv")
    assert files == [(tmp_path / "Train.csv", "train"), (tmp_path / "my-TEST.csv", "test")]
    assert {reason: skipped.names for reason, skipped in skips} == {
        "hidden files and folders": ["._Train.csv"],
        "files whose names tell no part": ["notes.csv"],
        "files of parts in other formats": ["test.pdf"],
        "folders beside files of parts": ["train"],
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="the system lets root read everything")
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    put(tmp_path, "cats/1.png", "dogs/1.png")
    (tmp_path / "dogs").chmod(0)
    try:
        with pytest.raises(InputError, match="dogs cannot be read: Permission denied"):
            labeled_files(tmp_path, (".png",))
    finally:
        (tmp_path / "dogs").chmod(0o700)


def test_what_is_no_folder_is_named(tmp_path: Path) -> None:
    put(tmp_path, "file")
    for name in ("file", "nowhere"):
        with pytest.raises(InputError, match=f"{name} is not a folder, expected one with"):
            labeled_files(tmp_path / name, (".png",))
