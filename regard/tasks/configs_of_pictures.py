"""The options of tasks that write pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from regard.data.examples import TargetName
from regard.errors import check_numbers
from regard.tasks.configs import NextToken
from regard.tasks.corpus import CorpusMetric

__all__ = ["NextPixel"]


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
