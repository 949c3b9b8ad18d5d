"""Sequences: a set of ids for each set, told one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from regard.data.batch import Batch
from regard.data.encoding import BEGIN, END, Encoding
from regard.data.tokenizer import text_of
from regard.decoding.beam import LengthPenalty, beam
from regard.decoding.stepper import Hypothesis, Limits
from regard.errors import InputError
from regard.models.sequences import DecoderOutput, SequenceModel
from regard.sets import VectorSets
from regard.tasks.alignment import alignment_losses
from regard.tasks.base import Task, other_targets
from regard.tasks.configs import PerSetSequence
from regard.tasks.smoothed import smoothed_cross_entropy, token_scores
from regard.tasks.text_scores import signatures

if TYPE_CHECKING:
    from torchmetrics import MetricCollection

__all__ = ["SequenceTask"]

# Of the most frequent target, which a model that never looks at its input would write, so many ids are kept.
_KEPT = 256
Output = dict[str, Any]


class SequenceTask(Task):
    """Each id told from the set and the ids before it, by cross-entropy with label smoothing; written by beam search.

    While training the model is given the targets before each one (teacher forcing):

        loss = - sum_i (1 - s) log p(y_i | y_<i, x) + s mean_v log p(v | y_<i, x)

    With `alignment` a, the memory tells the ids as well, and the loss is (1 - a) loss - a log p(y | memory) (Kim, Hori and Watanabe
    2017, eq. 8), see `regard.tasks.alignment`.

    `forward` gives the sum of the losses while training, later for each target that is no gap its `losses`, its `nats` (-log p)
    and the `best` id; `answer` adds `hypotheses`, a list of them for each set.
    """

    target_kind = "sets"
    monitor = ("perplexity", "min")
    counts: Tensor
    commonest: Tensor

    def __init__(self, config: PerSetSequence, width: int, encoding: Encoding) -> None:
        super().__init__()
        if not isinstance(encoding.targets, Encoding):
            raise other_targets("sets", encoding.described_targets)
        self.config, self.targets = config, encoding.targets
        self.entries = next(iter(self.targets.columns.values()))
        self.begin, self.end = self.targets.entry(BEGIN), self.targets.entry(END)
        self.register_buffer("counts", torch.zeros(len(self.entries), dtype=torch.int64))
        self.register_buffer("commonest", torch.full((_KEPT,), -1))
        # Not as a part of the task: the model has its own place in files.
        self._attached: list[SequenceModel] = []
        self.align: nn.Linear | None = None

    def attach(self, model: nn.Module) -> None:
        if not isinstance(model, SequenceModel):
            found = type(model).__name__
            raise InputError(f"the task writes sequences and the model is {found}, expected one such as EncoderDecoder")
        self._attached = [model]
        if self.config.alignment:
            self.align = nn.Linear(model.memory_width, len(self.entries))

    @property
    def model(self) -> SequenceModel:
        """The model that writes."""
        if not self._attached:
            raise InputError("the task has no model yet, expected `attach(model)` first")
        return self._attached[0]

    def observe(self, batch: Batch) -> None:
        self.counts.copy_(torch.bincount(_present(batch), minlength=len(self.entries)))
        ids, _ = Counter(tuple(each.tolist()) for each in batch.target_sets.unpack()).most_common(1)[0]
        ids = tuple(n for n in ids if n >= 0)
        self.commonest.fill_(-1)[: len(ids)] = torch.tensor(ids[:_KEPT], dtype=torch.int64)

    def forward(self, hidden: VectorSets, batch: Batch) -> Output:
        if batch.targets is None:
            return {}
        values, targets = hidden.values, batch.target_sets.values
        if values.shape[0] != targets.shape[0]:
            found = f"{values.shape[0]} vectors for {targets.shape[0]} targets"
            raise InputError(f"the model gave {found}, expected one for each: a model such as EncoderDecoder")
        there = (targets >= 0).nonzero()[:, 0]
        if len(there) < len(targets):
            values, targets = values.index_select(0, there), targets[there]
        output, smoothing = self.model.output, self.config.label_smoothing
        aligned = self._aligned(hidden, batch)
        if self.training:
            return {"total": smoothed_cross_entropy(values, output, targets, smoothing), **aligned}
        return token_scores(values, output, targets, smoothing)._asdict() | aligned

    def _aligned(self, hidden: VectorSets, batch: Batch) -> Output:
        """The sum of the losses of alignment, where there is that loss."""
        if self.align is None or not isinstance(hidden, DecoderOutput):
            return {}
        memory = hidden.memory
        written = [ids[(ids >= 0) & (ids != self.end)] for ids in batch.target_sets.unpack()]
        # No text has the begin in it, so that it can stand for the blank.
        losses = alignment_losses(memory.with_values(self.align(memory.values)), written, self.begin, batch.names)
        return {"aligned": losses.sum()}

    def answer(self, hidden: VectorSets, batch: Batch) -> Output:
        return self(hidden, batch) | {"hypotheses": self.decode(batch, hidden)}

    def validation_answer(self, hidden: VectorSets, batch: Batch) -> Output:
        """With the most probable id each time, whatever the width of the beam."""
        return self(hidden, batch) | {"hypotheses": self.decode(batch, hidden, width=1)}

    def decode(
        self, batch: Batch, hidden: VectorSets | None = None, width: int | None = None
    ) -> list[list[Hypothesis]]:
        """For each set of the batch the `n_best` sequences that the model writes, the best one first; targets are not read.

        Args:
            hidden: what the model gave for the batch, whose memory may have fewer vectors than the inputs.
            width: of the beam, where it is another than the options'.
        """
        config = self.config
        width = width or config.beam
        # Without targets the model gave the memory itself.
        read = hidden.memory if isinstance(hidden, DecoderOutput) else hidden or batch.inputs
        longest = read.layout.lengths + config.longer
        if self.model.longest is not None:
            longest = longest.clamp(max=self.model.longest)
        limits = Limits(self.begin, self.end, (0, self.begin), longest, config.shortest)
        stepper = self.model.stepper(replace(batch, targets=None, target_kind=None))
        return beam(stepper, limits, width, min(width, config.n_best), LengthPenalty(config.penalty, config.alpha))

    def loss(self, output: Output, batch: Batch) -> tuple[Tensor, Tensor]:
        targets = _present(batch)
        total = output["total"] if "total" in output else output["losses"].sum()
        if "aligned" in output:
            total = (1 - self.config.alignment) * total + self.config.alignment * output["aligned"]
        return total, torch.tensor(len(targets), device=targets.device)

    def metrics(self) -> MetricCollection:
        # Here, so that a run that only predicts does not load them.
        from torchmetrics import MetricCollection

        from regard.tasks.token_metrics import Perplexity, TokenAccuracy

        return MetricCollection({"perplexity": Perplexity(), "accuracy": TokenAccuracy()})

    def score(self, metrics: MetricCollection, output: Output, batch: Batch) -> None:
        targets = _present(batch)
        # The metrics take no empty tensors.
        if len(targets):
            metrics.update(output["nats"], output["best"] == targets)

    def trivial(self, batch: Batch) -> Output:
        """The frequencies of the training part's ids, each counted once more than it is there, and its most frequent target."""
        targets = _present(batch)
        chances = (self.counts + 1).double()
        nats = (chances.sum() / chances).log()[targets]
        ids = tuple(n for n in self.commonest.tolist() if n >= 0)
        finished = self.end in ids
        found = Hypothesis(ids[: ids.index(self.end)] if finished else ids, 0.0, 0.0, finished)
        best = self.counts.argmax().expand(len(targets))
        return {"losses": nats, "nats": nats, "best": best, "hypotheses": [[found]] * len(batch)}

    def predictions(self, output: Output, batch: Batch) -> list[dict[str, Any]]:
        """One JSON object for each set: `name`, `text`, `log_probability`, `score`; `n_best` where several were asked for."""
        sources = output.get("hypotheses") or [[] for _ in batch.names]
        targets = (
            [None] * len(batch) if batch.targets is None else [each.tolist() for each in batch.target_sets.unpack()]
        )
        texts = batch.target_texts or (None,) * len(batch)
        predictions = []
        for name, found, target, text in zip(batch.names, sources, targets, texts, strict=True):
            prediction: dict[str, Any] = {"name": name}
            if found:
                prediction |= self._written(found[0])
            if self.config.n_best > 1:
                prediction["n_best"] = [self._written(each) for each in found]
            if target is not None:
                # As it stands in the data, since ids may lack some of its characters.
                prediction["target"] = self.text(target) if text is None else text
            predictions.append(prediction)
        return predictions

    def report(self, predictions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """`signatures`: how each of sacreBLEU's numbers was computed."""
        return {"signatures": signatures()}

    def _written(self, found: Hypothesis) -> dict[str, Any]:
        return {
            "text": self.text(found.ids),
            "log_probability": found.log_probability,
            "score": found.score,
            **({} if found.finished else {"finished": False}),
        }

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids, up to the end."""
        until = ids.index(self.end) if self.end in ids else len(ids)
        return text_of([self.entries[n] for n in ids[:until] if n >= 0 and n != self.begin], self.targets)


def _present(batch: Batch) -> Tensor:
    """The targets that are no gaps, one after another."""
    targets = batch.target_sets.values
    return targets[targets >= 0]
