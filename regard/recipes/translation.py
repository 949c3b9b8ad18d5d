"""From one language to another."""

from regard.data.parallel import ParallelText
from regard.models.encoder_decoder import EncoderDecoder
from regard.models.recurrent_decoder import RecurrentEncoderDecoder
from regard.tasks.configs import PerSetSequence
from regard.train import Experiment, Optimizer, Training

__all__ = ["translation", "translation_recurrent"]


def translation() -> Experiment:
    """A sentence in another language, by a Transformer with one vocabulary and one table for both.

    `--data.source_language en --data.target_language de` turns the direction.

    Own data: `--data.path folder` with files such as train.de, train.en, val.de, ...; a table or JSON lines with a column or
    entry for each language; or `--data.path corpus.de` with corpus.en beside it.
    """
    return Experiment(
        "translation",
        ParallelText(vocabulary=6000),
        EncoderDecoder(width=128, layers=3, decoder_layers=3, heads=4, feed_forward=256, dropout=0.3),
        PerSetSequence(beam=5),
        Optimizer(learning_rate=3e-3, weight_decay=0.01, warm_up=800),
        Training(epochs=30, batch_vectors=2048, average=8, threads=1, log_every=50),
    )


def translation_recurrent() -> Experiment:
    """A sentence in another language, by recurrent networks with additive attention.

    Own data: `--data.path folder` with files such as train.de, train.en, ..., or what else the recipe `translation` takes.
    """
    return Experiment(
        "translation-recurrent",
        ParallelText(vocabulary=6000),
        RecurrentEncoderDecoder(width=128, hidden=256, aligned=128, maxout=128, dropout=0.3),
        PerSetSequence(beam=5),
        Optimizer(learning_rate=2e-3, weight_decay=0.01, warm_up=400),
        Training(epochs=12, batch_vectors=2048, average=3, threads=1, log_every=50),
    )
