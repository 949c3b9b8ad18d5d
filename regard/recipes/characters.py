"""A language model of characters."""

from regard.data.running_text import RunningText
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks.configs import NextToken
from regard.train import Experiment, Optimizer, Training

__all__ = ["characters"]


def characters() -> Experiment:
    """The next character of a text from those before it; `regard generate` goes on with any beginning.

    For linear attention, whose memory does not grow with the text:
    `--model.attention "Attention(score=Kernel(), pattern=Causal(), normalizer=Sum())"`.

    Own data: `--data.path my.txt` with a file of text, or a folder of `.txt` files.
    """
    return Experiment(
        "characters",
        RunningText(window=256),
        Encoder(
            width=128,
            layers=4,
            heads=4,
            feed_forward=512,
            attention="Attention(pattern=Causal())",
            dropout=0.0,
            activation="gelu",
            positions=Positions("rotary"),
            front=Front(deviation=0.05),
        ),
        NextToken(),
        Optimizer(learning_rate=3e-3, weight_decay=0.1, warm_up=100),
        Training(epochs=10, batch_vectors=2048, threads=1),
    )
