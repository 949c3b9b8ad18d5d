import gzip
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.data.encoding import Grid, Numbers
from regard.data.image import Digits
from regard.data.patches import Distortion, Patches, cut, joined
from regard.data.pictures import Pictures
from regard.data.readers import reader_of
from regard.errors import InputError

PARTS: Any = ("train", "validation", "test")


def pictures(root: Path, size: tuple[int, int] = (12, 12), color: bool = True, each: int = 10) -> Path:
    """`LABEL/N.png`; a picture of label "b" is blue below, the number N stands in its first value."""
    for label in "ab":
        (root / label).mkdir(parents=True, exist_ok=True)
        for n in range(each):
            pixels = np.zeros((size[1], size[0], 3), np.uint8)
            pixels[: size[1] // 2] = 20 * n
            pixels[size[1] // 2 :] = (0, 0, 200) if label == "b" and color else 100
            Image.fromarray(pixels).save(root / label / f"{n}.png")
    return root


@pytest.mark.parametrize(
    ("size", "color", "asked", "side", "patch", "channels"),
    [
        ((12, 12), True, {}, 12, 2, 3),
        ((12, 12), False, {}, 12, 2, 1),
        # The square of as many pixels: 16 * 64 = 32 * 32.
        ((16, 64), True, {}, 32, 4, 3),
        ((300, 200), True, {}, 64, 8, 3),
        # 19 is no multiple of 3, 18 is.
        ((19, 19), False, {}, 18, 3, 1),
        ((300, 300), True, {"size": 30}, 30, 5, 3),
        ((300, 300), True, {"size": 34}, 34, 17, 3),
        ((300, 300), True, {"patch": 4}, 64, 4, 3),
        ((300, 300), True, {"size": 30, "patch": 10, "color": "gray"}, 30, 10, 1),
        ((12, 12), False, {"color": "color"}, 12, 2, 3),
        ((1, 1), False, {}, 1, 1, 1),
    ],
)
def test_size_patches_and_colors_follow_the_training_part(
    tmp_path: Path, size: tuple[int, int], color: bool, asked: dict[str, Any], side: int, patch: int, channels: int
) -> None:
    reader = Pictures(str(pictures(tmp_path, size, color)), **asked)
    encoding = reader.fit()
    count = side // patch
    assert (encoding.labels, encoding.width) == (("a", "b"), patch * patch * channels)
    assert encoding.grid == Grid(2, (count, count))
    found = Patches.of(encoding)
    assert (found.side, found.patch, found.channels) == (side, patch, channels)
    example = reader.part("test", encoding)[0]
    assert example.values.shape == (count * count, patch * patch * channels)
    (note, *_) = reader.survey().notes
    shown = "color" if channels == 3 else "gray"
    assert note.startswith(
        f"pictures become {side} x {side}, {shown}, cut into {count} x {count} patches of {patch} x {patch}"
    )


def test_only_the_training_part_is_followed(tmp_path: Path) -> None:
    pictures(tmp_path / "Train", (12, 12), color=False)
    pictures(tmp_path / "TEST", (40, 40), color=True)
    reader = Pictures(str(tmp_path))
    encoding = reader.fit()
    assert (Patches.of(encoding).side, Patches.of(encoding).channels) == (12, 1)
    names = [[reader.part(part, encoding)[i].name.split("/")[0] for i in range(2)] for part in PARTS]
    assert names == [["Train"] * 2, ["Train"] * 2, ["TEST"] * 2]


@pytest.mark.parametrize(("width", "patch", "channels"), [(p * p * c, p, c) for p in range(1, 70) for c in (1, 3)])
def test_patch_and_channels_are_known_from_the_width_of_a_vector(width: int, patch: int, channels: int) -> None:
    from regard.data.encoding import Encoding

    found = Patches.of(Encoding(width=width, grid=Grid(2, (5, 5))))
    assert (found.patch, found.channels, found.side) == (patch, channels, 5 * patch)


def test_patches_hold_the_pixels_row_by_row(tmp_path: Path) -> None:
    reader = Pictures(str(pictures(tmp_path)), patch=6)
    encoding = reader.fit()
    part = reader.part("train", encoding)
    for i in range(len(part)):
        example = part[i]
        number = int(example.name[2:-4])
        values = example.values.reshape(4, 6, 6, 3) * 255
        np.testing.assert_allclose(values[:2], 20 * number)
        below = np.array([0, 0, 200] if example.name[0] == "b" else [100] * 3)
        np.testing.assert_allclose(values[2:], np.broadcast_to(below, (2, 6, 6, 3)), atol=1e-4)
        assert example.coords is not None
        assert example.coords.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    whole = np.arange(6 * 6 * 3).reshape(6, 6, 3)
    np.testing.assert_array_equal(joined(cut(whole, 2), 2), whole)


def test_inputs_are_files_folders_bytes_and_pixels(tmp_path: Path) -> None:
    root = pictures(tmp_path / "own")
    reader = Pictures(str(root))
    encoding = reader.fit()
    (root / "a" / "Thumbs.db").write_bytes(b"x")
    files = sorted(root.rglob("*.png"))
    found = reader.inputs([str(root)], encoding)
    assert [found[i].name for i in range(len(found))] == [str(path) for path in files]
    assert found.targets == [None] * 20
    expected = found[3].values
    content = files[3].read_bytes()
    np.testing.assert_array_equal(reader.inputs([str(files[3])], encoding)[0].values, expected)
    np.testing.assert_array_equal(reader.example(content, encoding).values, expected)
    np.testing.assert_array_equal(next(reader.stream(io.BytesIO(content), encoding))[0].values, expected)
    pixels = np.asarray(Image.open(files[3]))
    np.testing.assert_array_equal(reader.example(pixels, encoding).values, expected)
    np.testing.assert_allclose(reader.example(pixels / 255, encoding).values, expected, atol=1e-6)
    larger = pixels.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(reader.example(larger, encoding).values, expected)
    for value, sentence in (
        (larger / 255, r"has pixels \[24, 24, 3\], expected \[12, 12, 3\] as in training"),
        (pixels.astype(float), "has pixels from 60 to 100, expected 0 to 1"),
        (np.full((12, 12, 3), np.nan), "expected 0 to 1"),
        ("text", "is of the type str, expected the bytes of a picture's file"),
    ):
        with pytest.raises(InputError, match=sentence):
            reader.example(value, encoding)
    (tmp_path / "void").mkdir()
    for source, sentence in (("void", "has no pictures"), ("nowhere.png", "is not there")):
        with pytest.raises(InputError, match=sentence):
            reader.inputs([str(tmp_path / source)], encoding)


def test_digits_of_ones_own_are_read_from_folders_too(tmp_path: Path) -> None:
    reader = Digits(str(pictures(tmp_path)))
    assert len(reader.inputs([str(tmp_path)], reader.fit())) == 20
    assert "pictures become 8 x 8, gray: the recipe pictures follows the data" in reader.survey().notes[0]


def test_what_is_not_read_as_it_is_is_told(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    frames = [Image.new("RGB", (12, 12), (0, 80 * n, 0)) for n in range(3)]
    frames[0].save(root / "a" / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("RGBA", (12, 12)).save(root / "b" / "clear.png")
    (root / "b" / "note.txt").write_text("x")
    survey = Pictures(str(root)).survey()
    assert {reason: skipped.names for reason, skipped in survey.skipped} == {
        "pictures after their first frame": ["a/moving.gif"],
        "files ending in .txt": ["b/note.txt"],
    }
    assert "1 pictures may have transparent places, which become white" in survey.notes
    assert {part.examples for part in survey.parts.values()} == {18, 2}
    assert reader_of(root) is Pictures


def idx(path: Path, values: np.ndarray[Any, Any]) -> None:
    content = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def published(root: Path) -> Path:
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 5)):
        idx(root / f"{part}-images-idx3-ubyte.gz", rng.integers(0, 256, (count, 28, 28), np.uint8))
        idx(root / f"{part}-labels-idx1-ubyte", np.arange(count, dtype=np.uint8) % 2)
    return root


def test_idx_files_are_read_as_published(tmp_path: Path) -> None:
    reader = Pictures(str(published(tmp_path)))
    encoding = reader.fit()
    assert (encoding.labels, encoding.width, encoding.grid) == (("0", "1"), 16, Grid(2, (7, 7)))
    parts = [reader.part(part, encoding) for part in PARTS]
    assert [len(part) for part in parts] == [36, 4, 5]
    example = parts[2][3]
    assert (example.name, example.target) == ("t10k/3", 1)
    expected = np.random.default_rng(0)
    expected.integers(0, 256, (40, 28, 28), np.uint8)
    whole = expected.integers(0, 256, (5, 28, 28), np.uint8)[3]
    np.testing.assert_array_equal((joined(example.values, 4) * 255).round()[..., 0], whole)
    assert reader.survey().format == "pictures in idx files"
    assert reader_of(tmp_path) is Pictures


def test_bad_idx_files_are_named(tmp_path: Path) -> None:
    root = published(tmp_path)
    labels = root / "t10k-labels-idx1-ubyte"
    whole = labels.read_bytes()
    for content, sentence in (
        (b"", "begins with nothing, expected 00 00 08 01"),
        (b"\0\0\x0d\1" + whole[4:], "begins with 00 00 0d 01"),
        (whole[:-1], r"has 4 bytes for \[5\]"),
        (whole[:4] + struct.pack(">I", 4) + whole[8:-1], "has 5 pictures and .* 4 labels"),
        (whole[:4] + b"\xff" * 4, r"has 0 bytes for \[4294967295\]"),
    ):
        labels.write_bytes(content)
        with pytest.raises(InputError, match=sentence):
            Pictures(str(root)).fit()
    labels.unlink()
    with pytest.raises(InputError, match=r"has no labels for the idx file t10k-images-idx3-ubyte\.gz"):
        Pictures(str(root)).fit()


def test_options_out_of_range_are_named(tmp_path: Path) -> None:
    root = str(pictures(tmp_path))
    for options, sentence in (
        ({"size": 10, "patch": 3}, "data.patch is 3, expected a divisor of the 10 pixels"),
        ({"size": -1}, "data.size is -1, expected at least 0"),
        ({"distort": 1.5}, r"data.distort is 1\.5, expected at least 0 and less than 1"),
    ):
        with pytest.raises(InputError, match=sentence):
            Pictures(root, **options).fit()  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"data\.path is not given, expected a folder of pictures"):
        Pictures().fit()


def test_pictures_are_mirrored_in_half_of_the_epochs_and_moved_little() -> None:
    pixels = np.random.default_rng(0).random((8, 8, 3)).astype(np.float32)
    flip = Distortion(0, flip=True)
    mirrored = [bool((flip(pixels, epoch, 5) == pixels[:, ::-1]).all()) for epoch in range(200)]
    assert 70 < sum(mirrored) < 130
    assert all((flip(pixels, n, 5) == pixels).all() for n in range(200) if not mirrored[n])
    np.testing.assert_allclose(Distortion(1e-9)(pixels, 0, 0), pixels, atol=1e-6)
    np.testing.assert_array_equal(Distortion(0.2)(pixels, 3, 4), Distortion(0.2)(pixels, 3, 4))
    assert np.abs(Distortion(0.2)(pixels, 3, 4) - Distortion(0.2)(pixels, 4, 4)).max() > 0.01
    # What comes in from outside has the value that is given.
    np.testing.assert_allclose(Distortion(0.5)(np.full((8, 8, 1), 0.7, np.float32), 0, 0, beyond=0.7), 0.7, atol=1e-6)


def test_pictures_listed_in_a_table_may_have_numbers_or_several_labels(tmp_path: Path) -> None:
    root = pictures(tmp_path)
    rows = [f"{label}/{n}.png,{n},{label};x,{'Train' if n < 8 else 'TEST'}\n" for label in "ab" for n in range(10)]
    (root / "pictures.csv").write_text("path,size,kinds,split\n" + "".join(rows))
    numbers = Pictures(str(root), column="size", numbers=True)
    encoding = numbers.fit()
    assert isinstance(encoding.targets, Numbers)
    test = numbers.part("test", encoding)
    raw = [float(target) * encoding.targets.deviation + encoding.targets.mean for target in test.targets]  # type: ignore[arg-type]
    np.testing.assert_allclose(raw, [8, 9, 8, 9], atol=1e-5)
    assert numbers.names_parts()
    several = Pictures(str(root), column="kinds", label_separator=";")
    sets = several.fit()
    assert sets.labels == ("a", "b", "x")
    assert [np.asarray(target).tolist() for target in several.part("test", sets).targets] == [[1, 0, 1]] * 2 + [
        [0, 1, 1]
    ] * 2
    assert several.survey().format == "pictures listed in pictures.csv"
