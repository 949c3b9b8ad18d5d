"""One's own pictures: the recipe whose size, patches and colors follow the data."""

from regard.data.pictures import Pictures
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import PerSetLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["pictures"]


def pictures() -> Experiment:
    """The label of a picture, from its patches as vectors with two coordinates.

    Own data: `--data.path folder` with a folder of pictures for each label, `folder/LABEL/any-name.jpg`, or idx files as those of
    MNIST. Side, patches and colors follow the training part, and are said at the start.
    """
    return Experiment(
        "pictures",
        Pictures(distort=0.1),
        Encoder(width=96, layers=4, heads=4, feed_forward=192, positions=Positions("learned"), dropout=0.1),
        PerSetLabel(pool="mean", label_smoothing=0.1),
        Optimizer(learning_rate=1e-3, weight_decay=0.05, warm_up=100),
        Training(epochs=40, batch_vectors=4096),
    )
