"""Begin from a run: its encoding of inputs and its weights, as far as the new experiment has a place for them.

What belongs to the inputs (vocabularies, the tokenizer, means of bands) is that of the run; what belongs to the targets (labels,
the mean and deviation of numbers) is learned from the new data. Weights are taken by name and shape; a model that is a piece of the
new one, as an encoder is of a model of boxes, gives those of that piece.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from regard.data.encoding import Encoding
from regard.data.segments import SEGMENT
from regard.errors import InputError
from regard.files import read_json
from regard.train.earlier import now_named
from regard.train.experiment import Experiment
from regard.train.folder import digest_of, read_start, read_weights, save
from regard.train.kinds import PIECES
from regard.train.pieces import depths

__all__ = ["START", "Beginning", "Start"]

START = "start.json"
_LISTED = 10


@dataclass(frozen=True)
class Beginning:
    """What a training took from another run, by piece: how many numbers; `start.json` holds it, and the card shows it.

    Args:
        run: the folder of the run, as `training.start` names it.
        checksum: of its weights.
        taken: pieces whose numbers were copied.
        new: pieces, or rows of them, that begin as in any training.
        misfits: pieces that are new because those of the same name have another shape, or stand for other targets.
        unused: pieces of the run that the new model has no place for.
        notes: sentences about the vocabulary, the head and options that differ.
    """

    run: str
    checksum: str
    taken: Counter[str] = field(default_factory=Counter)
    new: Counter[str] = field(default_factory=Counter)
    misfits: Counter[str] = field(default_factory=Counter)
    unused: Counter[str] = field(default_factory=Counter)
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report, one line each; pieces are listed with the number of their weights, at most ten of a kind.

        >>> report = Beginning("runs/a", "", Counter({"embed": 1200, "stack.norm": 30}), new=Counter({"task.head": 10}))
        >>> print(*report.lines(), sep="\\n")
        taken: 1,230 numbers in embed (1,200), stack.norm (30)
        new: 10 numbers in task.head (10)
        """
        kinds = {
            "taken": self.taken,
            "new": self.new,
            "did not fit, and new as well": self.misfits,
            f"not used of {self.run}": self.unused,
        }
        return [f"{kind}: {_listed(pieces)}" for kind, pieces in kinds.items() if pieces.total()] + list(self.notes)

    def check_same(self, folder: Path) -> None:
        """Refuse to begin anew, in the folder of a training that was killed before its first checkpoint, with other weights.

        Raises:
            InputError: the run was changed since, or `start.json` is missing or was altered.
        """
        if Beginning.load(folder).checksum != self.checksum:
            raise InputError(
                f"{self.run} has other weights than when {folder} began with it, and {folder} has no checkpoint yet, expected a "
                "new training"
            )

    def save(self, folder: Path) -> None:
        """Write `start.json`."""
        save(folder / START, json.dumps(vars(self), ensure_ascii=False, indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> Beginning:
        """What `save` wrote.

        Raises:
            InputError: the file is missing or was altered.
        """
        try:
            content = read_json(folder / START)
            counts = {name: Counter(each) for name, each in content.items() if isinstance(each, dict)}
            return cls(**content | counts | {"notes": tuple(content["notes"])})
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{folder / START} is missing or was altered, expected it as training wrote it") from None


@dataclass(frozen=True)
class Start:
    """A run that a training begins with.

    Args:
        run: its folder, as `training.start` names it.
        before: the experiment that it was.
        after: the one that begins with it.
        encoding: what its training part taught it.
        weights: by name, those of the model after `model.`, those of the task after `task.`.
    """

    run: str
    before: Experiment
    after: Experiment
    encoding: Encoding
    weights: dict[str, Tensor]

    @classmethod
    def open(cls, experiment: Experiment, folder: Path) -> Start:
        """The run that `training.start` of an experiment names; `folder` is where that experiment is written.

        Raises:
            InputError: it is no run folder, or the one being written; it was altered; its model, or how its inputs were read,
                is of another kind. The sentence names both sides.
        """
        run = experiment.training.start
        if Path(run).resolve() == folder.resolve():
            raise InputError(f"training.start is {run!r}, the folder of the new run itself, expected another run")
        before = read_start(run)
        _check_kinds(run, before, experiment)
        try:
            encoding, weights = Encoding.load(run), now_named(read_weights(Path(run), before))
        except InputError as error:
            raise InputError(f"training.start is {run!r}, and {error}") from None
        piece = PIECES.get(_types(before, experiment))
        if piece:
            weights = {
                f"model.{piece}.{name.removeprefix('model.')}" if name.startswith("model.") else name: value
                for name, value in weights.items()
            }
        return cls(run, before, experiment, encoding, weights)

    def extended(self, own: Encoding) -> Encoding:
        """The run's encoding of inputs with the targets of `own`, the encoding that the new training part alone gives.

        A vocabulary that no learned tokenizer belongs to continues after the run's last entry with the entries that only `own` has.
        Where vectors can lie, and what edges carry, is that of the new data.

        Raises:
            InputError: inputs of another kind: other columns of ids, another width, another number of coordinates.
        """
        before = self.encoding
        for what, there, here in (
            # Of a run that read pairs, the segments are left.
            (
                "columns of ids",
                [name for name in before.columns if name in own.columns or name != SEGMENT],
                list(own.columns),
            ),
            ("numbers per vector", before.width, own.width),
            ("coordinates per vector", before.grid.coords, own.grid.coords),
            ("learned tokenizers", int(bool(before.tokenizer)), int(bool(own.tokenizer))),
            ("band means", len(before.band_mean), len(own.band_mean)),
        ):
            if there != here:
                raise InputError(
                    f"training.start is {self.run!r}, whose inputs have {there or 'no'} {what}, and the new data have "
                    f"{here or 'no'} {what}, expected the same"
                )
        grows = not own.tokenizer
        return replace(
            own,
            columns={name: _joined(before.columns[name], each if grows else ()) for name, each in own.columns.items()},
            characters=_joined(before.characters, own.characters) if own.characters else (),
            band_mean=before.band_mean,
            tokenizer=before.tokenizer,
            segmentation=own.segmentation if grows else before.segmentation,
        )

    def give(self, model: nn.Module, task: nn.Module, encoding: Encoding) -> Beginning:
        """Copy the weights into a new model and its task, and say what was copied.

        A module's tensors are copied where their names and shapes agree, all or none; a table of embeddings that became longer
        takes the rows of the entries that the run knows. The head is copied only where its outputs mean the same: the same labels
        in the same order, or numbers with the same mean and deviation, and the same loss. What a task counts while training is
        never copied. A new piece that can pass on its input unchanged (`pass_on`) does so, so that what follows it finds the
        vectors that it knows.

        Raises:
            InputError: nothing of the model fits.
        """
        report, frozen = Beginning(self.run, digest_of(self.weights)), Counter[str]()
        own = {f"model.{name}": value for name, value in model.state_dict().items()}
        own |= {f"task.{name}": value.data for name, value in task.named_parameters()}
        kept = {f"model.{name}" for name, each in model.named_parameters() if not each.requires_grad}
        kept |= {f"task.{name}" for name, each in task.named_parameters() if not each.requires_grad}
        fitting = self._fitting(model, own, encoding)
        for name, value in own.items():
            piece, taken = _piece(name), 0
            if name in fitting:
                taken = self.weights[name].numel()
                (value[: len(self.weights[name])] if value.dim() else value).copy_(self.weights[name])
            report.taken[piece] += taken
            kind = report.misfits if name in self.weights and not taken else report.new
            kind[piece] += value.numel() - taken
            frozen[piece] += value.numel() - taken if name in kept else 0
        for name in self.weights.keys() - own.keys():
            # Whole numbers are what a task has counted.
            if self.weights[name].is_floating_point():
                report.unused[_piece(name)] += self.weights[name].numel()
        differences = _differences("model", self.before.model, self.after.model)
        _let_through(model, fitting)
        if not any(number and not piece.startswith("task.") for piece, number in report.taken.items()):
            reason = "; ".join(differences) or "no name and shape is the same"
            raise InputError(f"training.start is {self.run!r}, and none of its weights fits the new model: {reason}")
        return replace(report, notes=(*self._notes(encoding, report), *differences, *_frozen(frozen)))

    def _fitting(self, model: nn.Module, own: Mapping[str, Tensor], encoding: Encoding) -> set[str]:
        """The names of the tensors that can be copied, those of a table that became longer included."""
        pairs = [(self.encoding.columns[name], each) for name, each in encoding.columns.items()]
        pairs.append((self.encoding.characters, encoding.characters))
        longer = {(len(before), len(after)) for before, after in pairs if len(after) > len(before) > 0}
        tables = {f"model.{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Embedding)}
        shared = own.keys() & self.weights.keys()
        outside = set() if self._same_head(encoding) else {"task.head"}
        if outside and "none" in (_head(self.before), _head(self.after)):
            # The last block, and what follows it, is a head.
            outside |= {_module(f"model.{name}") for name, depth in depths(model)[0].items() if depth < 2}
        for name in shared:
            there, here = self.weights[name].shape, own[name].shape
            grown = name in tables and (there[0], here[0]) in longer and there[1:] == here[1:]
            if there != here and not grown:
                outside.add(_module(name))
        return {name for name in shared if _module(name) not in outside}

    def _same_head(self, encoding: Encoding) -> bool:
        kinds = [(type(each.task), getattr(each.task, "loss", None), _head(each)) for each in (self.before, self.after)]
        return kinds[0] == kinds[1] and self.encoding.targets == encoding.targets

    def _notes(self, encoding: Encoding, report: Beginning) -> list[str]:
        notes = []
        for name, after in encoding.columns.items():
            before = self.encoding.columns[name]
            more = len(after) - len(before)
            notes.append(f"vocabulary of {name}: {len(before):,} entries of {self.run}, {more:,} of the new data alone")
        if _head(self.after) == "none":
            same = "taken as far as it fits" if self._same_head(encoding) else "new: the targets or the task differ"
            return [*notes, f"the task has no head, and the model's last layer is {same}"]
        if report.taken["task.head"]:
            return [*notes, "the head is taken: the targets are the same"]
        reason = "it has another shape" if self._same_head(encoding) else "the targets or the task differ"
        return [*notes, f"the head is new: {reason}"]


def _check_kinds(run: str, before: Experiment, after: Experiment) -> None:
    """Refuse a model of another type that is no piece of the new one, and data whose options decide otherwise what a vector is."""
    there, here = _types(before, after)
    if there != here and (there, here) not in PIECES:
        pieces = "".join(f" or {inner}" for inner, outer in PIECES if outer == here)
        raise InputError(
            f"training.start is {run!r}, whose model.type is {there}, and here it is {here}, expected the same{pieces}"
        )
    shared = set(getattr(before.data, "input_options", ())) & set(getattr(after.data, "input_options", ()))
    for name in sorted(shared):
        there, here = getattr(before.data, name), getattr(after.data, name)
        if there != here:
            raise InputError(
                f"training.start is {run!r}, whose data.{name} is {there!r}, and here it is {here!r}, expected the same"
            )


def _types(before: Experiment, after: Experiment) -> tuple[str, str]:
    return type(before.model).__name__, type(after.model).__name__


def _let_through(model: nn.Module, fitting: Set[str]) -> None:
    """Let new pieces pass on their input."""
    for name, module in model.named_modules():
        inside = (f"model.{name}.{each}" for each, _ in module.named_parameters())
        if hasattr(module, "pass_on") and fitting.isdisjoint(inside):
            module.pass_on()


def _joined(before: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """The entries of both, the first ones at their places."""
    known = set(before)
    return (*before, *(entry for entry in own if entry not in known))


def _head(experiment: Experiment) -> str:
    return str(getattr(experiment.task, "head", "linear"))


def _module(name: str) -> str:
    return name.rpartition(".")[0]


def _piece(name: str) -> str:
    """What a weight is listed under: its module, or the first numbered one that it lies in.

    >>> [_piece(name) for name in ("model.stack.blocks.0.mixer.out.bias", "model.stack.norm.bias", "task.head.bias")]
    ['stack.blocks.0', 'stack.norm', 'task.head']
    """
    words = name.removeprefix("model.").split(".")
    numbered = [at + 1 for at, word in enumerate(words) if word.isdecimal()]
    return ".".join(words[: numbered[0] if numbered else max(1, len(words) - 1)])


def _differences(section: str, before: Any, after: Any) -> list[str]:
    """A clause for each option of two values that has another value in one of them; those that only one has are left out."""
    clauses = []
    for option in (each for each in fields(after) if hasattr(before, each.name)):
        name, there, here = f"{section}.{option.name}", getattr(before, option.name), getattr(after, option.name)
        if is_dataclass(here) and type(here) is type(there):
            clauses += _differences(name, there, here)
        elif here != there:
            clauses.append(f"{name} is {here!r} here and {there!r} there")
    return clauses


def _frozen(pieces: Counter[str]) -> list[str]:
    return [f"frozen although new: {_listed(pieces)}"] if pieces.total() else []


def _listed(pieces: Mapping[str, int]) -> str:
    full = [f"{piece} ({number:,})" for piece, number in pieces.items() if number]
    more = f" and {len(full) - _LISTED} more" if len(full) > _LISTED else ""
    return f"{sum(pieces.values()):,} numbers in {', '.join(full[:_LISTED])}{more}"
