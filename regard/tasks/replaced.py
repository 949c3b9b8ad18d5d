"""Tell which tokens were replaced: ELECTRA (Clark et al. 2020), a generator's guesses of hidden tokens and their detection."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.data.examples import IGNORE
from regard.errors import InputError
from regard.kernels.hashing import hashed
from regard.models.generator import make_generator
from regard.sets import VectorSets
from regard.tasks.base import Task
from regard.tasks.configs import MaskedTokens, ReplacedTokens
from regard.tasks.masked import MaskedTokenTask, transform, written_gaps

if TYPE_CHECKING:
    from jaxtyping import Float, Int
    from torchmetrics import MetricCollection

__all__ = ["Filled", "ReplacedTokenTask", "Replacements", "drawn", "uniform_of"]

_LABELS = ("original", "replaced")


@dataclass(frozen=True, eq=False)
class Filled(Batch):
    """A batch in whose gaps stand a generator's guesses.

    Args:
        scores: `[gaps, vocabulary]` of the generator.
        replaced: `[t]` whether a token is another than the original; None where the original is not known.
    """

    scores: Tensor | None = None
    replaced: Tensor | None = None


class Replacements(NamedTuple):
    """The task's output.

    Args:
        scores: `[gaps, vocabulary]` of the generator. ids: `[t]` what the model has read. logits: `[t]` of having been replaced.
        replaced: `[t]` whether a token was; None where that is not known.
    """

    scores: Tensor
    ids: Tensor
    logits: Tensor
    replaced: Tensor | None


class ReplacedTokenTask(Task):
    """A small generator guesses hidden tokens; of each token of the text with its guesses the model tells whether it was replaced.

        p(replaced at i) = sigmoid(v . gelu(W h_i + c) + b)

    The loss is the mean of the generator's - log p over hidden tokens plus `weight` times the mean cross-entropy of detection over
    all tokens (Clark et al. 2020, section 2). A guess is drawn from the generator's softmax; one that equals the original counts
    as not replaced. Gradients do not pass through what is drawn. The draws are a hash of the passage with its gaps, so that they
    differ from epoch to epoch as the gaps do, and are the same each time in evaluation, in whatever batch. Where nothing is
    known of the original, gaps are filled with the best guess.

    The generator is the model made smaller (`regard.models.generator`), with the model's table E of ids, which gives its scores
    as well, E_w . norm(gelu(V g_i + a)) + b_w. It is the task's, so that what begins with the run takes the model alone.

    Raises:
        InputError: data without `[MASK]`.
    """

    target_kind = "vector"
    monitor = ("roc_auc", "max")

    def __init__(self, config: ReplacedTokens, width: int, encoding: Encoding) -> None:
        super().__init__()
        self.config, self.width, self.encoding = config, width, encoding
        self.masked = MaskedTokenTask(MaskedTokens(True, True, config.epsilon, config.top), width, encoding)
        self.detect = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, 1))
        self.generator: nn.Module = nn.Identity()

    def attach(self, model: nn.Module) -> None:
        """Make the generator, which keeps the model's table of ids.

        Raises:
            InputError: a model that is no `Encoder` of single ids.
        """
        self.masked.attach(model)
        generator = make_generator(model, self.config.generator, self.encoding)
        self.masked.transform = transform(generator.width, self.width, self.config.epsilon)
        self.generator = generator

    def read(self, batch: Batch) -> Filled:
        """The batch whose hidden tokens are the generator's guesses."""
        known = batch.targets is not None
        scores: Tensor = self.masked(self.generator(batch), batch)
        seen, gaps = batch.inputs.values, self.masked.places(batch)
        ids = seen.clone()
        ids[gaps] = drawn(scores.detach(), uniform_of(batch.inputs)[gaps]) if known else scores.argmax(-1)
        replaced = None
        if known:
            targets = batch.target_values("vector")
            replaced = ids != targets.where(targets != IGNORE, seen)
        own = {field.name: getattr(batch, field.name) for field in fields(Batch)}
        return Filled(**own | {"inputs": batch.inputs.with_values(ids)}, scores=scores, replaced=replaced)

    def forward(self, hidden: VectorSets, batch: Batch) -> Replacements:
        """What the generator guessed and what is thought replaced, for a batch that `read` gave."""
        if not isinstance(batch, Filled) or batch.scores is None:
            raise InputError("the batch was not filled by a generator, expected what the task's read(batch) gives")
        logits = self.detect(hidden.values)[:, 0]
        return Replacements(batch.scores, batch.inputs.values, logits, batch.replaced)

    def loss(self, output: Replacements, batch: Batch) -> tuple[Tensor, Tensor]:
        """Their sum over hidden tokens; what detection adds is spread over these."""
        total, count = self.masked.loss(output.scores, batch)
        detection = binary_cross_entropy_with_logits(output.logits.float(), _known(output).float())
        return total + self.config.weight * count * detection, count

    def metrics(self) -> MetricCollection:
        from torchmetrics import MetricCollection

        from regard.tasks.multi_label_scores import MicroF1, RocAuc
        from regard.tasks.scores import LabelAccuracy

        guesses = LabelAccuracy(len(self.masked.entries))
        return MetricCollection({"roc_auc": RocAuc(0.5), "f1": MicroF1(0.5), "guess_accuracy": guesses})

    def score(self, metrics: MetricCollection, output: Replacements, batch: Batch) -> None:
        replaced, hidden = _known(output), batch.target_values("vector")
        for name in ("roc_auc", "f1"):
            metrics[name].update(torch.zeros_like(output.ids), output.logits.double().sigmoid(), replaced)
        metrics["guess_accuracy"].update(output.scores.argmax(-1), hidden[hidden != IGNORE])

    def observe(self, batch: Batch) -> None:
        self.masked.observe(batch)

    def trivial(self, batch: Batch) -> Replacements:
        """The most frequent token is guessed, and no token thought replaced, of which all hidden ones are taken to be."""
        hidden = batch.target_values("vector") != IGNORE
        return Replacements(self.masked.trivial(batch), hidden.long(), -torch.ones(len(hidden)), hidden)

    def predictions(self, output: Replacements, batch: Batch) -> list[dict[str, Any]]:
        """For each set its `gaps`, as the masked language model has them, and its `vectors`: the token that was read,
        "original" or "replaced" as its label, the probability that it was `replaced`, and the target where that is known."""
        layout, places = batch.inputs.layout, self.masked.places(batch)
        targets = batch.target_values("vector") if batch.targets is not None else None
        probabilities, first, written = output.logits.float().sigmoid().tolist(), 0, []
        offsets = layout.offsets.tolist()
        for name, start, end in zip(batch.names, offsets[:-1], offsets[1:], strict=True):
            rows = places[start:end].nonzero()[:, 0].tolist()
            part = output.scores[first : first + len(rows)]
            gaps = written_gaps(rows, part, self.masked.entries, self.config.top)
            vectors: list[dict[str, Any]] = [
                {"token": self.masked.entries[token], "label": _LABELS[p >= 0.5], "replaced": p}
                for token, p in zip(output.ids[start:end].tolist(), probabilities[start:end], strict=True)
            ]
            if targets is not None:
                hidden = targets[start:end][places[start:end]].tolist()
                gaps = [gap | {"target": self.masked.entries[n]} for gap, n in zip(gaps, hidden, strict=True)]
                known = _known(output)[start:end].tolist()
                vectors = [vector | {"target": _LABELS[each]} for vector, each in zip(vectors, known, strict=True)]
            written.append({"name": name, "gaps": gaps, "vectors": vectors})
            first += len(rows)
        return written


