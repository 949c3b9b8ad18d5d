"""Checkpoints: the whole state of a training, from which it goes on as if it had never stopped."""

from __future__ import annotations

import io
import pickle
import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch.callbacks import Callback

from regard.errors import InputError
from regard.train.earlier import now_named
from regard.train.folder import save
from regard.train.learner import Learner, gathered

__all__ = ["AtomicCheckpoints", "Checkpoints", "generators", "newest", "restore_generators"]

KEPT = 2
_PARTS = {"state_dict", "loops", "callbacks", "global_step"}


class AtomicCheckpoints(CheckpointIO):
    """Reads and writes checkpoints for Lightning: written whole or not at all, read without running any code of theirs."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        stream = io.BytesIO()
        torch.save(checkpoint, stream)
        save(Path(path), stream.getvalue())

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = True) -> dict[str, Any]:
        with warnings.catch_warnings():
            # Of another pickle protocol than torch's: such a file is refused, or read.
            warnings.simplefilter("ignore", UserWarning)
            found = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(found, dict) or not found.keys() >= _PARTS:
            raise ValueError(f"{path} is no checkpoint")
        return found | {"state_dict": now_named(found["state_dict"])}

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


def newest(folder: Path) -> tuple[Path | None, dict[str, Any]]:
    """The newest checkpoint of a folder that can be read, and what is in it; (None, {}) in a folder without any.

    Raises:
        InputError: there are some, and none can be read.
    """
    paths = _all(folder)
    for path in reversed(paths):
        try:
            return path, AtomicCheckpoints().load_checkpoint(path)
        except (RuntimeError, OSError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
            continue
    if paths:
        raise InputError(f"{paths[-1]} is no checkpoint of a training, expected one here, or none to begin again")
    return None, {}


def _all(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.ckpt"))


class Checkpoints(Callback):
    """Writes a checkpoint every so many steps and at the end of each epoch, and keeps the last two.

    The generators of Python, NumPy and torch are part of it, of every process.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.folder = folder
        self.every = every
        self.states: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        return {"generators": gathered(generators())}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.states = state_dict["generators"]
        wrote, now = len(self.states), torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
        if wrote != now:
            raise InputError(f"{self.folder} was written by {wrote} processes, expected as many to resume, not {now}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Here the first batch is yet to come, and nothing more draws numbers before it.
        if self.states:
            restore_generators(self.states[trainer.global_rank])

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        # After the last batch of an epoch validation is due; the checkpoint that follows it holds what it found.
        last = trainer.fit_loop.epoch_loop.batch_progress.is_last_batch
        if self.every and trainer.global_step % self.every == 0 and not last:
            self._write(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._write(trainer, pl_module)

    def _write(self, trainer: Trainer, learner: LightningModule) -> None:
        assert isinstance(learner, Learner)
        learner.check_finite(float(learner.seen[0]))
        trainer.save_checkpoint(self.folder / f"step-{trainer.global_step:09d}.ckpt")
        if trainer.is_global_zero:
            for path in _all(self.folder)[:-KEPT]:
                path.unlink()


def generators() -> dict[str, Any]:
    """The states of this process' generators, as plain numbers and tensors."""
    version, internal, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=False)
    key, place = torch.tensor(numpy_state["state"]["key"].astype(np.int64)), numpy_state["state"]["pos"]
    return {
        "python": [version, torch.tensor(internal), gauss],
        "numpy": numpy_state | {"state": {"key": key, "pos": place}},
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [],
    }


def restore_generators(states: dict[str, Any]) -> None:
    """Puts this process' generators back to what `generators` found."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    state = states["numpy"]["state"]
    np.random.set_state(
        states["numpy"] | {"state": {"key": state["key"].numpy().astype(np.uint32), "pos": state["pos"]}}
    )
    torch.set_rng_state(states["torch"])
    if states["cuda"]:
        torch.cuda.set_rng_state_all(states["cuda"])
