"""From speech to text."""

from regard.data.augment import Speed
from regard.data.transcripts import Transcripts
from regard.layers.registry import Mixing
from regard.models.encoder_decoder import EncoderDecoder
from regard.models.pieces import Front
from regard.tasks.configs import PerSetSequence
from regard.train import Experiment, Optimizer, Training

__all__ = ["transcription"]


def transcription() -> Experiment:
    """What is said in a recording, letter by letter, by convolutions and attention over frames of sound.

    Own data: `--data.path table.csv` with the columns path and text, or a folder with such a table named utterances.csv.
    """
    return Experiment(
        "transcription",
        Transcripts(speed=Speed((0.9, 1.0, 1.1))),
        EncoderDecoder(
            width=128,
            layers=4,
            decoder_layers=1,
            heads=4,
            feed_forward=256,
            mixer="convolution+attention",
            mixing=Mixing(neighbors=2),
            front=Front(step=6, stem="convolution", reach=3),
        ),
        PerSetSequence(alignment=0.5, beam=5),
        Optimizer(learning_rate=2e-3, weight_decay=0.01, warm_up=400),
        Training(epochs=30, batch_vectors=4096, threads=1, log_every=50),
    )
