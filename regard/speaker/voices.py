"""`Voices`: a trained model of speakers, which turns sounds into vectors and says what their likeness means."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from regard.data.examples import Dataset, Part
from regard.data.files import sha256
from regard.errors import InputError
from regard.speaker.calibration import Calibration
from regard.speaker.rates import Trials
from regard.tasks.modules import SetLabelTask
from regard.train import Run
from regard.train.folder import WEIGHTS, save
from regard.train.scoring import run

__all__ = ["CALIBRATION", "Voices"]

Floats = NDArray[np.float32]
CALIBRATION = "calibration.json"
# Frames, 100 a second.
_SHORTEST = 20


@dataclass(frozen=True)
class Voices:
    """A run of a task that tells speakers apart; `Voices.open` reads it.

    Args:
        run: the run. task: its task. identity: a checksum of its weights.
    """

    run: Run
    task: SetLabelTask
    identity: str

    @classmethod
    def open(cls, folder: Path | str) -> Voices:
        """Reads a run directory.

        Raises:
            InputError: no run, or one whose task is no label for each set.
        """
        opened = Run.open(folder)
        if not isinstance(opened.task, SetLabelTask):
            raise InputError(f"{folder} has the task {type(opened.experiment.task).__name__}, expected PerSetLabel")
        return cls(opened, opened.task, sha256(opened.folder / WEIGHTS))

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.task.width

    def embed(self, part: Dataset) -> Floats:
        """`[n, width]` a vector for each sound.

        Raises:
            InputError: a sound too short to know a voice by, or whose vector is not finite.
        """
        batches = run(self.run.model, self.task, part, self.run.experiment.training, self.task.embed)
        vectors = torch.cat([torch.zeros(0, self.width), *(each.float() for _, each in batches)]).numpy()
        for n, length in enumerate(part.lengths):
            if length < _SHORTEST:
                found = f"{part[n].name} has {length / 100:.2f} s of sound"
                raise InputError(f"{found}, expected at least {_SHORTEST / 100:.1f} s to know a voice by")
            if not np.isfinite(vectors[n]).all():
                raise InputError(f"{part[n].name} gives a vector that is not finite, expected a voice")
        return vectors

    def sounds(self, sources: Sequence[str]) -> tuple[list[str], Floats]:
        """The names and vectors of sound files, and of all sounds below folders."""
        part = self.run.experiment.data.inputs(sources, self.run.encoding)
        return [part[n].name for n in range(len(part))], self.embed(part)

    def trials(self, part: Part | Literal["unseen"], seconds: float = 0) -> Trials:
        """Every two sounds of a part of the data that the run was trained on, or of the voices that were kept from it.

        Args:
            seconds: to keep from the middle of each sound; 0 keeps what the run's data says.

        Raises:
            InputError: a part without sounds, or data that keeps no voices from the model.
        """
        reader, encoding = self.run.experiment.data, self.run.encoding
        if seconds:
            reader = replace(reader, crop=seconds)
        if part != "unseen":
            data = reader.part(part, encoding)
            return Trials.of_pairs(self.embed(data), [encoding.labels[int(data[n].target)] for n in range(len(data))])
        if not getattr(reader, "unseen", ()):
            raise InputError("the run was trained on all voices, expected some in data.unseen")
        data, labels = reader.strangers(encoding)
        return Trials.of_pairs(self.embed(data), labels)

    def calibrate(self, false_acceptance: float) -> Calibration:
        """What scores mean, learned from the validation part, and written into the run folder.

        The speakers of the validation part are those of the training part, whom the model knows well: among strangers a
        threshold lets through more than it says.
        """
        if not 0 < false_acceptance < 1:
            raise InputError(f"the false acceptance is {false_acceptance}, expected a part between 0 and 1")
        found = Calibration.of(self.trials("validation"), false_acceptance)
        text = json.dumps({"model": self.identity} | asdict(found), indent=1)
        save(self.run.folder / CALIBRATION, text + "\n")
        return found

    def calibration(self) -> Calibration:
        """What `calibrate` wrote; where nothing is written, as for one false acceptance in a hundred.

        Raises:
            InputError: a file that was altered, or that belongs to other weights.
        """
        path = self.run.folder / CALIBRATION
        if not path.exists():
            return self.calibrate(0.01)
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            model = values.pop("model")
            found = Calibration(**{name: float(value) for name, value in values.items()})
        except (ValueError, TypeError, KeyError, AttributeError):
            raise InputError(f"{path} is no calibration, expected what `regard speaker calibrate` wrote") from None
        if model != self.identity:
            raise InputError(f"{path} belongs to other weights, expected `regard speaker calibrate` to be run again")
        return found
