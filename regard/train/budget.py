"""A training of so many minutes: the learning rate falls over them, and when they are over it ends."""

from __future__ import annotations

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from regard.train.learner import Learner

__all__ = ["Budget"]


class Budget(Callback):
    """Tells the learner which share of its minutes is used, and ends the training, validated, when all are.

    What a resumed training had used before it was interrupted counts.
    """

    def __init__(self, minutes: float) -> None:
        self.seconds, self.used = 60 * minutes, 0.0
        self._since = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        return {"used": self._now()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.used = state_dict["used"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.monotonic()
        self._tell(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        self._tell(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._tell(trainer, pl_module)

    def _now(self) -> float:
        """The seconds used so far."""
        return self.used + time.monotonic() - self._since

    def _tell(self, trainer: Trainer, learner: LightningModule) -> None:
        assert isinstance(learner, Learner)
        learner.used = min(1.0, self._now() / self.seconds)
        if learner.used == 1:
            trainer.should_stop = True
            trainer.check_val_every_n_epoch = 1
