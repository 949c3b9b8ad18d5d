"""Handwritten digits: the recipe that needs no download."""

from regard.data.image import Digits
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import PerSetLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["digits"]


def digits() -> Experiment:
    """The digit in a picture, from its patches as vectors with two coordinates.

    Own data: `--data.path folder` with a folder of pictures for each label, `folder/LABEL/any-name.png`; such pictures
    are larger than 8 x 8 pixels as a rule, so raise `--data.size` and `--data.patch` together.
    """
    return Experiment(
        "digits",
        Digits(patch=2, distort=0.07),
        Encoder(width=64, layers=3, heads=4, feed_forward=128, positions=Positions("learned"), dropout=0.1),
        PerSetLabel(pool="mean", label_smoothing=0.1),
        Optimizer(learning_rate=2e-3, weight_decay=0.05, warm_up=100),
        Training(epochs=100, batch_vectors=512, threads=1),
    )
