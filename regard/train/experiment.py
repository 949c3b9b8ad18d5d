"""An experiment as plain values, and its text form: the `config.yaml` of a run, which `regard train --config` reads."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Literal

from regard.data.reader import Reader
from regard.errors import InputError, check_numbers, nearest
from regard.train.earlier import with_moved_options
from regard.train.kinds import KINDS, kind
from regard.train.values import key, named, nested, read_as_written, read_options

__all__ = ["Experiment", "Optimizer", "Training", "by_seed", "changed", "from_yaml", "rooted", "to_yaml"]


@dataclass(frozen=True)
class Optimizer:
    """Adam; weights decay, biases, norms and other vectors do not.

    Args:
        learning_rate: the highest rate, reached after the warm-up.
        weight_decay: of matrices, see `decay`.
        weight_decays: that of the matrices of some pieces, by the names that `freeze` knows, such as {stack.layers.0: 0.0005}; of
            several names that fit the longest one counts
        decay: "decoupled" takes learning rate * weight_decay of each weight off it at each step (AdamW, Loshchilov and
            Hutter 2019); "coupled" adds weight_decay * weight to its gradient (an L2 penalty).
        warm_up: steps over which the rate rises linearly from 0.
        schedule: after the warm-up the rate falls to 0 along half a cosine or a line, or stays constant.
        betas: how much of the past the averages of gradients and of their squares keep per step.
        decay_embeddings: whether rows of embedding tables decay as well.
        freeze: what keeps its weights: names of pieces joined by "+", such as front.embed+stack.blocks.0, those of the task after
            "task."; a number n means the lowest n blocks and all that comes before them. Dropout stays on in frozen pieces
        layer_decay: of n blocks, block b = 0, ..., n - 1 learns at rate * layer_decay^(n - b), what comes before the blocks at
            rate * layer_decay^(n + 1), and what follows them at the full rate (Clark et al. 2020, ELECTRA; exponents of BEiT)
    """

    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    weight_decays: dict[str, float] | None = None
    decay: Literal["decoupled", "coupled"] = "decoupled"
    warm_up: int = 100
    schedule: Literal["cosine", "linear", "constant"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.98)
    decay_embeddings: bool = False
    freeze: str = ""
    layer_decay: float = 1.0

    def __post_init__(self) -> None:
        check_numbers("optimizer", self, "learning_rate", "weight_decay", "warm_up", least=0)
        for name, decay in (self.weight_decays or {}).items():
            if not 0 <= decay < math.inf:
                raise InputError(
                    f"optimizer.weight_decays has {name!r}: {decay}, expected a finite number of at least 0"
                )
        if not 0 < self.layer_decay <= 1:
            raise InputError(f"optimizer.layer_decay is {self.layer_decay}, expected more than 0 and at most 1")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"optimizer.betas is {self.betas}, expected two numbers from 0 to below 1")


@dataclass(frozen=True)
class Training:
    """How long to train, on how much at a time, and what to write down on the way.

    Args:
        epochs: passes over the training part.
        batch_vectors: a batch takes sets until it holds this many vectors.
        seed: of the initial weights, the order of the examples and dropout.
        clip: the largest norm of the gradient; 0 leaves it as it is.
        precision: "bf16-mixed" computes in bfloat16 and keeps float32 weights.
        validate_every: epochs between two validations; the last epoch always has one.
        keep: the weights of the best validation, or those of the last epoch.
        average: validate and write the mean of the weights at the last so many validations; 0 or 1 for the last weights.
        watch: the validation metric that says which weights are the best: loss, or one that the task computes, such as accuracy or
            macro_f1; empty for the task's own
        patience: stop after this many validations without a better one; 0 never stops early.
        corpus_every: validations between two that also write predictions, greedily where they are sequences, and compute what is
            a metric of a whole part, such as bleu; the last one always does, where 0 never does
        corpus_examples: how many examples, the first of the validation part, these metrics are of; 0 for all
        checkpoint_every: steps between two checkpoints within an epoch; 0 writes one at the end of each epoch only.
        log_every: steps between two rows of `metrics.csv`.
        workers: processes that read examples; 0 reads in the training process.
        threads: of the processor while training; 0 takes all that torch finds. One is quicker where every step is small.
        device: where to compute; "auto" takes a GPU where there is one.
        progress: whether to show a progress bar.
        start: folder of a run whose weights, and whose encoding of inputs, training begins with; the new run does without it once
            it is trained. Empty for none
        minutes: of training, over which the learning rate falls and after which training ends, whatever `epochs` says; then its
            numbers depend on the speed of the machine. 0 for no such bound
        layer_rows: in validation, evaluation and predictions each layer is computed for so many nodes of a larger graph at a time,
            which takes less memory and gives the same; 0 for all at once
    """

    epochs: int = 20
    batch_vectors: int = 4096
    seed: int = 0
    clip: float = 1.0
    precision: Literal["32", "bf16-mixed"] = "32"
    validate_every: int = 1
    keep: Literal["best", "last"] = "best"
    average: int = 0
    watch: str = ""
    patience: int = 0
    corpus_every: int = 0
    corpus_examples: int = 0
    checkpoint_every: int = 200
    log_every: int = 20
    workers: int = 0
    threads: int = 0
    device: Literal["auto", "cpu", "cuda"] = "auto"
    progress: bool = True
    start: str = ""
    minutes: float = 0.0
    layer_rows: int = 0

    def __post_init__(self) -> None:
        check_numbers("training", self, "epochs", "batch_vectors", "log_every", "validate_every", least=1)
        check_numbers("training", self, "seed", least=0, below=2**32)
        check_numbers(
            "training",
            self,
            "minutes",
            "clip",
            "patience",
            "average",
            "corpus_every",
            "corpus_examples",
            "checkpoint_every",
            "workers",
            "threads",
            "layer_rows",
            least=0,
        )
        if self.corpus_examples and not self.corpus_every:
            found = f"training.corpus_examples is {self.corpus_examples} and training.corpus_every 0"
            raise InputError(f"{found}, expected at least 1: the validations between two that compute corpus metrics")


@dataclass(frozen=True)
class Experiment:
    """Everything that decides a training: data, model, task, optimizer, schedule.

    Args:
        recipe: the name of the recipe that it began from.
        data: a reader, which is its own options.
        model: options of a model.
        task: options of a task.
    """

    recipe: str
    data: Reader
    model: Any
    task: Any
    optimizer: Optimizer = field(default_factory=Optimizer)
    training: Training = field(default_factory=Training)


_ALWAYS = ("optimizer", "training")


def by_seed(experiments: Sequence[Experiment]) -> list[list[int]]:
    """The places of experiments that differ in nothing but their seed, together, in the order in which they are named first."""
    groups: dict[str, list[int]] = {}
    for n, experiment in enumerate(experiments):
        same = repr(replace(experiment, training=replace(experiment.training, seed=0)))
        groups.setdefault(same, []).append(n)
    return list(groups.values())


def to_yaml(experiment: Experiment) -> str:
    """The experiment as YAML: `recipe`, then one mapping of options for each section.

    The sections `data`, `model` and `task` say their `type` first.
    """
    import yaml  # type: ignore[import-untyped]

    tree: dict[str, Any] = {"recipe": experiment.recipe}
    for section in KINDS:
        value = getattr(experiment, section)
        kind_name = {} if section in _ALWAYS else {"type": type(value).__name__}
        tree[section] = kind_name | _plain(_options(value))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=1 << 16)


def from_yaml(text: str, source: str = "the configuration") -> Experiment:
    """The experiment that `to_yaml` wrote; options that are left out take the default of their type.

    Raises:
        InputError: what is no YAML, an unknown section, type or option, or a value of another type than the option's;
            `source` names the text in the sentence.

    >>> from_yaml("recipe: mine\\ndata: {type: Digit}")
    Traceback (most recent call last):
    regard.errors.InputError: the configuration has data.type 'Digit', which is not known: did you mean 'Digits'?
    """
    tree, written = read_as_written(text, source)
    if not isinstance(tree, dict):
        raise InputError(f"{source} holds {named(tree)}, expected the sections recipe, {', '.join(KINDS)}")
    for name in tree:
        if name not in ("recipe", *KINDS):
            raise InputError(f"{source} has an unknown section {named(name)}: {nearest(key(name), ('recipe', *KINDS))}")
    recipe = tree.get("recipe")
    if not isinstance(recipe, str):
        raise InputError(f"{source} has recipe {named(recipe)}, expected a name")
    texts = written if isinstance(written, dict) else {}
    sections = {section: _read_section(section, tree.get(section), texts.get(section), source) for section in KINDS}
    return Experiment(recipe, **sections)


def _read_section(section: str, options: Any, written: Any, source: str) -> Any:
    if options is None and section in _ALWAYS:
        options = {}
    if not isinstance(options, Mapping):
        raise InputError(f"{source} has {section}: {named(options)}, expected a mapping of options")
    options = with_moved_options(section, options)
    if section in _ALWAYS:
        chosen = kind(section, section.capitalize())
    elif "type" in options and not isinstance(options["type"], str):
        raise InputError(f"{source} has {section}.type: {named(options['type'])}, expected a name")
    elif "type" in options:
        chosen = kind(section, options.pop("type"), source)
    else:
        raise InputError(f"{source} has no {section}.type, expected one of {', '.join(KINDS[section])}")
    written = with_moved_options(section, written) if isinstance(written, Mapping) else None
    return read_options(chosen, options, section, source, written)


_PATHS = ("path", "noise.folder", "reverberation.folder", "positions.vectors")


def rooted(experiment: Experiment) -> Experiment:
    """The experiment whose data, and the run that judges it, lie at absolute paths, so that a run does not
    depend on the folder where it was begun.

    >>> from regard.data.text import Texts
    >>> rooted(Experiment("mine", Texts("a.csv"), None, None)).data.path == os.path.abspath("a.csv")
    True
    """
    data: Any = experiment.data
    for name in _PATHS:
        group, _, inner = name.rpartition(".")
        place = getattr(getattr(data, group, None) if group else data, inner, None)
        if isinstance(place, str) and place:
            data = changed(data, {name: os.path.abspath(place)})
    judge = getattr(experiment.task, "judge", "")
    task = changed(experiment.task, {"judge": os.path.abspath(judge)}) if judge else experiment.task
    return replace(experiment, data=data, task=task)


def changed(options: Any, changes: Mapping[str, Any]) -> Any:
    """Options with other values; a name such as `front.step` is an option of a group.

    >>> changed(Optimizer(), {"warm_up": 7}).warm_up
    7
    """
    for name, value in changes.items():
        group, _, inner = name.partition(".")
        options = replace(options, **{group: changed(getattr(options, group), {inner: value}) if inner else value})
    return options


def _options(value: Any) -> dict[str, Any]:
    """The options by name, those of an option's own inside it.

    A whole number in an option for any number is written as one, as it would be read back.
    """
    found: dict[str, Any] = {}
    for each in fields(value):
        option = getattr(value, each.name)
        if nested(each):
            found[each.name] = _options(option)
        else:
            found[each.name] = float(option) if each.type in ("float", float) else option
    return found


def _plain(value: Any) -> Any:
    """The value in YAML's own types."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if is_dataclass(value):
        return repr(value)
    raise TypeError(f"an option of type {type(value).__name__} has no YAML form")