def _known(output: Replacements) -> Tensor:
    if output.replaced is None:
        raise InputError("it is not known which tokens were replaced, expected a labeled part")
    return output.replaced


def uniform_of(sets: VectorSets) -> Float[Tensor, " t"]:
    """A number between 0 and 1 for each place of each set of ids, by a hash of all ids of the set and the place.

    >>> sets = VectorSets.pack([torch.tensor([5, 6]), torch.tensor([5, 7, 8])])
    >>> alone = VectorSets.pack([torch.tensor([5, 7, 8])])
    >>> bool((uniform_of(sets)[2:] == uniform_of(alone)).all()), len(set(uniform_of(sets).tolist()))
    (True, 5)
    """
    layout = sets.layout
    own = hashed(sets.values, layout.index)
    # A sum does not depend on which sets are beside, and `hashed` takes its lowest bits.
    together = torch.zeros(len(sets), dtype=torch.int64, device=own.device).index_add_(0, layout.set_of_row, own)
    found: Tensor = (hashed(together[layout.set_of_row], layout.index).double() + 0.5) / 2**32
    return found


@torch.no_grad()
def drawn(scores: Float[Tensor, "n classes"], uniform: Float[Tensor, " n"]) -> Int[Tensor, " n"]:
    """A class from each row's softmax: the first one up to which the probabilities sum to the row's number between 0 and 1.

    >>> drawn(torch.zeros(4, 2), torch.tensor([0.1, 0.4, 0.6, 0.9])).tolist()
    [0, 0, 1, 1]
    """
    sums = scores.double().softmax(-1).cumsum(-1)
    found = torch.searchsorted(sums, (uniform.double() * sums[:, -1])[:, None])[:, 0]
    return found.clamp(max=scores.shape[1] - 1)
