"""A bar for the whole training, and one line for each epoch."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from regard.train.learner import Learner
from regard.train.recorder import Recorder

__all__ = ["Bar"]


class Bar(Callback):
    """Shows on standard error how far a training has come; without a terminal only the lines of the epochs appear.

    Args:
        recorder: which knows the loss of an epoch; it comes before in the list of callbacks.
    """

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("steps"))
        console = Console(stderr=True)
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self.progress = Progress(*columns, *times, console=console, disable=not console.is_terminal, transient=True)
        self.task = self.progress.add_task("training")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        if trainer.is_global_zero:
            self.progress.update(self.task, total=pl_module.total_steps, completed=trainer.global_step)
            self.progress.start()

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self.progress.advance(self.task)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        if trainer.is_global_zero:
            line = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  training: loss {self.recorder.loss:.4g}"
            if pl_module.found:
                line += "  validation: " + "  ".join(f"{name} {value:.4g}" for name, value in pl_module.found.items())
            # Rich would break a long line where there is no terminal.
            self.progress.console.print(line, soft_wrap=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.progress.stop()
