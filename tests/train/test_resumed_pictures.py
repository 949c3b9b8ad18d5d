"""A training whose pictures are varied and whose sets skip layers goes on, when resumed, to the last bit."""

from dataclasses import replace

import numpy as np
import safetensors.torch
from PIL import Image

from regard.data.pictures import Pictures
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks.configs import PerSetLabel
from regard.train import Experiment, Optimizer, Training, fit


def test_a_resumed_training_sees_the_same_pictures(tmp_path):
    rng = np.random.default_rng(0)
    for label, low in (("a", 0), ("b", 100)):
        (tmp_path / "data" / label).mkdir(parents=True)
        for n in range(12):
            Image.fromarray(rng.integers(low, low + 100, (8, 8), np.uint8)).save(tmp_path / "data" / label / f"{n}.png")
    model = Encoder(
        width=8,
        layers=2,
        heads=2,
        feed_forward=8,
        stochastic_depth=0.3,
        positions=Positions("learned"),
        front=Front(stem="convolution2d"),
    )
    whole = Experiment(
        "mine",
        Pictures(str(tmp_path / "data"), size=8, patch=1, distort=0.1, flip=True, shift=1, mixup=0.5, cutmix=1.0),
        model,
        PerSetLabel(pool="attention", label_smoothing=0.1),
        Optimizer(schedule="constant", warm_up=2),
        Training(epochs=4, batch_vectors=256, log_every=1, progress=False, threads=1, keep="last"),
    )
    fit(whole, tmp_path / "whole")
    fit(replace(whole, training=replace(whole.training, epochs=2)), tmp_path / "parts")
    fit(whole, tmp_path / "parts", resume=True)
    first, second = (tmp_path / name for name in ("whole", "parts"))
    assert (first / "metrics.csv").read_text() == (second / "metrics.csv").read_text()
    weights = [safetensors.torch.load_file(run / "model.safetensors") for run in (first, second)]
    for name, values in weights[0].items():
        assert values.numpy().tobytes() == weights[1][name].numpy().tobytes()
