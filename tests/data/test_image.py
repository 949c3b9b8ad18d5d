from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.data.encoding import Encoding, Grid
from regard.data.examples import UNSEEN
from regard.data.image import Digits
from regard.errors import InputError

PARTS = ("train", "validation", "test")


def pictures(tmp_path: Path, labels: str = "ab", each: int = 10) -> str:
    for n, label in enumerate(labels):
        (tmp_path / label).mkdir(parents=True)
        for i in range(each):
            pixels = np.full((12, 20, 3), (20 * i, 100 * n, 7), np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{i}.{'png' if i % 2 else 'jpg'}")
    return str(tmp_path)


@pytest.mark.parametrize(("patch", "vectors", "width", "side"), [(1, 64, 1, 8), (2, 16, 4, 4), (8, 1, 64, 1)])
def test_patches_cover_the_picture_once_at_their_coordinates(patch: int, vectors: int, width: int, side: int) -> None:
    from sklearn.datasets import load_digits

    reader = Digits(patch=patch)
    encoding = reader.fit()
    assert (encoding.width, encoding.grid) == (width, Grid(2, (side, side)))
    example = reader.part("test", encoding)[0]
    assert example.values.shape == (vectors, width)
    assert example.values.dtype == np.float32
    picture = np.zeros((8, 8))
    assert example.coords is not None
    for values, (row, column) in zip(example.values, example.coords.astype(int) * patch, strict=True):
        picture[row : row + patch, column : column + patch] += values.reshape(patch, patch)
    np.testing.assert_array_equal(picture * 16, load_digits().images[int(example.name)])
    assert example.target == load_digits().target[int(example.name)]


def test_the_division_of_the_digits_is_fixed_and_by_label() -> None:
    reader = Digits()
    encoding = reader.fit()
    parts = [reader.part(name, encoding) for name in PARTS]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [1005, 297, 495]
    names = [[example.name for example in part.examples] for part in parts]
    assert len(set().union(*names)) == 1797
    assert names[2][:5] == ["8", "9", "29", "39", "41"], "results on another division cannot be compared"
    for part in parts:
        counts = np.bincount([int(example.target) for example in part.examples if example.target is not None])
        assert np.ptp(counts) <= 6


def test_inputs_are_numbers_of_digits_and_files(tmp_path: Path) -> None:
    reader = Digits(patch=2)
    encoding = reader.fit()
    embedded = reader.inputs(["17"], encoding)[0]
    pixels = embedded.values.reshape(4, 4, 2, 2).transpose(0, 2, 1, 3).reshape(8, 8)
    Image.fromarray((pixels * 255).round().astype(np.uint8)).save(tmp_path / "seventeen.png")
    file = reader.inputs([str(tmp_path / "seventeen.png")], encoding)[0]
    np.testing.assert_allclose(file.values, embedded.values, atol=0.5 / 255)
    assert file.target is None
    for source, sentence in (("1797", "no digit 1797"), ("nowhere.png", "is not there")):
        with pytest.raises(InputError, match=sentence):
            reader.inputs([source], encoding)


@pytest.mark.parametrize(("color", "width"), [(False, 4), (True, 12)])
def test_own_pictures_are_read_by_label(tmp_path: Path, color: bool, width: int) -> None:
    reader = Digits(pictures(tmp_path), patch=2, size=6, color=color)
    encoding = reader.fit()
    assert (encoding.labels, encoding.width, encoding.grid) == (("a", "b"), width, Grid(2, (3, 3)))
    parts = [reader.part(name, encoding) for name in PARTS]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [16, 2, 2]
    for example in parts[0].examples:
        assert example.values.shape == (9, width)
        assert example.target is not None
        assert encoding.labels[int(example.target)] == example.name[0]
        if color and example.name.endswith("png"):
            np.testing.assert_allclose(example.values[0, 0] * 255, 20 * int(example.name[2]), atol=0.01)


def test_own_parts_are_kept(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        pictures(tmp_path / part, each=2)
    reader = Digits(str(tmp_path))
    encoding = reader.fit()
    assert {e.name.split("/")[0] for e in reader.part("validation", encoding).examples} == {"val"}
    pictures(tmp_path / "test" / "more", "c", 1)
    part = reader.part("test", encoding)
    assert part.unseen == {"more": 1}
    assert [e.name for e in part.examples if e.target == UNSEEN] == ["test/more/c/0.jpg"]
    (tmp_path / "other" / "a").mkdir(parents=True)
    (tmp_path / "other" / "a" / "1.png").write_bytes((tmp_path / "train" / "a" / "1.png").read_bytes())
    with pytest.raises(InputError, match="beside folders of parts"):
        reader.fit()


def test_bad_pictures_are_named(tmp_path: Path) -> None:
    reader = Digits(pictures(tmp_path, each=3))
    encoding = reader.fit()
    path = tmp_path / "a" / "1.png"
    whole = path.read_bytes()
    for content, sentence in ((b"", "it is empty"), (whole[:60], "cannot be read"), (b"text", "cannot be read")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=sentence) as caught:
            reader.inputs([str(path)], encoding)
        assert str(path) in str(caught.value)
    (tmp_path / "stray.png").write_bytes(whole)
    with pytest.raises(InputError, match=r"stray\.png has no label"):
        reader.fit()


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no file by label"):
        Digits(str(tmp_path)).fit()
    with pytest.raises(InputError, match="is not a folder"):
        Digits(str(tmp_path / "nowhere")).fit()


def test_a_patch_that_does_not_divide_is_refused() -> None:
    with pytest.raises(InputError, match="patch is 3, expected a divisor of the 8"):
        Digits(patch=3).fit()


def test_distorted_pictures_change_with_the_epoch_and_only_in_training() -> None:
    reader, plain = Digits(patch=2, distort=0.1), Digits(patch=2)
    encoding = reader.fit()
    train, original = reader.training(encoding), plain.part("train", encoding)
    first = [train[i].values for i in range(5)]
    again = [reader.training(encoding)[i].values for i in range(5)]
    train.set_epoch(1)  # type: ignore[attr-defined]
    for i, (a, b) in enumerate(zip(first, again, strict=True)):
        np.testing.assert_array_equal(a, b)
        assert np.abs(a - train[i].values).max() > 0.01
        assert 0.01 < np.abs(a - original[i].values).mean() < 0.2
        assert train[i].target == original[i].target
    for name in PARTS:
        kept, expected = reader.part(name, encoding)[0], plain.part(name, encoding)[0]  # type: ignore[arg-type]
        np.testing.assert_array_equal(kept.values, expected.values)


def test_no_distortion_leaves_the_picture_as_it_was() -> None:
    reader = Digits(patch=2, distort=1e-9)
    encoding = reader.fit()
    expected = Digits(patch=2).part("train", encoding)[3].values
    np.testing.assert_allclose(reader.training(encoding)[3].values, expected, atol=1e-6)


def test_a_distortion_out_of_range_is_refused() -> None:
    with pytest.raises(InputError, match=r"distort is 1\.5, expected at least 0 and less than 1"):
        Digits(distort=1.5).fit()


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 0x4000], [0x8000, 0xFFFF]], np.uint16)).save(tmp_path / "deep.png")
    reader = Digits(path=str(tmp_path), size=2, patch=2)
    (example,) = reader.inputs([str(tmp_path / "deep.png")], Encoding()).examples
    assert (example.values * 255).tolist() == [[0, 0x40, 0x80, 0xFF]]


def test_a_size_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.size is 0, expected at least 1"):
        Digits(path=pictures(tmp_path), size=0).fit()
