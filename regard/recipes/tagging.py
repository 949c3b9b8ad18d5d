"""Parts of speech, learned from scratch."""

from regard.data.text import Conllu
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks.configs import PerVectorLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["tagging"]


def tagging() -> Experiment:
    """The part of speech of each word, from words and their characters.

    Own data: `--data.path my.conllu`, or a folder whose files have train, dev and test in their names;
    `--data.column xpos` learns another column.
    """
    return Experiment(
        "tagging",
        Conllu(),
        Encoder(
            width=128,
            layers=2,
            heads=4,
            feed_forward=256,
            attention="Attention(bias=Shaw(8))",
            dropout=0.2,
            positions=Positions("none"),
            front=Front(characters=128, word_dropout=0.25, dropout=0.2),
        ),
        PerVectorLabel(label_smoothing=0.05),
        Optimizer(learning_rate=2e-3, warm_up=200),
        Training(epochs=14, batch_vectors=512),
    )
