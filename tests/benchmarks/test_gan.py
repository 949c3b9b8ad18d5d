"""What a distance of pictures means: small for training pictures, larger for blurred ones, largest for noise; one training."""

import gzip
import struct
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import gan
from regard.data.pictures import Pictures
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.recipes import clothes_gan
from regard.tasks.configs import PerSetLabel
from regard.train import Experiment, Optimizer, Training, fit


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Crosses and squares of 28 x 28, and a classifier of them."""
    folder = tmp_path_factory.mktemp("gan")
    (folder / "data").mkdir()
    rng = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 40)):
        labels = np.arange(count, dtype=np.uint8) % 2
        pixels = np.zeros((count, 28, 28), np.uint8)
        for n, label in enumerate(labels):
            top, left = rng.integers(2, 10, 2)
            if label:
                pixels[n, top : top + 16, left + 7 : left + 9] = pixels[n, top + 7 : top + 9, left : left + 16] = 255
            else:
                pixels[n, top : top + 16, left : left + 16] = 255
        for name, values in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / "data" / f"{part}-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    model = Encoder(width=8, layers=0, positions=Positions("none"), front=Front(stem="convolution2d", stages=(4,)))
    options = Training(epochs=2, batch_vectors=8000, progress=False, device="cpu")
    data = Pictures(str(folder / "data"), size=28, patch=1, color="gray")
    fit(Experiment("cnn", data, model, PerSetLabel(), Optimizer(0.01, warm_up=1), options), folder / "judge")
    return folder


def test_a_floor_and_ceilings_are_in_order(root):
    found = gan.bounds(str(root / "data"), str(root / "judge"))
    assert list(found) == ["training pictures", "blurred", "noise"]
    assert 0 <= found["training pictures"] < found["noise"]
    assert found["blurred"] < found["noise"]


def test_a_run_that_is_there_becomes_a_row(root, tmp_path):
    plain = clothes_gan()
    experiment = replace(
        plain,
        data=replace(plain.data, path=str(root / "data")),
        model=replace(plain.model, width=4, noise=4, self_attention=False),
        task=replace(plain.task, judge=str(root / "judge"), samples=2),
        training=replace(plain.training, epochs=1, batch_vectors=8000, progress=False, device="cpu"),
    )
    row = gan.evaluated(fit(experiment, tmp_path / "run"))
    assert (row["attention"], row["seed"], row["epochs"]) == ("no", 0, 1)
    assert row["steps"] > 0
    assert row["fid"] > 0
    assert 0 <= row["agreement"] <= 1
