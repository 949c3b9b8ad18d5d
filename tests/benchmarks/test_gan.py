"""What a distance of pictures means: small for training pictures, larger for blurred ones, largest for noise; one training."""

import gzip
import struct

import numpy as np
import pytest

from benchmarks import gan
from regard.data.pictures import Pictures
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
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
