"""Long Range Arena: five tasks on long sequences, one small model of the same size for all, whose attention is one option."""

from regard.data.arena.list_operations import ListOps
from regard.data.arena.pairs import DocumentPairs
from regard.data.arena.raster import Raster
from regard.data.text import Texts
from regard.models.encoder import Encoder
from regard.models.pieces import Positions
from regard.tasks.configs import PerPairLabel, PerSetLabel
from regard.train import Experiment, Optimizer, Training

__all__ = ["arena_image", "arena_listops", "arena_path_x", "arena_pathfinder", "arena_retrieval", "arena_text"]


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


def arena_text() -> Experiment:
    """Whether a film review praises or blames, from its first 4,096 bytes (Long Range Arena, Text).

    About 32 reviews are a batch, and 28 epochs 20,000 batches. A tenth of the training reviews is the validation part; the
    published numbers took the test part for it.

    Own data: `--data.path folder` with a folder of text files for each label, or what the recipe `sentiment` takes.
    """
    return Experiment(
        "arena-text",
        Texts(dataset="imdb", tokens="bytes", lowercase=False, longest=4096, one_per_line=False),
        _model(4096),
        PerSetLabel(pool="mean", hidden=128),
        _optimizer(8000),
        Training(epochs=28, batch_vectors=40960),
    )


def arena_retrieval() -> Experiment:
    """Whether two documents belong together, from up to 4,000 bytes of each (Long Range Arena, Retrieval).

    Both are read by the same weights, apart; 32 pairs are a batch.

    Own data: `--data.path folder` of the published pairs `new_aan_pairs.train.tsv`, ..., or of the stand-in that
    `regard arena make retrieval --out folder` writes.
    """
    return Experiment(
        "arena-retrieval",
        DocumentPairs(),
        _model(4000),
        PerPairLabel(),
        _optimizer(800),
        Training(epochs=6, batch_vectors=1 << 18),
    )


def arena_image() -> Experiment:
    """What a gray picture of 32 x 32 shows, from its 1,024 pixels as a sequence (Long Range Arena, Image).

    256 pictures are a batch, and 200 epochs 35,000 batches. Nothing tells rows and columns, and black is a level as any other.

    Own data: `--data.path folder` with a folder of pictures for each label, all of `--data.size` rows and columns.
    """
    return Experiment(
        "arena-image",
        Raster(dataset="cifar-10"),
        _model(1024),
        PerSetLabel(pool="mean", hidden=128),
        _optimizer(175),
        Training(epochs=200, batch_vectors=1 << 18),
    )


def arena_pathfinder() -> Experiment:
    """Whether two disks lie on one path, from a picture of 32 x 32 as a sequence (Long Range Arena, Pathfinder).

    256 pictures are a batch, and 100 epochs 62,500 batches.

    Own data: `--data.path folder` that `regard arena make pathfinder --out folder` wrote, or of pictures by label.
    """
    return Experiment(
        "arena-pathfinder",
        Raster(),
        _model(1024),
        PerSetLabel(pool="mean", hidden=128),
        _optimizer(312),
        Training(epochs=100, batch_vectors=1 << 18),
    )


def arena_path_x() -> Experiment:
    """Whether two disks lie on one path, from a picture of 128 x 128 as a sequence of 16,384 pixels (Long Range Arena, Path-X).

    16 pictures are a batch.

    Own data: `--data.path folder` that `regard arena make path-x --out folder` wrote, or of pictures by label.
    """
    return Experiment(
        "arena-path-x",
        Raster(size=128),
        _model(16384),
        PerSetLabel(pool="mean", hidden=128),
        _optimizer(312),
        Training(epochs=50, batch_vectors=1 << 18),
    )
