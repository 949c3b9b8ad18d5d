"""The sweep over training pictures is fair, repeats itself, and does not compute what it has."""

import gzip
import json
import struct

import numpy as np
import pytest
from matplotlib import pyplot as plt

from benchmarks import picture_charts, pictures
from benchmarks.pictures import MODELS, Setting, main, run


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Idx files of noise, brighter above for one label, brighter below for the other."""
    root = tmp_path / "fashion-mnist"
    root.mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 90), ("t10k", 20)):
        labels = np.arange(count, dtype=np.uint8) % 2
        images = rng.integers(0, 100, (count, 28, 28), np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[14 * label : 14 * label + 14] += 100
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            (root / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    monkeypatch.setenv("REGARD_DATA", str(tmp_path))
    monkeypatch.setattr(pictures, "RESULTS", tmp_path)
    monkeypatch.setattr("benchmarks.machine.RESULTS", tmp_path)
    monkeypatch.setattr(picture_charts, "RESULTS", tmp_path)
    return tmp_path


def test_models_have_equally_many_parameters_and_learn(published):
    sizes = []
    for name, (patch, *_) in MODELS.items():
        setting = Setting(60, updates=12, batch=16, test=20)
        reader = pictures._reader(patch, flip=True)
        row = run(name, setting, reader)
        sizes.append(row["parameters"])
        assert {key: value for key, value in row.items() if key != "seconds"} == {
            key: value for key, value in run(name, setting, reader).items() if key != "seconds"
        }
        attends = name != "convolutional network"
        assert [len(heads) for heads in row["distances"]] == ([4] * 4 if attends else [])
        # Of a square of 7 x 7 places, 4 pixels apart, two lie 14.4 pixels apart on average.
        assert all(0 < distance < 25 for heads in row["distances"] for distance in heads)
    # Two labels instead of ten take as much from each.
    assert max(sizes) / min(sizes) < 1.03


def test_what_is_there_is_not_computed_again_and_all_is_drawn(published, monkeypatch):
    arguments = ["--sizes", "20", "--updates", "1", "--batch", "4", "--test", "5"]
    assert main(arguments) == 0
    before = (published / "pictures.json").read_text()
    result = json.loads(before)
    assert [row["model"] for row in result["rows"]] == list(MODELS)
    assert [list(row["test"]) for row in result["rows"]] == [["20 pictures"]] * 3
    monkeypatch.setattr(pictures, "run", None)
    assert main(arguments) == 0
    assert (published / "pictures.json").read_text() == before
    figure = picture_charts.growing()
    assert len(figure.axes) == 3
    plt.close(figure)
