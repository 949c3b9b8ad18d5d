"""What a training leaves to read: `metrics.csv`, TensorBoard events, the best weights, and a bar while it runs."""

from __future__ import annotations

import csv
import io
import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from regard.data.sheets import png
from regard.errors import InputError
from regard.train.averaging import RecentWeights
from regard.train.folder import read_config, read_weights, save, save_weights
from regard.train.learner import Learner

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

    from regard.train.experiment import Training

__all__ = ["METRICS", "Best", "Recorder", "cut_back", "read_metrics"]

METRICS = "metrics.csv"


class Recorder(Callback):
    """One row of `metrics.csv` every so many steps (`kind` step: that step's loss) and one at the end of each epoch
    (`kind` epoch: the mean loss of the epoch's targets, and what validation found), and the same as TensorBoard events; and after
    each validation the pictures that the task shows, such as `samples/epoch-0001.png`.

    Rows carry no time, so that a resumed training leaves the very same file.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        self.every = every
        self.sums = torch.zeros(2, dtype=torch.float64)
        self.loss = 0.0
        """The mean loss of the last epoch's targets."""
        self.seconds = 0.0
        self.events: SummaryWriter | None = None
        self._since = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        self.seconds, self._since = self.seconds + time.monotonic() - self._since, time.monotonic()
        return {"sums": self.sums.clone(), "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sums, self.seconds = state_dict["sums"], state_dict["seconds"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.monotonic()
        self.sums = self.sums.to(pl_module.device)
        if trainer.is_global_zero:
            from torch.utils.tensorboard import SummaryWriter

            self.events = SummaryWriter(str(self.folder), purge_step=trainer.global_step + 1)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        assert isinstance(pl_module, Learner)
        self.sums += pl_module.seen
        if trainer.global_step % self.every == 0:
            total, count = pl_module.seen.tolist()
            pl_module.check_finite(total)
            self._row(trainer, "step", pl_module, total / (count or 1), {})

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        total, count = self.sums.tolist()
        self.sums.zero_()
        pl_module.check_finite(total)
        self.loss = total / (count or 1)
        self._row(trainer, "epoch", pl_module, self.loss, pl_module.found)
        if pl_module.found and trainer.is_global_zero:
            self._show(trainer, pl_module)

    def _show(self, trainer: Trainer, learner: Learner) -> None:
        """Write what the task shows into `samples/`, and as TensorBoard events."""
        assert self.events is not None
        for name, pixels in learner.task.shown().items():
            folder = self.folder / name
            folder.mkdir(exist_ok=True)
            save(folder / f"epoch-{trainer.current_epoch + 1:04d}.png", png(pixels))
            form = "HW" if pixels.ndim == 2 else "HWC"
            self.events.add_image(name, pixels, trainer.global_step, dataformats=form)

    def _row(self, trainer: Trainer, kind: str, learner: Learner, loss: float, found: dict[str, float]) -> None:
        if not trainer.is_global_zero:
            return
        row: dict[str, Any] = {"kind": kind, "epoch": trainer.current_epoch + 1, "step": trainer.global_step}
        row |= {"learning_rate": learner.learning_rate(trainer.global_step), "loss": loss}
        row |= {f"validation_{name}": found.get(name, "") for name in learner.names}
        path = self.folder / METRICS
        try:
            fresh = not path.exists() or path.stat().st_size == 0
            with path.open("a", newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, list(row), lineterminator="\n")
                if fresh:
                    writer.writeheader()
                writer.writerow(row)
        except OSError as error:
            raise InputError(f"{path} cannot be written: {error.strerror or error}") from None
        assert self.events is not None
        for name, value in row.items():
            if isinstance(value, float):
                self.events.add_scalar(f"{kind}/{name}", value, trainer.global_step)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self.events is not None:
            self.events.close()


class Best(Callback):
    """Writes the weights whenever validation has become better, and stops where it has not for `patience` validations.

    With `keep` "last" the last validated weights are written, whatever was found. With `average`, what is validated and written is
    the mean of the last weights.

    Args:
        watch: the metric that says what is better, and whether by its "max" or "min".
    """

    def __init__(self, folder: Path, options: Training, watch: tuple[str, str]) -> None:
        self.folder, self.watch = folder, watch
        self.patience, self.last = options.patience, options.keep == "last"
        self.found: dict[str, float] = {}
        """What validation found when the weights were written."""
        self.epoch = 0
        self.waited = 0
        self.recent = RecentWeights(options.average)

    def state_dict(self) -> dict[str, Any]:
        recent = {"recent": self.recent.state_dict()} if self.recent.kept else {}
        return {"found": dict(self.found), "epoch": self.epoch, "waited": self.waited} | recent

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.found, self.epoch, self.waited = state_dict["found"], state_dict["epoch"], state_dict["waited"]
        self.recent.load_state_dict(state_dict.get("recent", []))
        if self.epoch:
            # What later epochs cannot better must still be there; no checkpoint has it.
            read_weights(self.folder, read_config(self.folder))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # A training that was killed after its last epoch stops again at once.
        self._stop(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.recent.give_mean(pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Learner)
        if pl_module.found:
            self._write(trainer, pl_module)
        # A checkpoint, which follows, has the weights that training goes on from.
        self.recent.take_back(pl_module)

    def _write(self, trainer: Trainer, pl_module: Learner) -> None:
        name, direction = self.watch
        if name not in pl_module.found and not self.last:
            # Not every validation computes a metric of the whole part.
            return
        new, old = pl_module.found.get(name, math.nan), self.found.get(name, math.nan)
        if self.last or math.isnan(old) or (new > old if direction == "max" else new < old):
            self.found, self.epoch, self.waited = pl_module.found, trainer.current_epoch + 1, 0
            if trainer.is_global_zero:
                save_weights(self.folder, pl_module.experiment, pl_module.model, pl_module.task)
        else:
            self.waited += 1
        self._stop(trainer)

    def _stop(self, trainer: Trainer) -> None:
        trainer.should_stop = bool(self.patience) and self.waited >= self.patience


def read_metrics(folder: Path) -> list[dict[str, str]]:
    """The rows of `metrics.csv`; a killed training may have left the last one half written, even if it is the only one.

    Raises:
        InputError: a file that is no such table.
    """
    path = folder / METRICS
    try:
        with path.open(newline="", encoding="utf-8") as file:
            table = csv.DictReader(file)
            rows: list[dict[str, str]] = list(table)
        readable = not rows or "step" in (table.fieldnames or ())
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError, csv.Error):
        rows, readable = [], False
    whole = rows[:-1] if rows and None in rows[-1].values() else rows
    if not readable or not all((row["step"] or "").isdecimal() for row in whole):
        raise InputError(f"{path} was altered or cannot be read, expected the rows that training wrote")
    return rows


def cut_back(folder: Path, step: int) -> None:
    """Removes the rows of `metrics.csv` that lie after a step, and a last one that was only half written."""
    rows = [row for row in read_metrics(folder) if None not in row.values() and int(row["step"]) <= step]
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    save(folder / METRICS, text.getvalue())
