"""Training pictures are varied by what (seed, epoch, picture) says, and their labels are mixed as they are."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from regard.data.batch import collate
from regard.data.patches import joined
from regard.data.pictures import Pictures
from regard.data.varied_pictures import cut_in, moved
from regard.errors import InputError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Label a is dark, label b bright, with noise that tells pictures apart."""
    rng = np.random.default_rng(0)
    for label, low in (("a", 0), ("b", 150)):
        (tmp_path / label).mkdir()
        for n in range(20):
            pixels = rng.integers(low, low + 100, (8, 8), np.uint8)
            Image.fromarray(pixels).save(tmp_path / label / f"{n}.png")
    return tmp_path


def training(root: Path, epoch: int = 3, **options: Any) -> Any:
    reader = Pictures(str(root), size=8, patch=2, **options)
    part: Any = reader.training(reader.fit())
    if hasattr(part, "set_epoch"):
        part.set_epoch(epoch)
    return part


def pixels(part: Any, index: int) -> Any:
    return joined(part[index].values, 2)[..., 0]


def test_nothing_asked_for_is_the_part_as_recorded(root: Path) -> None:
    plain, mixed = training(root), training(root, mixup=1.0, mixed=0.0)
    assert type(plain) is type(mixed)
    assert plain[0].target.dtype == np.int64


@pytest.mark.parametrize(
    "options", [{"shift": 2}, {"mixup": 0.5}, {"cutmix": 1.0}, {"flip": True, "shift": 1, "cutmix": 1.0}]
)
def test_variations_depend_on_seed_epoch_and_picture_alone(root: Path, options: dict[str, Any]) -> None:
    first, again = training(root, **options), training(root, **options)
    order = np.random.default_rng(1).permutation(len(first))
    for index in order:
        np.testing.assert_array_equal(again[index].values, first[index].values)
        np.testing.assert_array_equal(again[index].target, first[index].target)
    for other in (training(root, epoch=4, **options), training(root, seed=1, **options)):
        changed = sum(bool((other[i].values != first[i].values).any()) for i in range(len(first)))
        assert changed > len(first) / 2
    first.set_epoch(4)
    first.set_epoch(3)
    np.testing.assert_array_equal(first[5].values, again[5].values)


def test_a_picture_is_moved_by_at_most_so_many_pixels_and_its_edge_repeated(root: Path) -> None:
    plain, part = training(root), training(root, shift=2)
    found = set()
    for index in range(len(plain)):
        seen = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if np.allclose(moved(pixels(plain, index)[..., None], down, right)[..., 0], pixels(part, index), atol=1e-6)
        ]
        assert len(seen) == 1
        found |= set(seen)
    assert len(found) > 10
    picture = np.arange(12.0).reshape(3, 4, 1)
    np.testing.assert_array_equal(moved(picture, -1, 2)[..., 0], [[4, 4, 4, 5], [8, 8, 8, 9], [8, 8, 8, 9]])


def test_switching_one_variation_on_leaves_the_draws_of_others(root: Path) -> None:
    shifted, both = training(root, shift=2), training(root, shift=2, cutmix=1.0, mixed=0.5)
    same = [np.allclose(both[i].values, shifted[i].values, atol=1e-6) for i in range(len(both))]
    assert len(both) / 4 < sum(same) < len(both) * 3 / 4
    assert all(both[i].target[int(shifted[i].target)] == 1 for i in range(len(both)) if same[i])


def test_mixed_pictures_are_sums_with_the_shares_of_their_labels(root: Path) -> None:
    plain, part = training(root), training(root, mixup=1.0)
    whole = np.stack([pixels(plain, i) for i in range(len(plain))])
    labels = np.array([int(target) for target in plain.targets])
    shares = []
    for index in range(len(part)):
        example = part[index]
        assert example.target.dtype == np.float32
        assert example.target.sum() == pytest.approx(1, abs=1e-6)
        # x = s x_i + (1 - s) x_j: of all partners and their best share, the true one leaves nothing over.
        apart, off = whole - whole[index], pixels(part, index) - whole[index]
        norm = (apart**2).sum((1, 2))
        rest = np.where(norm > 0, (apart * off).sum((1, 2)) / np.where(norm > 0, norm, 1), 0)
        left = np.abs(off - rest[:, None, None] * apart).max((1, 2))
        other = int(left.argmin())
        assert left[other] < 1e-5
        expected = np.zeros(2)
        expected[labels[index]] += 1 - rest[other]
        expected[labels[other]] += rest[other]
        np.testing.assert_allclose(example.target, expected, atol=1e-5)
        shares.append(rest[other])
    assert 0.2 < np.mean(shares) < 0.8


def test_a_rectangle_counts_by_its_area(root: Path) -> None:
    plain, part = training(root), training(root, cutmix=1.0)
    differing = []
    for index in range(len(part)):
        example, label = part[index], int(plain.targets[index])
        bright = pixels(part, index) > 0.5
        assert example.target[1] == pytest.approx(bright.mean(), abs=1e-6)
        kept = pixels(part, index) == pixels(plain, index)
        assert kept.mean() >= example.target[label] - 1e-6 if example.target[label] < 1 else True
        changed = np.argwhere(bright != (label == 1))
        if len(changed):
            (top, left), (bottom, right) = changed.min(0), changed.max(0) + 1
            assert (bottom - top) * (right - left) == len(changed), "what was cut in is one rectangle"
            differing.append(len(changed))
    assert len(set(differing)) > 3
    black, white = np.zeros((10, 20, 1)), np.ones((10, 20, 1))
    out, share = cut_in(black, white, np.array([0.5, 0.5]), 0.64)
    assert (share, out.sum()) == (0.64, 72)
    out, share = cut_in(black, white, np.array([0.0, 0.0]), 0.0)
    assert (share, out.sum()) == (0.75, 50)


def test_half_of_the_pictures_have_either_way_of_mixing(root: Path) -> None:
    part, plain = training(root, mixup=1.0, cutmix=1.0), training(root)
    kept = [np.isclose(pixels(part, i), pixels(plain, i), atol=1e-6).mean() for i in range(len(part))]
    # Of a sum hardly a pixel stays, of a picture with a rectangle most or all do.
    assert len(part) / 5 < sum(share > 0.15 for share in kept) < len(part)


def test_a_batch_of_mixed_pictures_is_one(root: Path) -> None:
    part = training(root, mixup=0.4)
    batch = collate([part[i] for i in range(5)])
    assert batch.target_values("set").shape == (5, 2)
    assert [int(target) for target in part.targets[:5]] == [int(target) for target in training(root).targets[:5]]


def test_what_cannot_be_mixed_is_refused_in_a_sentence(root: Path) -> None:
    rows = [f"{label}/{n}.png,{n},{'Train' if n < 15 else 'TEST'}\n" for label in "ab" for n in range(20)]
    (root / "pictures.csv").write_text("path,size,split\n" + "".join(rows))
    with pytest.raises(InputError, match=r"data\.mixup or data\.cutmix is asked for and the targets are numbers"):
        training(root, column="size", numbers=True, mixup=1.0)
    for options, sentence in (
        ({"mixed": 1.5}, r"data\.mixed is 1\.5, expected a share from 0 to 1"),
        ({"shift": -1}, r"data\.shift is -1, expected at least 0"),
        ({"cutmix": -0.5}, r"data\.cutmix is -0\.5, expected at least 0"),
    ):
        with pytest.raises(InputError, match=sentence):
            training(root, **options)
