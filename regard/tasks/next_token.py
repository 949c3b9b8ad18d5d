"""The next id at every place: a language model that only looks back, scored by the model's own table of ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from regard.data.batch import Batch
from regard.data.encoding import Encoding, Labels
from regard.data.tokenizer import UNKNOWN
from regard.errors import InputError
from regard.layers.cross_entropy import cross_entropy
from regard.layers.dropout import Dropout
from regard.layers.embed import Embed
from regard.models.model import Model
from regard.sets import VectorSets
from regard.tasks.base import Task
from regard.tasks.configs import NextToken

if TYPE_CHECKING:
    from jaxtyping import Float
    from torchmetrics import MetricCollection

__all__ = ["NextTokenTask"]


class NextTokenTask(Task):
    """p(x_(i+1) = w | x_1, ..., x_i) = softmax(E h_i)_w, with E the table of the model's ids.

    The loss is - log p in nats, at all places; `nats` is its mean, and exp(nats) the perplexity.

    Raises:
        InputError: data whose targets are not their own ids.
    """

    counts: Tensor
    target_kind = "vector"
    monitor = ("nats", "min")

    def __init__(self, config: NextToken, width: int, encoding: Encoding) -> None:
        super().__init__()
        self.config, self.entries = config, self._entries(encoding)
        self.dropout = Dropout(config.dropout)
        self.register_buffer("counts", torch.zeros(len(self.entries), dtype=torch.int64))
        # In a tuple, so that the table is no parameter of two modules.
        self._tied: tuple[Embed, ...] = ()

    def _entries(self, encoding: Encoding) -> tuple[str, ...]:
        """What the ids stand for that may come."""
        columns, targets = list(encoding.columns.values()), encoding.targets
        if not isinstance(targets, Labels) or columns != [targets.names]:
            raise InputError(
                f"the task guesses which id comes next, and the targets are {encoding.described_targets}, expected the ids of "
                "the data themselves, as data of the type RunningText have"
            )
        return targets.names

    def attach(self, model: nn.Module) -> None:
        """Take the table of the model's ids, which the model keeps.

        Raises:
            InputError: a model that looks ahead, or without such a table.
        """
        if not isinstance(model, Model):
            raise InputError(
                f"the task guesses which id comes next, and the model is no Encoder but {type(model).__name__}"
            )
        if model.context[1] > 0:
            raise InputError(
                "the task guesses which id comes next, and the model looks at later ones, expected one that only looks back, "
                "such as --model.attention 'Attention(pattern=Causal())'"
            )
        table = model.front.embed
        if not isinstance(table, Embed) or table.width != model.width:
            raise InputError(
                "the task scores ids by the model's table of them, and the model has none as wide as its vectors, "
                f"{model.width}, expected one"
            )
        self._tied = (table,)

    @property
    def table(self) -> Float[Tensor, "ids d"]:
        """The model's table of ids.

        Raises:
            InputError: no model was attached.
        """
        if not self._tied:
            raise InputError("the task has no table of ids yet, expected attach(model) before it is called")
        table: Any = self._tied[0].tables[0]
        weight: Tensor = table.weight
        return weight

    def scores(self, hidden: Float[Tensor, "t d"]) -> Float[Tensor, "t vocabulary"]:
        """The logits of the ids that may come next."""
        return linear(hidden, self.table.to(hidden.dtype))

    def forward(self, hidden: VectorSets, batch: Batch) -> Tensor:
        """`[t, vocabulary]`"""
        return self.scores(self.dropout(hidden.values))

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        targets = batch.target_values("vector")
        if len(targets) != len(output):
            raise InputError(
                f"there are {len(targets)} targets for {len(output)} vectors, expected one for each: the model must not join any"
            )
        total = cross_entropy(output, targets).sum()
        return total, torch.tensor(len(targets), device=targets.device)

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection

        from regard.tasks.scores import LabelAccuracy, Nats

        return MetricCollection({"nats": Nats(), "accuracy": LabelAccuracy(len(self.entries))})

    def score(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        targets = batch.target_values("vector")
        if len(targets):
            losses = cross_entropy(output, targets)
            metrics.update(predictions=output.argmax(-1), targets=targets, losses=losses)

    def observe(self, batch: Batch) -> None:
        self.counts.copy_(torch.bincount(batch.target_values("vector"), minlength=len(self.entries)))

    def trivial(self, batch: Batch) -> Any:
        """How often each id comes in the training part, each counted once more than it does: log frequencies."""
        counts = self.counts.double() + 1
        return (counts / counts.sum()).log().float().expand(len(batch.target_values("vector")), -1)

    def predictions(self, output: Tensor, batch: Batch) -> list[dict[str, Any]]:
        """For each set the mean `nats` of its targets and their number.

        Without targets: `next`, the most probable next tokens, `nats` of the text's own tokens after the first, and how many of
        them are `unknown`, where some are.
        """
        lengths = batch.inputs.layout.lengths.tolist()
        parts = output.float().split(lengths)
        if batch.targets is not None:
            targets = batch.target_values("vector").split(lengths)
            return [
                {"name": name, "nats": float(cross_entropy(scores, own).mean()), "targets": len(own)}
                for name, scores, own in zip(batch.names, parts, targets, strict=True)
            ]
        ids = batch.inputs.values.split(lengths)
        return [self._continued(*each) for each in zip(batch.names, parts, ids, strict=True)]

    def _continued(self, name: str, scores: Tensor, ids: Tensor) -> dict[str, Any]:
        written: dict[str, Any] = {"name": name, "next": self._best(scores[-1])}
        if len(ids) > 1:
            written["nats"] = float(cross_entropy(scores[:-1], ids[1:]).mean())
        unknown = int((ids == self.entries.index(UNKNOWN)).sum())
        return written | ({"unknown": unknown} if unknown else {})

    def _best(self, scores: Tensor) -> dict[str, float]:
        values, ids = scores.softmax(-1).topk(min(self.config.top, len(self.entries)))
        return {self.entries[n]: p for n, p in zip(ids.tolist(), values.tolist(), strict=True)}

    def ids_of(self, tokens: Sequence[str]) -> list[int]:
        """The ids of some tokens.

        Raises:
            InputError: tokens that the training part lacks.
        """
        known = {entry: n for n, entry in enumerate(self.entries) if entry != UNKNOWN}
        lacking = list(dict.fromkeys(token for token in tokens if token not in known))
        if lacking:
            more = f" and {len(lacking) - 10} more" if len(lacking) > 10 else ""
            raise InputError(
                f"the prompt has {', '.join(map(repr, lacking[:10]))}{more}, which the training part lacks, expected some of its "
                f"{len(known)} characters"
            )
        return [known[token] for token in tokens]
