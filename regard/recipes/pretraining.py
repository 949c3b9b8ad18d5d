"""What is learned by guessing hidden tokens, for other trainings to begin with: a language, and the inputs of the arena's tasks."""

from regard.data.arena.masked_trees import MaskedTrees
from regard.data.passages import Passages
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.recipes.arena import arena_listops, arena_text
from regard.tasks.configs import MaskedTokens
from regard.train import Experiment, Optimizer, Training

__all__ = ["pretraining", "pretraining_listops", "pretraining_text"]


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


def pretraining_listops() -> Experiment:
    """Hidden symbols of ListOps' trees, guessed from those around them: what `arena-listops` begins with (Amos et al. 2024).

    A tenth of the symbols is hidden. The model is that of `arena-listops`, so `--model.attention` must be the same in both.

    Own data: `--data.path folder` that `regard arena make listops --out folder` wrote.
    """
    return Experiment(
        "pretraining-listops",
        MaskedTrees(),
        arena_listops().model,
        MaskedTokens(),
        Optimizer(learning_rate=1e-3, weight_decay=0.0, warm_up=1000, schedule="linear"),
        Training(epochs=10, batch_vectors=32768),
    )


def pretraining_text() -> Experiment:
    """Hidden bytes of film reviews, guessed from those around them: what `arena-text` begins with (Amos et al. 2024).

    15 % of the bytes are hidden, and only training reviews are read. The model is that of `arena-text`, so `--model.attention` must
    be the same in both.

    Own data: `--data.path`, as in the recipe `pretraining`.
    """
    return Experiment(
        "pretraining-text",
        Passages(dataset="imdb", tokens="bytes", vocabulary=0, minimum_count=1, lowercase=False, longest=4096),
        arena_text().model,
        MaskedTokens(),
        Optimizer(learning_rate=5e-4, weight_decay=0.0, warm_up=1000, schedule="linear"),
        Training(epochs=28, batch_vectors=40960),
    )
