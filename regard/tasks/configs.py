"""The options of each task; nothing here needs torch. `regard.train.kinds` says which module each makes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf, nan
from typing import Any, ClassVar, Literal

from regard.data.examples import TargetName
from regard.errors import InputError, check_numbers, nearest
from regard.tasks.average_precision import BOX_METRICS
from regard.tasks.corpus import CorpusMetric
from regard.tasks.text_scores import TEXT_SCORES

__all__ = [
    "MaskedTokens",
    "MultiLabel",
    "NextToken",
    "PerPairLabel",
    "PerSetBoxes",
    "PerSetLabel",
    "PerSetNumber",
    "PerSetSequence",
    "PerVectorLabel",
    "PerVectorNumber",
    "ReplacedTokens",
    "named_weights",
]

Pool = Literal["mean", "sum", "max", "statistics", "attention", "multi_head", "attentive_statistics", "first"]


def _hits(prediction: Mapping[str, Any]) -> tuple[int, int] | None:
    """How many predicted labels are right, and how many labels are predicted or there."""
    if "target" not in prediction:
        return None
    chosen = set(prediction["labels"]) - set(prediction.get("gaps", ()))
    return len(chosen & set(prediction["target"])), len(chosen) + len(prediction["target"])


def _micro_f1(records: Sequence[tuple[int, int]]) -> float:
    total = sum(both for _, both in records)
    return 2 * sum(hits for hits, _ in records) / total if total else nan


HeadName = Literal["linear", "none"]


def _check_head(options: Any) -> None:
    """Refuse options of a head that there is none of."""
    for name, without in (("dropout", 0.0), ("hidden", 0), ("loss", "cross_entropy")):
        value = getattr(options, name, without)
        if options.head == "none" and value != without:
            raise InputError(
                f"task.head is 'none' and task.{name} is {value!r}, expected {without!r}: the vectors are the outputs as they are"
            )


ClassWeights = Literal["balanced"] | dict[str, float] | None


def _check_weights(weights: ClassWeights) -> None:
    for name, weight in weights.items() if isinstance(weights, dict) else ():
        if not 0 <= weight < inf:
            raise InputError(f"task.class_weights has {name!r}: {weight}, expected a finite number of at least 0")


def named_weights(weights: ClassWeights, labels: Sequence[str]) -> list[float] | None:
    """The weight of each label where `class_weights` names some, 1 for the others.

    Raises:
        InputError: a name that is no label, or weights that are all 0.
    """
    if not isinstance(weights, dict):
        return None
    for name in weights:
        if name not in labels:
            raise InputError(f"task.class_weights names {name!r}, which is no label: {nearest(name, labels)}")
    chosen = [weights.get(name, 1.0) for name in labels]
    if not any(chosen):
        raise InputError("task.class_weights is 0 for every label, expected at least one to learn")
    return chosen


@dataclass(frozen=True)
class PerVectorLabel:
    """One label for each vector: part of speech of a word, topic of a node.

    Args:
        class_weights: of the mean over the losses of targets, by their label: "balanced" is (targets / (labels * targets of the
            label)) of the training part; {spam: 5, ham: 1} weighs by name, other labels by 1.
        label_smoothing: this much of each target's probability is spread evenly over all classes.
        dropout: on the vectors that enter the head.
        head: "linear" maps the vectors to one number per label; with "none" they are these numbers already, as the last layer of a
            graph network then gives them, or as `model.width` says.
        top: how many labels a written prediction gives a probability for.
        roc_auc: whether the metrics have the area under the ROC curve, which there is for two labels.
    """

    targets: ClassVar[TargetName] = "label"

    class_weights: ClassWeights = None
    label_smoothing: float = 0.0
    dropout: float = 0.0
    head: HeadName = "linear"
    top: int = 5
    roc_auc: bool = False

    def __post_init__(self) -> None:
        check_numbers("task", self, "label_smoothing", "dropout", least=0, below=1)
        _check_weights(self.class_weights)
        _check_head(self)
        check_numbers("task", self, "top", least=1)


@dataclass(frozen=True)
class PerSetLabel:
    """One label for each set: the digit in a picture, the speaker of an utterance.

    Args:
        pool: how the vectors of a set become one.
        hidden: width of a layer between pooling and classes, whose outputs are the set's embedding; 0 means none.
        loss: "cross_entropy", behind a ReLU where there is a hidden layer, or "am_softmax": the classes' scores are scaled
            cosines, and the target's must win by a margin.
        scale: what the cosines of "am_softmax" are multiplied with.
        margin: by how much the target's cosine must be larger.
        margin_warm_up: steps over which the margin grows linearly from 0.
        class_weights: of the mean over the losses of targets, by their label: "balanced" is (targets / (labels * targets of the
            label)) of the training part; {spam: 5, ham: 1} weighs by name, other labels by 1.
        label_smoothing: this much of each target's probability is spread evenly over all classes.
        dropout: on the vectors that enter the head.
        head: "linear" maps the vectors to one number per label; with "none" they are these numbers already, as the last layer of a
            graph network then gives them, or as `model.width` says.
        top: how many labels a written prediction gives a probability for.
        roc_auc: whether the metrics have the area under the ROC curve, which there is for two labels.
    """

    targets: ClassVar[TargetName] = "label"

    pool: Pool = "mean"
    hidden: int = 0
    loss: Literal["cross_entropy", "am_softmax"] = "cross_entropy"
    scale: float = 30.0
    margin: float = 0.2
    margin_warm_up: int = 0
    class_weights: ClassWeights = None
    label_smoothing: float = 0.0
    dropout: float = 0.0
    head: HeadName = "linear"
    top: int = 5
    roc_auc: bool = False

    def __post_init__(self) -> None:
        check_numbers("task", self, "label_smoothing", "dropout", least=0, below=1)
        _check_weights(self.class_weights)
        check_numbers("task", self, "hidden", "margin_warm_up", "scale", least=0)
        check_numbers("task", self, "margin", least=0, below=2)
        _check_head(self)
        check_numbers("task", self, "top", least=1)


@dataclass(frozen=True)
class PerPairLabel:
    """One label for each pair of sets: whether one text cites the other.

    Args:
        pool: how the vectors of each set become one.
        hidden: width of the layer between both pooled vectors and the classes.
        class_weights: of losses by their label: "balanced", or by name such as {spam: 5, ham: 1}, as in `PerSetLabel`.
        label_smoothing: of each target's probability, spread evenly over all classes.
        dropout: on the pooled vectors.
        top: how many labels a written prediction gives a probability for.
        roc_auc: whether the metrics have the area under the ROC curve, of two labels.
    """

    targets: ClassVar[TargetName] = "label"
    head: ClassVar[HeadName] = "linear"
    pool: Pool = "mean"
    hidden: int = 128
    class_weights: ClassWeights = None
    label_smoothing: float = 0.0
    dropout: float = 0.0
    top: int = 5
    roc_auc: bool = False

    def __post_init__(self) -> None:
        check_numbers("task", self, "label_smoothing", "dropout", least=0, below=1)
        _check_weights(self.class_weights)
        check_numbers("task", self, "hidden", "top", least=1)


@dataclass(frozen=True)
class MultiLabel:
    """Several labels at once for each set: the topics of a text, all instruments of a recording.

    Args:
        pool: how the vectors of a set become one.
        threshold: the least probability of a label that is predicted.
        class_weights: of the losses where a label is there: "balanced" is (examples without the label / examples with it) of the
            training part; {fraud: 20} weighs by name, other labels by 1.
        dropout: on the vectors that enter the head.
        head: "linear" maps the vectors to one number per label; with "none" they are these numbers already, as the last layer of a
            graph network then gives them, or as `model.width` says.
    """

    targets: ClassVar[TargetName] = "labels"
    corpus_metrics: ClassVar[tuple[CorpusMetric, ...]] = (CorpusMetric("micro_f1", _hits, _micro_f1),)

    pool: Pool = "mean"
    threshold: float = 0.5
    class_weights: ClassWeights = None
    dropout: float = 0.0
    head: HeadName = "linear"

    def __post_init__(self) -> None:
        check_numbers("task", self, "dropout", least=0, below=1)
        _check_head(self)
        if not 0 < self.threshold <= 1:
            raise InputError(f"task.threshold is {self.threshold}, expected more than 0 and at most 1")
        _check_weights(self.class_weights)


def _nats(prediction: Mapping[str, Any]) -> tuple[float, int] | None:
    """The sum over targets, and their number."""
    if "targets" not in prediction:
        return None
    return prediction["nats"] * prediction["targets"], prediction["targets"]


def _mean_nats(records: Sequence[tuple[float, int]]) -> float:
    total = sum(count for _, count in records)
    return math.fsum(nats for nats, _ in records) / total if total else nan


@dataclass(frozen=True)
class NextToken:
    """The token that comes next, at each place of a text: a language model that only looks back.

    Args:
        dropout: on the vectors that are scored.
        top: how many next tokens a written prediction gives a probability for.
    """

    targets: ClassVar[TargetName] = "label"
    corpus_metrics: ClassVar[tuple[CorpusMetric, ...]] = (
        CorpusMetric("nats", _nats, _mean_nats, higher_is_better=False),
    )

    dropout: float = 0.0
    top: int = 5

    def __post_init__(self) -> None:
        check_numbers("task", self, "dropout", least=0, below=1)
        check_numbers("task", self, "top", least=1)


@dataclass(frozen=True)
class PerVectorNumber:
    """One number for each vector.

    Args:
        loss: squared error, or Huber's, which grows linearly past one standard deviation of the targets.
        dropout: on the vectors that enter the head.
    """

    targets: ClassVar[TargetName] = "number"

    loss: Literal["squared", "huber"] = "squared"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_numbers("task", self, "dropout", least=0, below=1)


@dataclass(frozen=True)
class PerSetNumber:
    """One number for each set.

    Args:
        pool: how the vectors of a set become one.
        loss: squared error, or Huber's, which grows linearly past one standard deviation of the targets.
        dropout: on the vectors that enter the head.
    """

    targets: ClassVar[TargetName] = "number"

    pool: Pool = "mean"
    loss: Literal["squared", "huber"] = "squared"
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_numbers("task", self, "dropout", least=0, below=1)


@dataclass(frozen=True)
class PerSetSequence:
    """A sequence of ids for each set, such as its translation: as long as the model says.

    Args:
        label_smoothing: this much of each target's probability is spread evenly over all ids.
        alignment: weight of a second loss, of the same ids told in order by the vectors that the decoder reads, at places that are
            found while training (connectionist temporal classification): for sounds, where the order of both sides is the same.
        beam: how many hypotheses of a set go on at each step; with 1 the most probable id is taken each time.
        n_best: how many hypotheses a written prediction gives, at most `beam`.
        penalty: what a log probability is divided by: "average" is length^alpha, "wu" ((5 + length) / 6)^alpha.
        alpha: 0 for no penalty.
        longer: a sequence has at most so many ids more than the decoder reads vectors.
        shortest: how many ids come before the end at least.
    """

    corpus_metrics: ClassVar[tuple[CorpusMetric, ...]] = TEXT_SCORES

    label_smoothing: float = 0.1
    alignment: float = 0.0
    beam: int = 1
    n_best: int = 1
    penalty: Literal["average", "wu"] = "average"
    alpha: float = 1.0
    longer: int = 50
    shortest: int = 1

    def __post_init__(self) -> None:
        check_numbers("task", self, "label_smoothing", "alignment", least=0, below=1)
        check_numbers("task", self, "beam", "n_best", least=1)
        check_numbers("task", self, "alpha", "shortest", "longer", least=0)
        if self.n_best > self.beam:
            raise InputError(f"task.n_best is {self.n_best}, expected at most task.beam, which is {self.beam}")


@dataclass(frozen=True)
class PerSetBoxes:
    """A set of labeled boxes for each set: what is in a picture, and where.

    Args:
        loss: of labels: "cross_entropy" over labels and none, or "focal" (Lin et al. 2017), a sigmoid for each label.
        none_weight: of the cross-entropy where a query is matched with no box.
        label_cost: weight of the label where queries are matched with boxes; the loss of labels has the weight 1.
        place_weight: of |b - b'|_1, in the matching and in the loss.
        overlap_weight: of 1 - GIoU(b, b'), in the matching and in the loss.
        threshold: the least score of a box that is counted and drawn; boxes of all scores are written.
    """

    corpus_metrics: ClassVar[tuple[CorpusMetric, ...]] = BOX_METRICS

    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    none_weight: float = 0.1
    label_cost: float = 1.0
    place_weight: float = 5.0
    overlap_weight: float = 2.0
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_numbers("task", self, "none_weight", "label_cost", "place_weight", "overlap_weight", least=0)
        check_numbers("task", self, "threshold", least=0, below=1)


@dataclass(frozen=True)
class MaskedTokens:
    """The hidden tokens of texts, scored by the model's own table of ids.

    Args:
        transform: whether a layer, GELU and a layer norm stand between the model's vectors and the scores, as in BERT.
        bias: whether each token's score has a number of its own added.
        epsilon: of that layer norm.
        top: how many tokens a written prediction gives a probability for.
    """

    transform: bool = False
    bias: bool = True
    epsilon: float = 1e-5
    top: int = 5

    def __post_init__(self) -> None:
        check_numbers("task", self, "epsilon", least=0)
        check_numbers("task", self, "top", least=1)


@dataclass(frozen=True)
class ReplacedTokens:
    """Which tokens of a text are a generator's guesses in the place of hidden ones (ELECTRA, Clark et al. 2020).

    Args:
        generator: width of the generator, of its feed-forward networks and its number of heads, as a share of the model's.
        weight: of the loss of detection, which is added to that of the generator.
        epsilon: of the layer norm before the generator's scores.
        top: how many tokens a written prediction gives a probability for.
    """

    generator: float = 0.25
    weight: float = 50.0
    epsilon: float = 1e-5
    top: int = 5

    def __post_init__(self) -> None:
        check_numbers("task", self, "weight", "epsilon", least=0)
        check_numbers("task", self, "top", least=1)
        if not 0 < self.generator <= 1:
            raise InputError(f"task.generator is {self.generator}, expected a share from above 0 to 1")
