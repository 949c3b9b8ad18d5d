"""Pictures as sets of pixels: levels as ids and as targets, mirrored by epoch, and nothing of labels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.data.encoding import BEGIN, Grid
from regard.data.pixels import Pixels
from regard.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for n in range(20):
        (tmp_path / "ab"[n % 2]).mkdir(exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 256, (4, 4), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "ab"[n % 2] / f"{n}.png")
    return tmp_path


def of(name: str) -> np.ndarray:
    return np.random.default_rng(int(Path(name).stem)).integers(0, 256, (4, 4), np.uint8)


def test_a_pixel_is_its_level_and_its_own_target(folder: Path) -> None:
    reader = Pixels(str(folder), size=4)
    encoding = reader.fit()
    assert encoding.columns["pixel"] == (*map(str, range(256)), BEGIN)
    assert (encoding.labels, encoding.grid) == (tuple(map(str, range(256))), Grid(2, (4, 4)))
    part = reader.part("train", encoding)
    for n in range(len(part)):
        example = part[n]
        assert example.values.tolist() == of(example.name).ravel().tolist()
        assert example.target is example.values
        assert example.coords.tolist() == [[row, column] for row in range(4) for column in range(4)]
        assert part.targets[n].tolist() == example.values.tolist()
    assert (part.lengths, part.target_kind) == ([16] * len(part), "vector")
    new = reader.inputs([str(folder / "a" / "0.png")], encoding)
    assert (new[0].target, new.targets) == (None, [None])


def test_half_of_them_are_mirrored_by_the_epoch(folder: Path) -> None:
    reader = Pixels(str(folder), size=4, flip=True)
    encoding = reader.fit()
    part, mirrored = reader.training(encoding), 0
    for epoch in range(10):
        part.set_epoch(epoch)
        for n in range(len(part)):
            found, recorded = part[n].values.reshape(4, 4), of(part[n].name)
            mirrored += (found == recorded[:, ::-1]).all()
            assert (found == recorded).all() or (found == recorded[:, ::-1]).all()
    assert 0.3 < mirrored / (10 * len(part)) < 0.7


def test_bad_options_are_named(folder: Path) -> None:
    with pytest.raises(InputError, match=r"data\.size is -1, expected at least 0"):
        Pixels(size=-1)
    with pytest.raises(InputError, match=r"data\.path is not given, expected a folder of pictures"):
        Pixels().fit()
    with pytest.raises(InputError, match=r"there is no part 'tests'"):
        Pixels(str(folder)).labels("tests")
