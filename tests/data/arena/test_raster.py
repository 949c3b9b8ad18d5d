"""Pictures as sequences of pixels: of shards, of CIFAR-10's batches, of folders and archives by label."""

import io
import pickle
import tarfile

import numpy as np
import pytest
from PIL import Image

from regard.data.arena.raster import Raster
from regard.data.arena.rasters import luma
from regard.data.arena.shards import Made, make_pictures
from regard.errors import InputError

PARTS = ("train", "validation", "test")


def batch(seed, count=20):
    generator = np.random.default_rng(seed)
    labels = [n % 10 for n in range(count)]
    return {
        "data": generator.integers(0, 256, (count, 3072), dtype=np.uint8),
        "labels": labels,
        "filenames": ["x"] * count,
    }


@pytest.fixture
def cifar(tmp_path):
    """The published archive, with fewer pictures; as Python 2 wrote it, texts are bytes that latin-1 reads."""
    path = tmp_path / "cifar-10-python.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for n in range(1, 6):
            add(archive, f"cifar-10-batches-py/data_batch_{n}", pickle.dumps(batch(n), protocol=2))
        add(archive, "cifar-10-batches-py/test_batch", pickle.dumps(batch(6), protocol=2))
        add(archive, "cifar-10-batches-py/batches.meta", b"what is not needed is not read")
    return path


def add(archive, name, content):
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


def test_gray_is_tensorflows():
    """Of all 2^24 colors some: rgb * [.2989, .5870, .1140] / 255, and back by 255.5, without rounding."""
    colors = np.random.default_rng(0).integers(0, 256, (1000, 3), dtype=np.uint8)
    fractions = colors.astype(np.float64) / 255
    expected = [
        int(sum(c * w for c, w in zip(color, (0.2989, 0.5870, 0.1140), strict=True)) * 255.5) for color in fractions
    ]
    np.testing.assert_array_equal(luma(colors), expected)


def test_batches_are_read_from_the_archive_and_unpacked(cifar, tmp_path):
    reader = Raster(str(cifar))
    encoding = reader.fit()
    parts = {name: reader.part(name, encoding) for name in PARTS}
    assert [len(part) for part in parts.values()] == [90, 10, 20]
    assert encoding.labels[:3] == ("airplane", "automobile", "bird")
    example = parts["train"][21]
    assert (example.name, encoding.labels[int(example.target)]) == ("data_batch_2/1", "automobile")
    red, green, blue = batch(2)["data"][1].reshape(3, 1024)
    np.testing.assert_array_equal(example.values, luma(np.stack([red, green, blue], 1)).astype(int) + 1)
    assert example.coords is None
    with tarfile.open(cifar) as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    unpacked = Raster(str(tmp_path / "unpacked"))
    assert unpacked.fit() == encoding
    np.testing.assert_array_equal(unpacked.part("test", encoding)[3].values, parts["test"][3].values)
    assert Raster(str(tmp_path / "unpacked")).claims(tmp_path / "unpacked") == 12


def test_a_pickle_that_runs_something_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("gotcha",)

    (tmp_path / "data_batch_1").write_bytes(pickle.dumps({"data": Evil()}))
    with pytest.raises(InputError, match=r"data_batch_1 asks to load builtins.print, expected nothing but arrays"):
        Raster(str(tmp_path)).fit()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"no pickle", "is damaged or is not a pickle, expected a batch of CIFAR-10"),
        (pickle.dumps([1]), "is no batch of CIFAR-10"),
        (pickle.dumps({"data": np.zeros((2, 3072)), "labels": [0, 1]}), "is no batch of CIFAR-10"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0, 10]}), "is no batch of CIFAR-10"),
        (pickle.dumps({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}), "is no batch of CIFAR-10"),
    ],
)
def test_batches_that_are_none_are_refused(tmp_path, content, sentence):
    (tmp_path / "data_batch_1").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        Raster(str(tmp_path)).fit()


@pytest.fixture
def pictures(tmp_path):
    root = tmp_path / "pictures"
    for part, count in (("train", 20), ("test", 5)):
        for label in "ab":
            (root / part / label).mkdir(parents=True)
            for n in range(count):
                pixels = np.full((8, 8, 3), (n, 100 * (label == "a"), 7), np.uint8)
                Image.fromarray(pixels).save(root / part / label / f"{n}.png")
    return root


