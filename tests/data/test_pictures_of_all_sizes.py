"""Pictures that keep their proportions, that do not fit into memory, and that nobody would have expected."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regard.cli.__main__ import main
from regard.data import decoded
from regard.data.batch import collate
from regard.data.encoding import Grid
from regard.data.pictures import Pictures
from regard.errors import InputError

SIZES = {"a": ((12, 8), (40, 30), (9, 25)), "b": ((8, 8), (16, 20), (50, 5))}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """`PART/LABEL/N.png` of different widths and heights, in color."""
    rng = np.random.default_rng(0)
    for part in ("train", "validation", "test"):
        for label, sizes in SIZES.items():
            folder = tmp_path / part / label
            folder.mkdir(parents=True)
            for n, (width, height) in enumerate(sizes):
                Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / f"{n}.png")
    return tmp_path


def test_pixels_are_those_of_the_file_where_nothing_is_resized(root: Path) -> None:
    reader = Pictures(str(root), squares=False, patch=1)
    encoding = reader.fit()
    assert (encoding.width, encoding.grid) == (3, Grid(2, (30, 50)))
    part = reader.part("test", encoding)
    assert part.lengths == [w * h for sizes in SIZES.values() for w, h in sizes]
    for index in range(len(part)):
        example = part[index]
        pixels = np.asarray(Image.open(root / example.name))
        assert example.coords is not None
        rows, columns = example.coords.astype(int).T
        np.testing.assert_array_equal((example.values * 255).round(), pixels[rows, columns])
        assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == pixels.shape[0] * pixels.shape[1]


def test_the_longer_side_is_bounded_and_both_are_multiples_of_the_patch(root: Path) -> None:
    reader = Pictures(str(root), squares=False, size=20, patch=4, color="gray")
    encoding = reader.fit()
    # 12x8, 40x30 -> 20x15, 9x25 -> 7.2x20, 8x8, 16x20, 50x5 -> 20x2, in (rows, columns) of patches.
    grids = [(2, 3), (4, 5), (5, 2), (2, 2), (5, 4), (1, 5)]
    part = reader.part("test", encoding)
    found = [tuple(np.asarray(part[i].coords).max(0).astype(int) + 1) for i in range(6)]
    assert found == grids
    assert part.lengths == [rows * columns for rows, columns in grids] == [len(part[i].values) for i in range(6)]
    assert (encoding.width, encoding.grid) == (16, Grid(2, (5, 5)))
    note = reader.survey().notes[0]
    assert "keep their proportions, of at most 20 pixels along the longer side, gray, cut into patches of 4 x 4" in note
    file = root / "test" / "a" / "1.png"
    expected = part[1].values
    np.testing.assert_array_equal(reader.inputs([str(file)], encoding)[0].values, expected)
    np.testing.assert_array_equal(reader.example(file.read_bytes(), encoding).values, expected)
    np.testing.assert_array_equal(next(reader.stream(io.BytesIO(file.read_bytes()), encoding))[0].values, expected)
    fractions = np.random.default_rng(0).random((8, 16))
    assert reader.example(fractions, encoding).values.shape == (8, 16)
    with pytest.raises(InputError, match=r"the picture has pixels \[9, 16\], expected \[8, 16, 1\] as in training"):
        reader.example(np.zeros((9, 16)), encoding)


def test_training_varies_them_in_their_own_shape(root: Path) -> None:
    plain = Pictures(str(root), squares=False, patch=2)
    encoding = plain.fit()
    part: Any = Pictures(str(root), squares=False, patch=2, distort=0.1, flip=True, shift=2).training(encoding)
    assert part.lengths == plain.part("train", encoding).lengths
    for index, length in enumerate(part.lengths):
        assert part[index].values.shape == (length, 12)
    with pytest.raises(InputError, match=r"and pictures keep their proportions, expected data\.squares true"):
        Pictures(str(root), squares=False, patch=2, cutmix=1.0).training(encoding)


def test_pictures_turned_by_their_camera_are_as_high_as_they_are_shown(root: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    Image.new("RGB", (24, 10), (200, 0, 0)).save(root / "test" / "a" / "turned.jpg", exif=exif)
    reader = Pictures(str(root), squares=False, patch=2)
    part = reader.part("test", reader.fit())
    index = next(i for i in range(len(part)) if part[i].name.endswith("turned.jpg"))
    assert part.lengths[index] == len(part[index].values) == 60
    assert np.asarray(part[index].coords).max(0).tolist() == [11, 4]


def test_what_does_not_fit_into_memory_is_opened_when_it_is_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = Pictures(str(root), squares=False, patch=2)
    encoding = reader.fit()
    held = reader.part("train", encoding)
    monkeypatch.setattr(decoded, "_MOST_HELD", 100)
    opened = reader.part("train", encoding)
    assert isinstance(held.pixels, list)
    assert isinstance(opened.pixels, decoded.Opened)
    for index in range(len(held)):
        np.testing.assert_array_equal(opened[index].values, held[index].values)
    file = root / "train" / "a" / "1.png"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"1\.png cannot be read as a picture"):
        opened[1]


STRANGE = {
    "dot.png": Image.new("L", (1, 1), 7),
    "line.png": Image.new("RGB", (10_000, 10), (9, 200, 9)),
    "deep.png": Image.fromarray(np.full((9, 7), 40_000, np.uint16)),
    "palette.png": Image.new("RGB", (11, 6), (0, 0, 255)).convert("P"),
    "clear.png": Image.new("RGBA", (6, 11), (0, 0, 0, 0)),
    "two.gif": Image.new("RGB", (5, 5), (90, 90, 90)),
}


@pytest.mark.parametrize("options", [{}, {"squares": False, "patch": 3}, {"squares": False, "size": 30}])
def test_strange_pictures_are_read_and_batched_with_the_others(root: Path, options: dict[str, Any]) -> None:
    for name, picture in STRANGE.items():
        more = {"save_all": True, "append_images": [Image.new("RGB", (5, 5))]} if name.endswith("gif") else {}
        picture.save(root / "train" / "a" / name, **more)
    reader = Pictures(str(root), **options)
    encoding = reader.fit()
    part = reader.training(encoding)
    batch = collate([part[i] for i in range(len(part))])
    assert batch.inputs.layout.lengths.tolist() == list(part.lengths)
    assert bool(torch.isfinite(batch.inputs.values).all())
    values = {Path(part[i].name).name: part[i].values for i in range(len(part))}
    np.testing.assert_allclose(values["dot.png"], 7 / 255, atol=1e-6)
    np.testing.assert_allclose(values["deep.png"], round(40_000 * 255 / 65_535) / 255, atol=1e-6)
    np.testing.assert_allclose(values["clear.png"], 1)
    np.testing.assert_allclose(values["two.gif"], 90 / 255, atol=1e-6)
    blue = values["palette.png"].reshape(-1, 3)
    np.testing.assert_allclose(blue, np.broadcast_to([0.0, 0.0, 1.0], blue.shape), atol=1e-6)


def refused(capsys: pytest.CaptureFixture[str], root: Path, *options: str) -> str:
    run = root.parent / f"{root.name}-run"
    command = ["train", "clothes", "--data.path", str(root), "--data.color", "auto", "--folder", str(run), *options]
    assert main(command) == 2
    assert not run.exists(), "nothing is half-written"
    return capsys.readouterr().err.splitlines()[-1]


def test_one_class_and_a_truncated_picture_are_refused_in_a_sentence(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("train", "validation", "test"):
        for file in (root / part / "b").iterdir():
            file.unlink()
    assert "the training part has one label, 'a', expected at least 2 to choose from" in refused(capsys, root)
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)).save(content, "JPEG")
    (root / "train" / "b" / "cut.jpg").write_bytes(content.getvalue()[:900])
    error = refused(capsys, root)
    assert "cut.jpg" in error
    assert "cannot be read as a picture" in error
