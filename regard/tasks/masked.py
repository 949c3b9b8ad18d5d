"""Guess hidden tokens: the masked language model (Devlin et al. 2019, section 3.1), with scores at hidden places alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.data.examples import IGNORE
from regard.data.masking import MASK, mask_id
from regard.data.segments import Marks
from regard.errors import InputError
from regard.layers.cross_entropy import cross_entropy
from regard.sets import VectorSets
from regard.tasks.base import Task
from regard.tasks.configs import MaskedTokens

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["MaskedTokenTask", "ids_of", "no_gap", "transform", "written_gaps"]


class MaskedTokenTask(Task):
    """score(i, w) = E_w . f(h_i) + b_w, with E the table of the model's ids; f is the identity, or norm(gelu(W h + c)).

    Loss and scores are computed at hidden places alone: those with a target, or where nothing has one, those that hold `[MASK]`.
    Where the data ask about pairs (`data.pairs`), the vector of `[CLS]` has a score for each of the two answers, by two rows of the
    table, and the loss is the mean over hidden tokens plus the mean over pairs.

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
        self.mask, self.marks = mask_id(encoding), Marks.of(encoding)
        # The two last entries, where pairs are asked for.
        self.first_answer = len(self.entries) - len(self.marks.answers if self.marks else ())
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
        scores = linear(vectors, self._tied[0].weight.to(vectors.dtype), self.bias)
        return self._within(scores, ids_of(batch.inputs)[self.places(batch)])

    def _within(self, scores: Tensor, ids: Tensor) -> Tensor:
        """The scores of tokens at tokens, and of answers at `[CLS]`; those of the others are -inf.

        Args:
            ids: `[hidden places]` what stands there.
        """
        if self.marks is None or not self.marks.answers:
            return scores
        answers = torch.arange(len(self.entries), device=ids.device) >= self.first_answer
        return scores.masked_fill((ids == self.marks.cls)[:, None] != answers, -torch.inf)

    def places(self, batch: Batch) -> Tensor:
        """`[t]` True where a token is hidden: those with a target, or where nothing has one, those that hold `[MASK]`."""
        if batch.targets is not None:
            return batch.target_values("vector") != IGNORE
        ids, layout = ids_of(batch.inputs), batch.inputs.layout
        if self.marks is None or not self.marks.answers:
            return ids == self.mask
        second = torch.zeros(len(batch), dtype=torch.int64, device=ids.device)
        second.index_add_(0, layout.set_of_row, batch.inputs.values[:, 1])
        return (ids == self.mask) | (ids == self.marks.cls) & (second > 0)[layout.set_of_row]

    def _hidden(self, batch: Batch) -> Tensor:
        """The targets at hidden places."""
        targets = batch.target_values("vector")
        return targets[targets != IGNORE]

    def loss(self, output: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        targets = self._hidden(batch)
        losses = cross_entropy(output, targets)
        answers = targets >= self.first_answer
        total, count = losses.sum(), torch.tensor(len(targets), device=targets.device)
        if self.first_answer < len(self.entries):
            # The mean over pairs counts as much as that over tokens.
            count = (~answers).sum()
            total = losses[~answers].sum() + losses[answers].sum() * count / answers.sum().clamp(min=1)
        return total, count

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection

        from regard.tasks.scores import LabelAccuracy

        names = ["accuracy"] if self.first_answer == len(self.entries) else ["accuracy", "pair_accuracy"]
        return MetricCollection({name: LabelAccuracy(len(self.entries)) for name in names}, compute_groups=False)

    def score(self, metrics: MetricCollection, output: Tensor, batch: Batch) -> None:
        targets = self._hidden(batch)
        answers, best = targets >= self.first_answer, output.argmax(-1)
        metrics["accuracy"].update(best[~answers], targets[~answers])
        if self.first_answer < len(self.entries):
            metrics["pair_accuracy"].update(best[answers], targets[answers])

    def observe(self, batch: Batch) -> None:
        self.counts.copy_(torch.bincount(self._hidden(batch), minlength=len(self.entries)))

    def trivial(self, batch: Batch) -> Tensor:
        """How often each token, and each answer, was the target in the training part, as scores: the most frequent one wins."""
        targets = self._hidden(batch)
        scores = (self.counts.float() + 1).log().expand(len(targets), -1)
        where = torch.zeros_like(targets)
        if self.marks is not None:
            where[targets >= self.first_answer] = self.marks.cls
        return self._within(scores, where)

    def predictions(self, output: Tensor, batch: Batch) -> list[dict[str, Any]]:
        """For each set its `gaps`, each with its place, the best tokens, and the hidden one where it is known.

        Raises:
            InputError: a text to predict for that has no gap.
        """
        places, offsets = self.places(batch), batch.inputs.layout.offsets.tolist()
        targets = None if batch.targets is None else self._hidden(batch).tolist()
        written, first = [], 0
        for name, start, end in zip(batch.names, offsets[:-1], offsets[1:], strict=True):
            rows = places[start:end].nonzero()[:, 0].tolist()
            if not rows and targets is None:
                raise no_gap(name)
            part = slice(first, first + len(rows))
            gaps = written_gaps(rows, output[part], self.entries, self.config.top)
            if targets is not None:
                gaps = [gap | {"target": self.entries[n]} for gap, n in zip(gaps, targets[part], strict=True)]
            written.append({"name": name} | self._apart(gaps, ids_of(batch.inputs)[start:end].tolist()))
            first += len(rows)
        return written

    def _apart(self, gaps: Sequence[dict[str, Any]], ids: Sequence[int]) -> dict[str, Any]:
        """The gaps of a text, and of a pair its answer; places are counted without `[CLS]`."""
        if self.marks is None:
            return {"gaps": list(gaps)}
        found: dict[str, Any] = {"gaps": []}
        for gap in gaps:
            if ids[gap["place"]] != self.marks.cls:
                found["gaps"].append(gap | {"place": gap["place"] - 1})
                continue
            answers = self.entries[self.first_answer :]
            best = {name: p for name, p in gap["probabilities"].items() if name in answers}
            found["pair"] = {"answer": gap["token"], "probabilities": best}
            found["pair"] |= {"target": gap["target"]} if "target" in gap else {}
        return found


def ids_of(sets: VectorSets) -> Tensor:
    """`[t]` the tokens' ids, the first column where there are more."""
    return sets.values if sets.values.dim() == 1 else sets.values[:, 0]


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
