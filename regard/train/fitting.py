"""The training itself: from an experiment and its encoding to a run directory."""

from __future__ import annotations

import errno
import logging
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.fabric.utilities.warnings import PossibleUserWarning
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.optim.lr_scheduler import LambdaLR

from regard.attention.costs import slow_type
from regard.data.batching import BudgetSampler, loader, measured
from regard.data.encoding import Encoding
from regard.data.examples import Dataset, Listed
from regard.errors import InputError
from regard.models.model import beginners
from regard.tasks.base import Task
from regard.train.begin import Beginning, Start
from regard.train.budget import Budget
from regard.train.card import write_card
from regard.train.checkpoints import AtomicCheckpoints, Checkpoints, newest
from regard.train.corpus_scores import CorpusScores
from regard.train.curves import draw_curves
from regard.train.experiment import Experiment, Training, to_yaml
from regard.train.folder import CONFIG, ENCODING, save, sweep
from regard.train.kinds import build, build_model
from regard.train.learner import Learner
from regard.train.memory import within_memory
from regard.train.opening import let_judge
from regard.train.pieces import decays_of, freeze
from regard.train.progress import Bar
from regard.train.recorder import Best, Recorder, cut_back
from regard.train.scoring import device_of, run, targets_of, trivial_metrics, watched

__all__ = ["train"]


def train(experiment: Experiment, folder: Path, encoding: Encoding, resume: bool, describe: Callable[[], None]) -> None:
    """Train an experiment in a folder that `regard.train.prepared.fit` has checked and claimed.

    Args:
        encoding: what the run has, or what the training part alone gives.
        resume: see `fit`.
        describe: writes what is true before training; called once all that can be checked was.
    """
    seed = experiment.training.seed
    _seed(seed)
    _check_clock(experiment.training)
    begun = resume and _is_begun(folder)
    # What a checkpoint holds has begun already; a killed run without one begins anew.
    fresh = not (begun and newest(folder / "checkpoints")[0])
    start = Start.open(experiment, folder) if fresh and experiment.training.start else None
    if start and not begun:
        encoding = start.extended(encoding)
    parts = _Parts(experiment, encoding)
    with within_memory():
        model = build_model(experiment.model, experiment.task, encoding)
    _say(_slow_precision(experiment.training))
    for piece in beginners(model) if fresh else ():
        _say(piece.begin_training())
    with within_memory():
        task = build(experiment.task, model.width, encoding)
    task.attach(model)
    let_judge(task, experiment)
    watch = watched(task, experiment)
    frozen = freeze(model, task, experiment.optimizer.freeze)
    decays_of(model, task, experiment.optimizer.weight_decays or {})
    beginning = start.give(model, task, encoding) if start else None
    if beginning and begun:
        beginning.check_same(folder)
    task.observe(targets_of(parts.train))
    if _rank() == 0:
        _rehearse(model, task, parts, experiment.training)
    # Dropout differs between processes, the initial weights do not.
    _seed(seed + 1_000_003 * _rank())
    learner: Learner = task.learner(Learner)(model, task, experiment, parts.steps)
    learner.check_streams(parts.train)
    if _rank() == 0:
        describe()
        if not begun:
            _describe(experiment, encoding, beginning, folder)
    best, recorder = _train(learner, parts, folder, resume, watch)
    if _rank() == 0:
        first = experiment.training.corpus_examples or None
        trivial = trivial_metrics(task.cpu(), targets_of(parts.validation), learner.corpus, first)
        draw_curves(folder, watch[0], trivial)
        trained = {
            "parameters": sum(parameter.numel() for parameter in learner.parameters()),
            "frozen": frozen,
            "steps": learner.global_step,
            "epoch": best.epoch,
            "seconds": round(recorder.seconds, 1),
            "device": f"{device_of(experiment.training).type} x {_ranks()}",
            "threads": experiment.training.threads or torch.get_num_threads(),
        }
        lines = Beginning.load(folder).lines() if experiment.training.start else []
        write_card(folder, experiment, trained, best.found, trivial, lines)


def _check_clock(training: Training) -> None:
    """Refuse a budget in minutes where several processes train."""
    if training.minutes and _ranks() > 1:
        raise InputError(f"training.minutes is set and {_ranks()} processes train, expected one: their clocks differ")


def _say(lines: Sequence[str] | None) -> None:
    """Tell what a piece of the model began with, once for all processes."""
    if lines and _rank() == 0:
        print(*lines, sep="\n", file=sys.stderr)


def _slow_precision(options: Training) -> list[str]:
    slow = None if options.precision == "32" else slow_type(torch.bfloat16, device_of(options).type)
    return [f"training.precision is {options.precision}, and {slow}"] if slow else []


def _describe(experiment: Experiment, encoding: Encoding, beginning: Beginning | None, folder: Path) -> None:
    """Write what a run is before it is trained; the encoding's last file says that it has begun."""
    save(folder / CONFIG, to_yaml(experiment))
    if beginning:
        print(f"The training begins with {beginning.run}", *beginning.lines(), sep="\n  ", file=sys.stderr)
        beginning.save(folder)
    encoding.save(folder)


