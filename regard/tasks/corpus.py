"""Metrics of a whole part, which are no mean over its targets: BLEU of translations, average precision of boxes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["CorpusMetric", "corpus_metrics"]


@dataclass(frozen=True)
class CorpusMetric:
    """A number that is a function of all predictions of a part.

    The options of a task name theirs in a class attribute, `corpus_metrics: ClassVar[tuple[CorpusMetric, ...]]`. Evaluation
    computes them from the predictions that it writes; `regard compare` computes them again on resampled examples, so what is slow
    belongs into `record`, which sees each prediction once.

    Args:
        name: what tables call it.
        record: what a prediction as the task writes it contributes: sufficient statistics, or what is compared itself; None where
            it has no target.
        value: the metric of some records, at least one; NaN where it is not defined.
        higher_is_better: whether more of it is better.
        package: without which it is not computed, where it needs one.

    >>> longest = CorpusMetric("longest", lambda prediction: len(prediction["text"]), max)
    >>> longest.of([{"text": "a saw"}, {"text": "I"}])
    5.0
    """

    name: str
    record: Callable[[Mapping[str, Any]], Any]
    value: Callable[[Sequence[Any]], float]
    higher_is_better: bool = True
    package: str = ""

    @property
    def installed(self) -> bool:
        """Whether the package is there that it needs."""
        return not self.package or importlib.util.find_spec(self.package) is not None

    def of(self, predictions: Iterable[Mapping[str, Any]]) -> float:
        """The metric of predictions; those without a target are left out."""
        records = [record for record in map(self.record, predictions) if record is not None]
        return float(self.value(records)) if records else float("nan")


def corpus_metrics(options: object) -> tuple[CorpusMetric, ...]:
    """Those that the options of a task name."""
    metrics: tuple[CorpusMetric, ...] = getattr(options, "corpus_metrics", ())
    return metrics
