"""Boxes of pictures: what files say is what examples hold, and nothing is dropped without being counted."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from voc import box, packed, voc, xml

from regard.cli import main
from regard.data.batch import collate
from regard.data.boxed_pictures import Fitting, Source
from regard.data.boxes import Boxes
from regard.data.encoding import Encoding, Grid, Labels
from regard.data.examples import UNSEEN
from regard.data.readers import reader_of
from regard.data.voc import read_annotation
from regard.errors import InputError

PARTS: Any = ("train", "validation", "test")


def reader(root: Path, **options: Any) -> Boxes:
    return Boxes(str(root), **({"size": 40, "patch": 10} | options))


def pixels_of(values: np.ndarray, coords: np.ndarray, patch: int) -> np.ndarray:
    rows, columns = coords.max(0).astype(int) + 1
    squares = values.reshape(rows, columns, patch, patch, 3).transpose(0, 2, 1, 3, 4)
    return squares.reshape(rows * patch, columns * patch, 3)


def test_targets_are_sets_of_labels_with_places(tmp_path: Path) -> None:
    ours = reader(voc(tmp_path))
    encoding = ours.fit()
    assert encoding == Encoding(Encoding(Labels(("blue", "red")), grid=Grid(4)), width=300, grid=Grid(2))
    example = ours.part("train", encoding)[3]
    assert example.target is not None
    assert example.target_kind == "sets"
    np.testing.assert_array_equal(example.target.values, [1, 0])
    np.testing.assert_allclose(
        example.target.coords, [[9 / 40, 9 / 30, 12 / 40, 12 / 30], [34 / 40, 24 / 30, 0.2, 8 / 30]]
    )
    assert example.pixels == (40, 30)
    assert example.values.shape == (12, 300)
    np.testing.assert_array_equal(example.coords[[0, 5, 11]], [[0, 0], [1, 1], [2, 3]])
    whole = pixels_of(example.values, example.coords, 10)
    assert (whole[3:15, 3:15] == (1, 0, 0)).all()
    assert (whole[20:28, 30:38] == (0, 0, 1)).all()
    batch = collate([ours.part("train", encoding)[n] for n in (3, 4)])
    assert batch.target_sets.layout.lengths.tolist() == [2, 1]
    assert batch.target_sets.coords.shape == (3, 4)
    assert batch.pixels == ((40, 30), (40, 30))
    encoding.save(tmp_path)
    assert Encoding.load(tmp_path) == encoding


def test_an_archive_and_a_folder_hold_the_same(tmp_path: Path) -> None:
    root = voc(tmp_path / "own")
    archive = packed(root, tmp_path / "own.tar")
    ours, theirs = reader(root), reader(archive)
    encoding = ours.fit()
    assert theirs.fit() == encoding
    for part in PARTS:
        first, second = ours.part(part, encoding), theirs.part(part, encoding)
        assert len(first) == len(second) == {"train": 12, "validation": 4, "test": 4}[part]
        for n in range(len(first)):
            assert first[n].name == second[n].name
            np.testing.assert_array_equal(first[n].values, second[n].values)
            np.testing.assert_array_equal(first[n].target.coords, second[n].target.coords)
    assert reader_of(root) is Boxes
    assert reader_of(archive) is Boxes
    (tmp_path / "around").mkdir()
    os.rename(archive, tmp_path / "around" / "own.tar")
    assert reader_of(tmp_path / "around") is Boxes
    assert reader(tmp_path / "around").fit() == encoding


def test_what_is_no_box_is_counted_and_named(tmp_path: Path) -> None:
    root = voc(tmp_path)
    boxes = [
        box("red", 5, 5, 5, 9),  # no area
        box("red", 9, 5, 5, 9),  # its ends in the wrong order
        box("red", 40, 5, 50, 9),  # outside
        box("red", -10, -5, 20, 45),  # around
        box("red", 1, 2, 3, 4),
    ]
    (root / "Annotations" / "p00.xml").write_text(xml(boxes))
    (root / "Annotations" / "p02.xml").write_text(xml([]))
    (root / "JPEGImages" / "p04.png").unlink()
    Image.new("RGB", (9, 9)).save(root / "JPEGImages" / "lone.png")
    Image.new("RGB", (9, 9)).save(root / "JPEGImages" / "p20.png")
    (root / "Annotations" / "p20.xml").write_text(xml([], None))
    ours = reader(root)
    encoding = ours.fit()
    part = ours.part("train", encoding)
    np.testing.assert_allclose(part[0].target.coords, [[0.25, 0.5, 0.5, 1], [2 / 40, 0.1, 2 / 40, 2 / 30]], rtol=1e-6)
    assert part[2].name == "JPEGImages/p02.png"
    assert part[2].target.coords.shape == (0, 4)
    survey = ours.survey()
    skipped = {reason: (each.count, each.names) for reason, each in survey.skipped}
    assert skipped == {
        "boxes without area": (2, ["JPEGImages/p00.png, object 1", "JPEGImages/p00.png, object 2"]),
        "boxes outside their picture": (1, ["JPEGImages/p00.png, object 3"]),
        "annotations without a picture": (1, ["Annotations/p04.xml"]),
        "pictures without an annotation": (1, ["JPEGImages/lone.png"]),
        "pictures that no list names": (1, ["JPEGImages/p20.png"]),
    }
    text = survey.full()
    assert "11 pictures in the train part, 1 of them without boxes, such as JPEGImages/p02.png" in text
    assert "1 boxes reach beyond their picture: JPEGImages/p00.png, object 4, and end there" in text
    assert survey.parts["train"].labels == {"red": 11, "blue": 6}
    collate([part[n] for n in range(3)])


def test_a_look_at_pictures_of_which_none_has_a_box(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = voc(tmp_path)
    for path in (root / "Annotations").iterdir():
        path.write_text(xml([]))
    assert main(["data", "look", str(root)]) == 0
    out = capsys.readouterr().out
    assert "train: 0 boxes" in out
    assert "12 pictures in the train part, 12 of them without boxes, such as JPEGImages/p00.png" in out
    with pytest.raises(InputError, match="has no box in the train part, expected at least one"):
        reader(root).fit()


def test_labels_that_no_training_box_has_are_told(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "Annotations" / "p18.xml").write_text(xml([box("green", 1, 1, 9, 9), box("red", 1, 1, 9, 9)]))
    ours = reader(root)
    part = ours.part("test", ours.fit())
    assert part[2].target.values.tolist() == [UNSEEN, 1]
    assert part.unseen == {"green": 1}
    assert "1 label of the test part has no training example" in ours.survey().full()


def test_parts_are_lists_or_folders_or_follow_the_names(tmp_path: Path) -> None:
    whole = reader(voc(tmp_path / "whole", {}))
    assert not whole.names_parts()
    encoding = whole.fit()
    assert [len(whole.part(part, encoding)) for part in PARTS] == [16, 2, 2]
    assert len(whole.part("all", encoding)) == 20
    for part, numbers in (("train", range(4)), ("valid", range(4, 6)), ("test", range(6, 8))):
        (tmp_path / "beside" / part).mkdir(parents=True)
        for n in numbers:
            Image.new("RGB", (40, 30)).save(tmp_path / "beside" / part / f"{n}.jpg")
            (tmp_path / "beside" / part / f"{n}.xml").write_text(xml([box("red", 1, 2, 30, 20)]))
    beside = reader(tmp_path / "beside")
    assert [len(beside.part(part, beside.fit())) for part in PARTS] == [4, 2, 2]
    assert reader_of(tmp_path / "beside") is Boxes


def test_pictures_of_any_size_keep_their_shape() -> None:
    fitting = Fitting(0, 4)
    assert [fitting.grid(*size) for size in ((1, 1), (10_000, 10), (8, 20))] == [(1, 1), (2, 2500), (5, 2)]
    example = Fitting(32, 8).example(Source("a", np.zeros((1000, 10, 3), np.uint8)), None)
    assert example.values.shape == (4, 192)
    assert example.pixels == (10, 1000)


def test_a_turned_photograph_is_as_large_as_it_is_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    source = Source.of_file(tmp_path / "a.jpg", "a")
    assert source.size == (10, 20)
    assert source.read().shape == (20, 10, 3)


@pytest.mark.parametrize("options", [{"flip": True}, {"crop": 0.6}, {"jitter": 0.4}, {"flip": True, "crop": 0.7}])
def test_boxes_move_with_what_they_are_around(tmp_path: Path, options: dict[str, Any]) -> None:
    ours = reader(voc(tmp_path), size=80, patch=5, **options)
    encoding = ours.fit()
    part, again = ours.training(encoding), ours.training(encoding)
    seen = set()
    for epoch in range(6):
        part.set_epoch(epoch)
        again.set_epoch(epoch)
        for n in (1, 2, 9):
            example = part[n]
            np.testing.assert_array_equal(example.values, again[n].values)
            seen.add((n, example.target.coords.tobytes(), example.values.tobytes()))
            pixels = pixels_of(example.values, example.coords, 5)
            red = (pixels[..., 0] > 0.75 * pixels[..., 0].max()) & (pixels[..., 1] < 0.4 * pixels[..., 0].max())
            for label, (x, y, w, h) in zip(example.target.values, example.target.coords, strict=True):
                if label == 1:
                    rows, columns = red.nonzero()
                    found = [columns.min() / 80, columns.max() / 80 + 1 / 80, rows.min() / 60, rows.max() / 60 + 1 / 60]
                    np.testing.assert_allclose(found, [x - w / 2, x + w / 2, y - h / 2, y + h / 2], atol=0.035)
    assert len(seen) > 6
    assert [len(each.values) for each in part.targets] == [1, 2] * 6


def plain_boxes(root: Path) -> Path:
    """Pictures that are black but for one bright rectangle, a color for each label."""
    for n in range(12):
        left, top = 4 + n % 5 * 10, 3 + n % 4 * 9
        pixels = np.zeros((60, 80, 3), np.uint8)
        pixels[top : top + 18, left : left + 24, n % 2] = 255
        (root / "train").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "train" / f"{n:02}.png")
        label = ("blue", "red")[n % 2 == 0]
        (root / "train" / f"{n:02}.xml").write_text(xml([box(label, left, top, left + 24, top + 18)], (80, 60)))
    return root


@pytest.mark.parametrize("flip", [False, True])
def test_a_mosaic_has_the_boxes_of_its_four_parts(tmp_path: Path, flip: bool) -> None:
    ours = reader(plain_boxes(tmp_path), size=80, patch=5, mosaic=1.0, flip=flip)
    encoding = ours.fit()
    part, again = ours.training(encoding), ours.training(encoding)
    counts = set()
    for epoch in range(8):
        part.set_epoch(epoch)
        again.set_epoch(epoch)
        for n in range(len(part)):
            example = part[n]
            np.testing.assert_array_equal(example.values, again[n].values)
            assert example.pixels == (80, 60)
            pixels = pixels_of(example.values, example.coords, 5)
            bright = pixels[..., :2] > 0.5
            untold = bright.copy()
            counts.add(len(example.target.values))
            for label, (x, y, w, h) in zip(example.target.values, example.target.coords, strict=True):
                channel = 1 - int(label)
                low, high = ((x - w / 2) * 80, (y - h / 2) * 60), ((x + w / 2) * 80, (y + h / 2) * 60)
                (a, b), (c, d) = (np.rint(low).astype(int), np.rint(high).astype(int))
                # What a box is around is its color, and the color ends a pixel or two from there.
                assert bright[b + 1 : d - 1, a + 1 : c - 1, channel].mean() > 0.97
                untold[max(0, b - 2) : d + 2, max(0, a - 2) : c + 2, channel] = False
            # What is left has less than 0.3 of its area in its part of the mosaic.
            assert untold.sum() < 4 * 0.3 * 24 * 18 + 100
    assert counts >= {1, 2, 3}


def test_a_share_of_pictures_becomes_mosaics_and_the_others_stay_as_they_are(tmp_path: Path) -> None:
    root, options = plain_boxes(tmp_path), {"size": 80, "patch": 5, "flip": True, "jitter": 0.2}
    some, none = reader(root, **options, mosaic=0.5), reader(root, **options)
    encoding = some.fit()
    part, other, same = some.training(encoding), none.training(encoding), 0
    for epoch in range(8):
        part.set_epoch(epoch)
        other.set_epoch(epoch)
        same += sum(np.array_equal(part[n].values, other[n].values) for n in range(len(part)))
    assert 0.3 < same / (8 * len(part)) < 0.7
    with pytest.raises(InputError, match=r"data\.mosaic is 1\.5, expected a share from 0 to 1"):
        reader(root, mosaic=1.5).fit()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"<annotation>", "a.xml is no XML: no element found.*expected an annotation of boxes"),
        (b"", "a.xml is no XML"),
        (
            b'<!DOCTYPE a [<!ENTITY b "cc">]><annotation/>',
            "a.xml declares a document type, expected an annotation without",
        ),
        (b"<a>" * 40, "a.xml has entries 33 deep"),
        (
            xml(["<object><name>a</name></object>"]).encode(),
            "a.xml, object 1, has no xmin, expected a name and the ends",
        ),
        (xml([box("", 1, 2, 3, 4)]).encode(), "a.xml, object 1, has no name"),
        (
            xml([box("a", 1, 2, float("nan"), 4)]).encode(),
            "a.xml, object 1, xmax is 'nan', expected a number of pixels",
        ),
        (xml([], (-1, 3)).encode(), "a.xml, size, has '-1', expected whole pixels"),
        (b"<settings><size/></settings>", "a.xml has the root 'settings' and no object, expected an annotation"),
    ],
)
def test_what_is_no_annotation_is_refused(content: bytes, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        read_annotation(content, "a.xml")


def test_files_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    root = voc(tmp_path / "own")
    (root / "Annotations" / "p01.xml").write_text(xml([], (30, 40)))
    with pytest.raises(
        InputError, match=r"p01.png says 30 x 40 pixels and its picture 40 x 30, expected the same shape"
    ):
        reader(root).fit()
    (root / "Annotations" / "p01.xml").write_text(xml([]))
    (root / "ImageSets" / "Main" / "val.txt").write_text("p01\n")
    with pytest.raises(InputError, match="has p01 in the lists of"):
        reader(root).fit()
    archive = packed(voc(tmp_path / "second"), tmp_path / "second.tar")
    archive.write_bytes(archive.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"second.tar is no whole tar archive"):
        reader(archive).fit()
    (tmp_path / "empty").mkdir()
    for place, sentence in (
        (tmp_path / "empty", "has no picture with an annotation"),
        (tmp_path / "no", "is no folder"),
    ):
        with pytest.raises(InputError, match=sentence):
            reader(place).fit()
    for options, sentence in (
        ({"patch": 0}, "data.patch is 0"),
        ({"crop": 0.0}, "data.crop is 0"),
        ({"jitter": 1.0}, "jitter"),
    ):
        with pytest.raises(InputError, match=sentence):
            reader(voc(tmp_path / "third"), **options).fit()


@pytest.mark.skipif(not os.environ.get("REGARD_DATA"), reason="REGARD_DATA names no folder of published data")
def test_the_published_boxes_are_read_as_they_are() -> None:
    ours = Boxes()
    encoding = ours.fit()
    assert encoding.targets.labels == ("Platelets", "RBC", "WBC")
    assert [len(ours.part(part, encoding)) for part in PARTS] == [205, 87, 72]
    survey = ours.survey()
    assert [survey.parts[part].examples for part in PARTS] == [2804, 1137, 945]
    assert {reason: each.count for reason, each in survey.skipped} == {"boxes without area": 2}
    example = ours.part("test", encoding)[0]
    assert example.values.shape == (300, 768)