def test_folders_and_archives_by_label_are_read_alike(pictures, tmp_path):
    with tarfile.open(tmp_path / "packed.tar.xz", "w:xz") as archive:
        archive.add(pictures, ".")
    one, other = Raster(str(pictures), size=8), Raster(str(tmp_path / "packed.tar.xz"), size=8)
    encoding = one.fit()
    assert other.fit() == encoding
    for part in PARTS:
        ours, theirs = one.part(part, encoding), other.part(part, encoding)
        assert len(ours) == {"train": 36, "validation": 4, "test": 10}[part]
        assert [example.name for example in ours] == [example.name for example in theirs]
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a.values, b.values)
    assert one.names_parts()


def test_black_is_a_level_as_any_other(tmp_path):
    Image.fromarray(np.zeros((32, 32), np.uint8)).save(tmp_path / "black.png")
    make_pictures(Made("pathfinder", 0, (4, 2, 2)), tmp_path / "made")
    reader = Raster(str(tmp_path / "made"))
    values = reader.inputs([str(tmp_path / "black.png")], reader.fit())[0].values
    assert values.tolist() == [1] * 1024


def test_pictures_of_another_size_are_refused(pictures, tmp_path):
    with pytest.raises(InputError, match=r"has 8 x 8 pixels, expected 32 x 32 as data.size says"):
        Raster(str(pictures)).fit()
    make_pictures(Made("pathfinder", 0, (4, 2, 2)), tmp_path / "made")
    with pytest.raises(InputError, match=r"has pictures of 32 x 32, expected 128 x 128 as data.size says"):
        Raster(str(tmp_path / "made"), size=128).fit()
    reader = Raster(str(tmp_path / "made"))
    with pytest.raises(InputError, match="the picture has 4 x 3 pixels, expected 32 x 32"):
        reader.example(np.zeros((3, 4), np.uint8), reader.fit())


def test_places_without_pictures_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"data.path is not given"):
        Raster().fit()
    with pytest.raises(InputError, match="cannot be read: No such file"):
        Raster(str(tmp_path / "none")).fit()
    (tmp_path / "a.txt").touch()
    with pytest.raises(InputError, match="is no folder and no archive"):
        Raster(str(tmp_path / "a.txt")).fit()
    (tmp_path / "b.tar").write_bytes(b"no archive")
    with pytest.raises(InputError, match="is no whole tar archive"):
        Raster(str(tmp_path / "b.tar")).fit()
    (tmp_path / "c.tar.gz").write_bytes(b"no archive")
    with pytest.raises(InputError, match=r"c.tar.gz"):
        Raster(str(tmp_path / "c.tar.gz")).fit()


def test_what_is_no_picture_is_counted_and_a_label_without_pictures_refused(tmp_path):
    for label in "ab":
        (tmp_path / "own" / label).mkdir(parents=True)
        for n in range(4):
            Image.fromarray(np.full((8, 8), n, np.uint8)).save(tmp_path / "own" / label / f"{n}.png")
    (tmp_path / "own" / "notes.txt").write_text("x")
    (tmp_path / "own" / ".hidden").write_text("x")
    with tarfile.open(tmp_path / "own.tar", "w") as archive:
        archive.add(tmp_path / "own", "own")
    for place in (tmp_path / "own", tmp_path / "own.tar"):
        skipped = str(Raster(str(place), size=8).survey().skipped.lines())
        assert "1 files ending in .txt" in skipped
        assert "1 hidden files and folders" in skipped
    (tmp_path / "own" / "c").mkdir()
    (tmp_path / "own" / "c" / "x.svg").write_text("x")
    with pytest.raises(InputError, match="own/c has no file that is read"):
        Raster(str(tmp_path / "own"), size=8).fit()


def test_changed_pictures_are_read_again(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        for n in range(4):
            Image.fromarray(np.full((8, 8), 11, np.uint8)).save(tmp_path / label / f"{n}.png")
    reader = Raster(str(tmp_path), size=8)
    assert {int(reader.part("all", reader.fit())[0].values.max())} == {12}
    for path in tmp_path.glob("*/*.png"):
        Image.fromarray(np.full((8, 8), 201, np.uint8)).save(path)
    Image.fromarray(np.full((8, 8), 201, np.uint8)).save(tmp_path / "a" / "new.png")
    part = Raster(str(tmp_path), size=8).part("all", reader.fit())
    assert len(part) == 9
    assert int(part[0].values.min()) == 202
