"""Who speaks."""

from regard.data.speech import Sounds
from regard.models.configs import Encoder
from regard.tasks.configs import PerSetLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["speaker"]


def speaker() -> Experiment:
    """The speaker of an utterance, from its log-mel frames.

    Own data: `--data.path folder` with a folder of sounds for each label, `folder/LABEL/any-name.flac`: the label may be
    a speaker, a language, a command, an instrument.
    """
    return Experiment(
        "speaker",
        Sounds(train_crop=1.28, normalize="none"),
        Encoder(width=96, layers=2, heads=4, feed_forward=192, positions="none", dropout=0.1),
        PerSetLabel(pool="statistics", label_smoothing=0.05),
        Optimizer(learning_rate=1.5e-3, weight_decay=0.05, warm_up=400),
        Training(epochs=50, batch_vectors=2048),
    )
