"""A bar for the whole training, and one line for each epoch."""

from __future__ import annotations

from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from regard.train.learner import Learner

__all__ = ["Bar"]


class Bar(Callback):
    """Shows on standard error how far a training has come; without a terminal only the lines of the epochs appear."""

    def __init__(self) -> None:
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
            found = "  ".join(f"{name} {value:.4g}" for name, value in pl_module.found.items())
            self.progress.console.print(f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  validation: {found}")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self.progress.stop()
