"""A language learned by guessing hidden pieces of words, for other trainings to begin with."""

from regard.data.passages import Passages
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks.configs import MaskedTokens
from regard.train import Experiment, Optimizer, Training

__all__ = ["pretraining"]


def pretraining() -> Experiment:
    """Hidden pieces of words, guessed from those around them: what other trainings on text begin with.

    `--training.minutes` says how long it trains; the learning rate rises and falls within them (Geiping and Goldstein 2023,
    Cramming). `--training.start RUN` in a training with `--data.tokens bpe` begins with the run.

    Own data: `--data.path my.txt`, where an empty line ends a document, or a folder or an archive of text files.
    """
    return Experiment(
        "pretraining",
        Passages(mask=0.25),
        Encoder(
            width=256,
            layers=4,
            heads=4,
            feed_forward=1024,
            dropout=0.0,
            activation="gelu",
            positions=Positions("rotary"),
            front=Front(deviation=0.02),
        ),
        MaskedTokens(bias=False),
        Optimizer(learning_rate=1e-3, warm_up=200, schedule="linear"),
        Training(epochs=1000, minutes=90, batch_vectors=4096, clip=0.5, keep="last", checkpoint_every=200),
    )
