"""The options of tasks that write pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from regard.data.examples import TargetName
from regard.errors import check_numbers
from regard.tasks.configs import NextToken
from regard.tasks.corpus import CorpusMetric

__all__ = ["NextPixel", "WrittenPictures"]


@dataclass(frozen=True)
class NextPixel:
    """The level of the next pixel, at each place of a picture: a model that only looks back writes pictures row by row.

    Args:
        dropout: on the vectors that are scored.
    """

    targets: ClassVar[TargetName] = "label"
    corpus_metrics: ClassVar[tuple[CorpusMetric, ...]] = NextToken.corpus_metrics

    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_numbers("task", self, "dropout", least=0, below=1)


@dataclass(frozen=True)
class WrittenPictures:
    """Pictures like those of the data, written by a generator that learns against a discriminator (hinge loss).

    Args:
        judge: folder of a run of pixels with labels, as `regard train clothes-cnn` makes, by whose features pictures are compared
            with those of the data (`fid`), and by whose labels it is told whether they show what they should (`agreement`). It is
            never trained here. Empty for none: neither is computed.
        discriminator_rate: how many times the learning rate of the generator the discriminator learns with.
        samples: how many pictures the sheet has that is drawn after each validation.
    """

    targets: ClassVar[TargetName] = "label"

    judge: str = ""
    discriminator_rate: float = 4.0
    samples: int = 60

    def __post_init__(self) -> None:
        check_numbers("task", self, "samples", least=1)
        check_numbers("task", self, "discriminator_rate", least=0)
