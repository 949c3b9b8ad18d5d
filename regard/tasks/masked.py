"""Guess hidden tokens: the masked language model (Devlin et al. 2019, section 3.1), with scores at hidden places alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.data.examples import IGNORE
from regard.data.masking import MASK, mask_id
from regard.errors import InputError
from regard.sets import VectorSets
from regard.tasks.base import Task
from regard.tasks.configs import MaskedTokens

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["MaskedTokenTask", "no_gap", "transform", "written_gaps"]


class MaskedTokenTask(Task):
    """score(i, w) = E_w . f(h_i) + b_w, with E the table of the model's ids; f is the identity, or norm(gelu(W h + c)).

    Loss and scores are computed at hidden places alone: those with a target, or where nothing has one, those that hold `[MASK]`.

    Raises:
        InputError: data without `[MASK]`.
    """

    counts: Tensor
    target_kind = "vector"
    monitor = ("accuracy", "max")

    def __init__(self, config: MaskedTokens, width: int, encoding: Encoding) -> None:
        super().__init__()
        self.config = config
        self.entries = next(iter(encoding.columns.values()), ())
        self.mask = mask_id(encoding)
        self.transform = nn.Identity() if not config.transform else transform(width, width, config.epsilon)
        self.bias = nn.Parameter(torch.zeros(len(self.entries))) if config.bias else None
        self.register_buffer("counts", torch.zeros(len(self.entries), dtype=torch.int64))
        self._tied: tuple[nn.Embedding, ...] = ()

    def attach(self, model: nn.Module) -> None:
        """Take the table of the model's ids, which the model keeps.

        Raises:
            InputError: a model without one, or whose table has another width than its vectors.
        """
        size = len(self.entries)
        tables = [each for each in model.modules() if isinstance(each, nn.Embedding) and each.num_embeddings == size]
        if not tables or tables[0].embedding_dim != model.width:
            raise InputError(
                f"the task scores {size:,} tokens by the model's table of ids, expected a model that has one, such as Encoder"
            )
        self._tied = (tables[0],)

    def forward(self, hidden: VectorSets, batch: Batch) -> Tensor:
        """`[hidden places, vocabulary]`"""
        if not self._tied:
            raise InputError("the task has no table of ids yet, expected attach(model) before it is called")
        vectors: Tensor = self.transform(hidden.values[self.places(batch)])
        return linear(vectors, self._tied[0].weight.to(vectors.dtype), self.bias)

    def places(self, batch: Batch) -> Tensor:
        """`[t]` True where a token is hidden: those with a target, or where nothing has one, those that hold `[MASK]`."""
        if batch.targets is not None:
            return batch.target_values("vector") != IGNORE
        return batch.inputs.values == self.mask

    def _hidden(self, batch: Batch) -> Tensor:
        """The targets at hidden places."""
        targets = batch.target_values("vector")
        return targets[targets != IGNORE]

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        targets = self._hidden(batch)
        return cross_entropy(output.float(), targets, reduction="sum"), torch.tensor(
            len(targets), device=targets.device
        )

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection

        from regard.tasks.scores import LabelAccuracy

        return MetricCollection({"accuracy": LabelAccuracy(len(self.entries))})

    def score(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        targets = self._hidden(batch)
        if len(targets):
            metrics.update(output.argmax(-1), targets)

    def observe(self, batch: Batch) -> None:
        self.counts.copy_(torch.bincount(self._hidden(batch), minlength=len(self.entries)))

    def trivial(self, batch: Batch) -> Tensor:
        """How often each token was hidden in the training part, as scores: the most frequent one wins."""
        scores = (self.counts.float() + 1).log()
        return scores.expand(len(self._hidden(batch)), -1)

    def predictions(self, output: Tensor, batch: Batch) -> list[dict[str, Any]]:
        """For each set its `gaps`, each with its place, the best tokens, and the hidden one where it is known.

        Raises:
            InputError: a text to predict for that has no gap.
        """
        places, lengths = self.places(batch), batch.inputs.layout.lengths.tolist()
        targets = None if batch.targets is None else self._hidden(batch).tolist()
        written, first = [], 0
        for name, where in zip(batch.names, places.split(lengths), strict=True):
            rows = where.nonzero()[:, 0].tolist()
            if not rows and targets is None:
                raise no_gap(name)
            part = slice(first, first + len(rows))
            gaps = written_gaps(rows, output[part], self.entries, self.config.top)
            if targets is not None:
                gaps = [gap | {"target": self.entries[n]} for gap, n in zip(gaps, targets[part], strict=True)]
            written.append({"name": name, "gaps": gaps})
            first += len(rows)
        return written


def no_gap(name: str) -> InputError:
    """The error of a text to predict for in which nothing is to be guessed."""
    return InputError(f"the text {name!r} has no {MASK}, expected at least one: the gap to fill")


def written_gaps(places: Sequence[int], scores: Tensor, entries: Sequence[str], top: int) -> list[dict[str, Any]]:
    """What is written of the gaps of one text: the place of each, its best token, and the probabilities of the best ones.

    Args:
        places: of the gaps. scores: `[gaps, vocabulary]`. entries: what each token is called. top: how many tokens are given.

    >>> written_gaps([3], torch.tensor([[0.0, 0.0, 30.0]]), ("a", "b", "c"), 1)
    [{'place': 3, 'token': 'c', 'probabilities': {'c': 1.0}}]
    """
    if not len(places):
        return []
    values, ids = scores.float().softmax(-1).topk(min(top, len(entries)), dim=-1)
    gaps = []
    for place, tokens, probabilities in zip(places, ids.tolist(), values.tolist(), strict=True):
        best = {entries[n]: p for n, p in zip(tokens, probabilities, strict=True)}
        gaps.append({"place": place, "token": entries[tokens[0]], "probabilities": best})
    return gaps


def transform(width: int, out: int, epsilon: float) -> nn.Module:
    """norm(gelu(W h + c)), which is `out` wide."""
    return nn.Sequential(nn.Linear(width, out), nn.GELU(), nn.LayerNorm(out, epsilon))
