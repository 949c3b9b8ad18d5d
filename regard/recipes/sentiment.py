"""Whether somebody liked a film: of sentences, of reviews as words, and of reviews as bytes."""

from regard.data.text import Texts
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks.configs import PerSetLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["reviews", "reviews_bytes", "sentiment"]


def sentiment() -> Experiment:
    """Whether a sentence praises or blames, from its words.

    Own data: `--data.path my.csv` with the columns `text` and `label`, or TSV, JSON lines, lines of `label text`, a folder
    of such files, or a folder of text files for each label; the label may be anything that a text is about.
    """
    return Experiment(
        "sentiment",
        Texts(),
        Encoder(
            width=64,
            layers=1,
            heads=4,
            feed_forward=128,
            dropout=0.3,
            positions=Positions("none"),
            front=Front(deviation=0.02, word_dropout=0.3, dropout=0.4),
        ),
        PerSetLabel(pool="mean", dropout=0.3),
        Optimizer(learning_rate=3e-3, weight_decay=0.05, warm_up=100),
        Training(epochs=4, batch_vectors=1024, threads=1),
    )


def reviews() -> Experiment:
    """Whether a film review praises or blames, from its words and the runs of two and three of them, in the mean.

    No block mixes them: attention learns the training reviews by heart. What keeps the embeddings from it is that they decay.

    Own data: `--data.path folder` with a folder of text files for each label, or what the recipe `sentiment` takes.
    """
    return Experiment(
        "reviews",
        Texts(dataset="imdb", drop_tags=True, one_per_line=False, minimum_count=5, vocabulary=30000),
        Encoder(
            width=64,
            layers=0,
            norm="post",
            positions=Positions("none"),
            front=Front(ngrams=3, buckets=1 << 19, deviation=0.02),
        ),
        PerSetLabel(pool="mean", dropout=0.3),
        Optimizer(learning_rate=3e-3, weight_decay=0.2, warm_up=200, decay_embeddings=True),
        Training(epochs=3, batch_vectors=8192, threads=1),
    )


def reviews_bytes() -> Experiment:
    """Whether a film review praises or blames, from its first 4,096 bytes and runs of up to six of them.

    Eight become one vector, which attends to those nearby.

    Own data: `--data.path folder` with a folder of text files for each label, or what the recipe `sentiment` takes.
    """
    return Experiment(
        "reviews-bytes",
        Texts(dataset="imdb", tokens="bytes", lowercase=False, longest=4096, one_per_line=False),
        Encoder(
            width=64,
            layers=2,
            heads=4,
            feed_forward=128,
            attention="Attention(pattern=Window(32, 32), bias=T5())",
            dropout=0.1,
            positions=Positions("none"),
            front=Front(ngrams=6, buckets=1 << 19, word_dropout=0.2, step=8),
        ),
        PerSetLabel(pool="mean", dropout=0.1),
        Optimizer(learning_rate=2e-3, weight_decay=0.05, warm_up=200),
        Training(epochs=2, batch_vectors=65536),
    )
