"""Long Range Arena: five tasks on long sequences, one small model of the same size for all, whose attention is one option."""

from regard.data.arena.list_operations import ListOps
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import PerSetLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["arena_listops"]


def _model(longest: int) -> Encoder:
    """Two layers of width 64 with two heads and learned positions, the size of the ports of Xiong et al. 2021."""
    return Encoder(
        width=64,
        layers=2,
        heads=2,
        feed_forward=128,
        dropout=0.1,
        activation="gelu",
        positions=Positions("learned", longest=longest),
    )


def _optimizer(warm_up: int) -> Optimizer:
    return Optimizer(learning_rate=1e-4, weight_decay=0.0, betas=(0.9, 0.999), warm_up=warm_up, schedule="linear")


def arena_listops() -> Experiment:
    """The value of a tree of 500 to 2,000 operations and digits, read as a sequence (Long Range Arena, ListOps).

    About 31 trees are a batch, and 6,200 batches the two epochs.

    Own data: `--data.path folder` that `regard arena make listops --out folder` wrote, or of the published files `basic_train.tsv`,
    `basic_val.tsv` and `basic_test.tsv`.
    """
    return Experiment(
        "arena-listops",
        ListOps(),
        _model(2000),
        PerSetLabel(pool="mean", hidden=128, top=3),
        _optimizer(1000),
        Training(epochs=2, batch_vectors=32768),
    )
