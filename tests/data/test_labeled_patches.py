"""Labels of patches are those of the boxes around them, and follow their pictures through every variation."""

from pathlib import Path

import numpy as np
from PIL import Image
from voc import box, voc, xml

from regard.data.boxes import Boxes
from regard.data.encoding import Encoding, Labels
from regard.data.examples import UNSEEN, VectorSet
from regard.data.labeled_patches import PatchLabels, patch_labels

SIZES = {"size": 40, "patch": 5}


def test_the_labels_are_what_the_pictures_show(tmp_path: Path) -> None:
    reader = PatchLabels(str(voc(tmp_path)), **SIZES)
    encoding = reader.fit()
    assert encoding.targets == Labels(("background", "blue", "red"))
    assert encoding.width == Boxes(str(tmp_path), **SIZES).fit().width
    part = reader.part("train", encoding)
    for n in range(len(part)):
        example = part[n]
        assert example.target_kind == "vector"
        # The middle pixel of a patch of 5 x 5, in color.
        middles = example.values.reshape(-1, 5, 5, 3)[:, 2, 2]
        shown = np.where(middles[:, 0] > 0.9, 2, np.where(middles[:, 2] > 0.9, 1, 0))
        np.testing.assert_array_equal(example.target, shown)
        np.testing.assert_array_equal(part.targets[n], shown)
        assert set(shown) == ({0, 1, 2} if n % 2 else {0, 2})


def test_the_smaller_box_wins_and_each_has_a_patch() -> None:
    coords = np.stack(np.divmod(np.arange(12), 4), 1).astype(np.float32)
    boxes = np.array([[0.5, 0.5, 0.5, 1], [0.99, 0.01, 0.001, 0.001], [1, 1, 0.01, 0.01], [0.5, 0.5, 1, 1]], np.float32)
    found = patch_labels(coords, VectorSet(np.array([1, 2, UNSEEN, 0]), boxes), np.array([10, 11, 12]), 7)
    assert found.reshape(3, 4).tolist() == [[10, 11, 11, 12], [10, 11, 11, 10], [10, 11, 11, UNSEEN]]
    nothing = VectorSet(np.zeros(0, np.int64), np.zeros((0, 4), np.float32))
    assert patch_labels(coords, nothing, np.array([10]), 7).tolist() == [7] * 12


def test_they_turn_with_their_pictures(tmp_path: Path) -> None:
    reader = PatchLabels(str(voc(tmp_path)), **SIZES, flip=True, seed=3)
    encoding = reader.fit()
    varied = reader.training(encoding)
    mirrored = 0
    plain = reader.part("train", encoding)
    for epoch in (0, 1):
        varied.set_epoch(epoch)
        for n in range(len(varied)):
            example = varied[n]
            reds = example.values.reshape(-1, 5, 5, 3)[:, 2, 2, 0] > 0.9
            np.testing.assert_array_equal(example.target == 2, reds)
            mirrored += not np.array_equal(example.target, plain[n].target)
    assert mirrored > 6


def test_what_is_predicted_has_no_labels_and_unseen_ones_stay_unseen(tmp_path: Path) -> None:
    root = voc(tmp_path)
    (root / "Annotations" / "p16.xml").write_text(xml([box("green", 0, 0, 20, 30)]))
    reader = PatchLabels(str(root), **SIZES)
    encoding = reader.fit()
    part = reader.part("test", encoding)
    assert part.unseen == {"green": 24}
    assert (part[0].target == UNSEEN).sum() == 24
    assert set(part[0].target) == {0, UNSEEN}
    Image.new("RGB", (80, 60)).save(tmp_path / "one.png")
    (example,) = [reader.inputs([str(tmp_path / "one.png")], encoding)[0]]
    assert example.target is None
    assert example.values.shape == (48, 75)
    assert isinstance(encoding, Encoding)