class _Parts:
    """The training and the validation part, with their batches."""

    def __init__(self, experiment: Experiment, encoding: Encoding) -> None:
        options = experiment.training
        self.train: Dataset = experiment.data.training(encoding)
        self.validation: Dataset = experiment.data.part("validation", encoding)
        for name, part in (("training", self.train), ("validation", self.validation)):
            if not len(part):
                raise InputError(f"the {name} part is empty, expected at least one example")
        place = {"rank": _rank(), "ranks": _ranks()}
        lengths, budget = measured(self.train, options.batch_vectors, _ranks())
        # Segments of streams come in their order.
        drawn = not hasattr(self.train, "streams")
        self.order = BudgetSampler(lengths, budget, seed=options.seed, shuffle=drawn, **place)
        lengths, budget = measured(self.validation, options.batch_vectors, _ranks())
        fixed = BudgetSampler(lengths, budget, seed=0, shuffle=False, **place)
        self.loaders = loader(self.train, self.order, options.workers), loader(self.validation, fixed, 0)
        self.steps = len(self.order) * options.epochs


def _rehearse(model: nn.Module, task: Task, parts: _Parts, options: Training) -> None:
    """Run the longest example of each part once: a mismatch of data, model and task is reported before anything is written."""
    for part in (parts.train, parts.validation):
        lengths = part.lengths
        longest = Listed([part[max(range(len(part)), key=lengths.__getitem__)]])
        for batch, output in run(model, task, longest, options, answers=False):
            task.loss(output, batch)
    model.train()
    task.train()


def _is_begun(folder: Path) -> bool:
    return (folder / ENCODING[-1]).is_file()


def _train(
    learner: Learner, parts: _Parts, folder: Path, resume: bool, watch: tuple[str, str]
) -> tuple[Best, Recorder]:
    options = learner.experiment.training
    checkpoint, state = newest(folder / "checkpoints") if resume else (None, {})
    if resume and _rank() == 0:
        sweep(folder)
        cut_back(folder, state.get("global_step", 0))
    best, recorder = Best(folder, options, watch), Recorder(folder, options.log_every)
    callbacks: list[Callback] = [
        _Epochs(parts.order, options),
        recorder,
        best,
        Checkpoints(folder / "checkpoints", options.checkpoint_every),
    ]
    if learner.corpus:
        callbacks.append(CorpusScores(parts.validation, learner.corpus, options))
    if options.minutes:
        # After what sets `should_stop` by the validation.
        callbacks.append(Budget(options.minutes))
    if options.progress:
        callbacks.append(Bar(recorder))
    if state:
        # The sampler must know the epoch before Lightning asks for the first batch.
        parts.order.set_epoch(state["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"])
    with _quiet(), _plain_errors(folder), _threads(options.threads):
        trainer = _trainer(options, folder, callbacks, clips=learner.automatic_optimization)
        trainer.fit(learner, *parts.loaders, ckpt_path=checkpoint, weights_only=True)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    return best, recorder


def _trainer(options: Training, folder: Path, callbacks: list[Callback], clips: bool) -> lightning.Trainer:
    gpu = device_of(options).type == "cuda"
    if options.device == "cuda" and not gpu:
        raise InputError("training.device is 'cuda', but torch finds no GPU here, expected one, or 'auto' or 'cpu'")
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return lightning.Trainer(
        accelerator="gpu" if gpu else "cpu",
        devices=local,
        num_nodes=_ranks() // local,
        strategy=DDPStrategy(process_group_backend="nccl" if gpu else "gloo") if _ranks() > 1 else "auto",
        max_epochs=options.epochs,
        # A learner that steps its optimizers itself clips their gradients itself.
        gradient_clip_val=(options.clip or None) if clips else None,
        check_val_every_n_epoch=options.validate_every,
        callbacks=callbacks,
        plugins=[AtomicCheckpoints()],
        default_root_dir=folder,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


class _Epochs(Callback):
    """Tell the sampler which epoch starts, and Lightning whether to validate at its end."""

    def __init__(self, order: BudgetSampler, options: Training) -> None:
        self.order, self.options = order, options

    def on_train_epoch_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        self.order.set_epoch(trainer.current_epoch)
        self._validate(trainer)

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        # A training resumed in the middle of an epoch gets no `on_train_epoch_start`.
        self._validate(trainer)
        # A checkpoint holds the next step's rate, which is another one where more epochs are asked for.
        for config in trainer.lr_scheduler_configs:
            schedule = config.scheduler
            if isinstance(schedule, LambdaLR):
                for group, base, factor in zip(
                    schedule.optimizer.param_groups, schedule.base_lrs, schedule.lr_lambdas, strict=True
                ):
                    group["lr"] = base * factor(schedule.last_epoch)

    def _validate(self, trainer: lightning.Trainer) -> None:
        last = trainer.current_epoch + 1 == self.options.epochs
        trainer.check_val_every_n_epoch = 1 if last else self.options.validate_every


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence Lightning's advice, and the warning of metrics in a process that had no example."""
    logs = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PossibleUserWarning)
            warnings.filterwarnings("ignore", ".isinstance.treespec, LeafSpec.. is deprecated")
            warnings.filterwarnings("ignore", "The ``compute`` method of metric .* was called before")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


@contextmanager
def _plain_errors(folder: Path) -> Iterator[None]:
    """Report a disk that fills up while events are written as an `InputError`, as `save` does.

    Lightning turns an interrupt into an exit; the caller of `fit` gets the interrupt.
    """
    try:
        yield
    except SystemExit as ending:
        if isinstance(ending.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        raise
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(f"{folder} cannot be written to: {error.strerror}") from None


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _seed(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def _ranks() -> int:
    return int(os.environ.get("WORLD_SIZE", "1"))
