"""`Voices`: a trained model of speakers, which turns sounds into vectors and says what their likeness means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256 as digest
from math import ceil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset

from regard.data.examples import Dataset, Example, Listed, Part, TargetKind
from regard.data.features import FRAMES_PER_SECOND
from regard.data.sound import sound_files
from regard.data.speech import Sounds
from regard.data.targets import label_of, unseen_labels
from regard.errors import InputError
from regard.files import sha256, write_atomically
from regard.sets import VectorSets
from regard.speaker.calibration import Calibration, Cohort
from regard.speaker.lists import TrialList
from regard.speaker.mixture import Mixture
from regard.speaker.rates import Trials
from regard.speaker.vectors import unit
from regard.speaker.within import Within
from regard.tasks.label import SetLabelTask
from regard.train import Run
from regard.train.folder import WEIGHTS
from regard.train.scoring import run

__all__ = ["CALIBRATION", "MIXTURE", "Voices"]

Floats = NDArray[np.float32]
CALIBRATION, MIXTURE = "calibration.json", "mixture.safetensors"
# Frames.
_SHORTEST, _LONGEST = 20, 60 * FRAMES_PER_SECOND
# Of each training sound, what shows how recordings of one voice differ.
_SECONDS = (1, 3)
# Recordings that normalize scores, at most.
_COHORT = 1_000
# Sound files whose features are in memory at a time.
_TOGETHER = 64


@dataclass(frozen=True)
class Voices:
    """A run of a task that tells speakers apart; `Voices.open` reads it.

    Args:
        run: the run. task: its task.
        mixture: whose vector of a sound stands beside the network's, each brought to length 1.
    """

    run: Run
    task: SetLabelTask
    mixture: Mixture | None = None

    @classmethod
    def open(cls, folder: Path | str) -> Voices:
        """Reads a run directory.

        Raises:
            InputError: no run, one whose task is no label for each set, or a mixture that is not whole.
        """
        opened = Run.open(folder)
        if not isinstance(opened.task, SetLabelTask):
            raise InputError(f"{folder} has the task {type(opened.experiment.task).__name__}, expected PerSetLabel")
        path = opened.folder / MIXTURE
        if not path.exists():
            return cls(opened, opened.task)
        mixture = Mixture.read(path)
        if mixture.bands != opened.encoding.width:
            raise InputError(
                f"{path} is of {mixture.bands} bands, expected the {opened.encoding.width} that the run's vectors have"
            )
        return cls(opened, opened.task, mixture)

    @cached_property
    def identity(self) -> str:
        """A checksum of the weights, and of the mixture where there is one: of whatever decides the vectors."""
        weights = sha256(self.run.folder / WEIGHTS)
        return weights if self.mixture is None else digest(f"{weights} {self.mixture.identity}".encode()).hexdigest()

    @property
    def width(self) -> int:
        """Of the vectors."""
        return self.task.width + (self.mixture.width if self.mixture else 0)

    @property
    def name(self) -> str:
        """What the vectors are, in words."""
        beside = f", a mixture of {len(self.mixture.weights)} Gaussians beside it" if self.mixture else ""
        return f"{self.run.folder}{beside}"

    @property
    def sound_reader(self) -> Sounds:
        """How the run reads sound files.

        Raises:
            InputError: it reads something else.
        """
        reader = self.run.experiment.data
        if not isinstance(reader, Sounds):
            raise InputError(
                f"{self.run.folder} has data of the type {type(reader).__name__}, expected Sounds for a list"
            )
        return reader

    def embed(self, part: Dataset) -> Floats:
        """`[n, width]` a vector for each sound.

        A sound of over a minute is taken in equal pieces of at most a minute, and its vector is the mean of their directions, so
        that neither memory nor time per second grow with its length.

        Raises:
            InputError: a sound too short to know a voice by, or whose vector is not finite.
        """
        for n, length in enumerate(part.lengths):
            _check_length(part, n, length)
        pieces = _Pieces(part)
        lengths: list[int] = []
        vectors = [np.zeros((0, self.width), np.float32)]
        for batch, output in run(self.run.model, self.task, pieces, self.run.experiment.training, self.task.embed):
            lengths += batch.inputs.layout.lengths.tolist()
            vectors.append(self._joined(batch.inputs, output.float().numpy()))
        return self._of_pieces(part, pieces.of, lengths, np.concatenate(vectors))

    def _of_pieces(
        self, part: Dataset, places: Sequence[tuple[int, int]], lengths: Sequence[int], vectors: Floats
    ) -> Floats:
        """`[n, width]` from the vectors of pieces, from `first` to before `past` of which each sound has."""
        found = np.empty((len(part), self.width), np.float32)
        for n, (first, past) in enumerate(places):
            # The lengths of a part may be upper bounds: only now is it known how many frames were read.
            _check_length(part, n, sum(lengths[first:past]))
            found[n] = vectors[first] if past - first == 1 else unit(vectors[first:past]).mean(0)
            if not np.isfinite(found[n]).all():
                raise InputError(f"{part[n].name} gives a vector that is not finite, expected a voice")
        return found

    def _joined(self, sounds: VectorSets, vectors: Floats) -> Floats:
        """The network's vectors of some sounds, and the mixture's beside them."""
        if self.mixture is None:
            return vectors
        beside = [self.mixture(each.numpy()) for each in sounds.values.split(sounds.layout.lengths.tolist())]
        return np.concatenate([unit(vectors), unit(np.stack(beside))], 1).astype(np.float32)

    def learned_mixture(self, components: int) -> Mixture:
        """A mixture learned from the training part, each sound of it whole, and one and three seconds of it.

        Raises:
            InputError: data that cannot be cut to seconds, or too little of them.
        """
        encoding = self.run.encoding
        parts = [_cut(self.run.experiment.data, seconds).training(encoding) for seconds in (0, *_SECONDS)]
        return Mixture.of(_Recordings(parts), components, seed=self.run.experiment.training.seed)

    def sounds(self, sources: Sequence[str]) -> tuple[list[str], Floats]:
        """The names and vectors of sound files, and of all sounds below folders.

        Raises:
            InputError: a file that is no sound, that holds less than 0.2 s of voice by the run's rule for it, or that `embed`
                refuses.
        """
        reader = self.run.experiment.data
        if not isinstance(reader, Sounds):
            part = reader.inputs(sources, self.run.encoding)
            return [part[n].name for n in range(len(part))], self.embed(part)
        places = map(Path, sources)
        files = [each for place in places for each in (sound_files(place) if place.is_dir() else [place])]
        return [str(each) for each in files], self._of_files(reader, files, _SHORTEST)

    def _of_files(self, reader: Sounds, files: Sequence[Path], least: int = 0) -> Floats:
        """`[n, width]`, some files at a time, so that memory does not grow with their number."""
        found = [np.zeros((0, self.width), np.float32)]
        for begin in range(0, len(files), _TOGETHER):
            some = files[begin : begin + _TOGETHER]
            found.append(self.embed(reader.inputs([str(each) for each in some], self.run.encoding, least)))
        return np.concatenate(found)

    def part(self, part: Part | Literal["unseen"], seconds: float = 0) -> tuple[list[str], Floats]:
        """Whose each sound of a part of the run's data is, and its vector, or of the voices that were kept from the model.

        Args:
            seconds: to keep from the middle of each sound (of training sounds at a drawn place); 0 keeps what the data says.

        Raises:
            InputError: a part without sounds, or data that keeps no voices from the model.
        """
        encoding, reader = self.run.encoding, _cut(self.run.experiment.data, seconds)
        if part != "unseen":
            data = reader.training(encoding) if part == "train" else reader.part(part, encoding)
            unseen = (*unseen_labels(data),)
            return [label_of(int(target), encoding.labels, unseen) for target in data.targets], self.embed(data)
        if not getattr(reader, "hidden", ()):
            raise InputError("the run was trained on all voices, expected some in data.unseen")
        data, labels = reader.strangers(encoding)
        return labels, self.embed(data)

    def trials(self, part: Part | Literal["unseen"], seconds: float = 0, cohort: Cohort | None = None) -> Trials:
        """Every two sounds of a part, scored; see `part`."""
        speakers, vectors = self.part(part, seconds)
        return Trials.of_pairs(vectors, speakers, (cohort or Cohort()).scores)

    def listed(
        self, trials: TrialList, folder: Path | None = None, seconds: float = 0, cohort: Cohort | None = None
    ) -> Trials:
        """The trials of a list, scored.

        Args:
            folder: that its paths are relative to; that of the run's data if not given.

        Raises:
            InputError: a file that is not there, or no sound.
        """
        reader = self.run.experiment.data
        if not isinstance(reader, Sounds):
            raise InputError(
                f"{self.run.folder} has data of the type {type(reader).__name__}, expected Sounds for a list"
            )
        files = [(folder or reader.root) / name for name in trials.names]
        for where, file in zip(trials.where, files, strict=True):
            if not file.is_file():
                raise InputError(f"{where} {file}, which is not there, expected a sound file")
        vectors = self._of_files(_cut(reader, seconds), files)
        scores = (cohort or Cohort()).pairs(vectors, trials.first, trials.second)
        return Trials(scores, trials.speakers[trials.first], trials.speakers[trials.second])

    def cohort(self, nearest: int = 0, within: bool = False) -> Cohort:
        """What makes scores, learned from the training part.

        Args:
            nearest: how many of its recordings, of each of which a second is taken, count for a recording; 0 for no normalization.
                Of very many recordings some are drawn.
            within: whether directions in which its recordings of one voice differ count less: each is taken whole, and
                one and three seconds of it.
        """
        found, cut = Cohort(), {}
        if within:
            cut = {seconds: self.part("train", seconds) for seconds in (0, *_SECONDS)}
            speakers = [each for names, _ in cut.values() for each in names]
            found = Cohort(within=Within.of(speakers, np.concatenate([vectors for _, vectors in cut.values()])))
        if nearest:
            second = _SECONDS[0]
            data = _cut(self.run.experiment.data, second).training(self.run.encoding)
            some = np.random.default_rng(self.run.experiment.training.seed).permutation(len(data))[:_COHORT]
            vectors = cut[second][1][some] if within else self.embed(Listed([data[int(n)] for n in some]))
            found = replace(found, vectors=vectors, nearest=nearest)
        return found

    def calibrate(self, trials: Trials, false_acceptance: float, cohort: Cohort, source: str) -> Calibration:
        """What scores mean, learned from trials, and written into the run folder for its owner alone, behind the mixture.

        The speakers of the validation part are those of the training part, whom the model knows well: among strangers a
        threshold lets through more than it says.

        Args:
            trials: scored with the cohort. source: what they are, in words.

        Raises:
            InputError: trials without a pair of one speaker, or of two.
        """
        if not 0 < false_acceptance < 1:
            raise InputError(f"the false acceptance is {false_acceptance}, expected a part between 0 and 1")
        if not trials.targets.any():
            raise InputError(
                f"the {source} has no two recordings of one person, expected some to choose a threshold on: "
                "`regard speaker calibrate` takes another --part, or --trials of other recordings"
            )
        found = Calibration.of(trials, false_acceptance, cohort, source)
        self._keep_mixture()
        write_atomically(self.run.folder / CALIBRATION, found.to_json(self.identity).encode(), 0o600)
        return found

    def _keep_mixture(self) -> None:
        """The run folder's mixture becomes this one, or none."""
        path = self.run.folder / MIXTURE
        if self.mixture is not None:
            self.mixture.write(path)
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InputError(f"{path} cannot be removed: {error.strerror}") from None

    def written_calibration(self) -> Calibration | None:
        """What `calibrate` wrote; None where nothing is written.

        Raises:
            InputError: a file that was altered, or that belongs to other weights.
        """
        path = self.run.folder / CALIBRATION
        try:
            text = path.read_bytes().decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError):
            text = ""
        return Calibration.from_json(text, str(path), self.identity, self.width)

    def calibration(self) -> Calibration:
        """What `calibrate` wrote; where nothing is written, as for one false acceptance in a hundred of the validation part."""
        found = self.written_calibration()
        if found is None:
            found = self.calibrate(self.trials("validation"), 0.01, Cohort(), "validation part")
        return found


def _check_length(part: Dataset, n: int, frames: int) -> None:
    if frames < _SHORTEST:
        short = f"{part[n].name} has {frames / FRAMES_PER_SECOND:.2f} s of sound"
        raise InputError(f"{short}, expected at least {_SHORTEST / FRAMES_PER_SECOND:.1f} s to know a voice by")


class _Recordings(Sequence[NDArray[Any]]):
    """The frames of all examples of some parts, read when they are asked for."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._examples: ConcatDataset[Example] = ConcatDataset(parts)

    def __len__(self) -> int:
        return len(self._examples)

    def __getitem__(self, index: Any, /) -> Any:
        return self._examples[index].values


class _Pieces:
    """The examples of a part, those that are too long in equal pieces.

    Args:
        part: the examples.
    """

    def __init__(self, part: Dataset) -> None:
        self._part = part
        self._held: tuple[int, Example] | None = None
        self._pieces: list[tuple[int, int, int]] = []
        self.of: list[tuple[int, int]] = []
        """For each example its first piece, and the one behind its last."""
        self.lengths: list[int] = []
        for n, length in enumerate(part.lengths):
            count = max(1, ceil(length / _LONGEST))
            self.of.append((len(self._pieces), len(self._pieces) + count))
            self._pieces += [(n, k, count) for k in range(count)]
            self.lengths += [length * (k + 1) // count - length * k // count for k in range(count)]

    def __len__(self) -> int:
        return len(self._pieces)

    target_kind: TargetKind = "set"

    @property
    def targets(self) -> list[Any]:
        """Those of the examples that the pieces are of."""
        return [self._part.targets[n] for n, _, _ in self._pieces]

    def __getitem__(self, index: int, /) -> Example:
        n, k, count = self._pieces[index]
        if self._held is None or self._held[0] != n:
            self._held = n, self._part[n]
        example = self._held[1]
        # What is read may have another length than its header told.
        length = len(example.values)
        return replace(example, values=example.values[length * k // count : length * (k + 1) // count])


def _cut(reader: Any, seconds: float) -> Any:
    """A reader of sounds as they were recorded, uncut or cut to so many seconds."""
    usual = type(reader)()
    plain = {name: getattr(usual, name) for name in _VARIED if hasattr(reader, name)}
    if not seconds:
        return replace(reader, **plain)
    if "train_crop" not in plain:
        raise InputError(
            f"the data are of the type {type(reader).__name__}, expected sounds, which can be cut to seconds"
        )
    if not seconds * FRAMES_PER_SECOND >= _SHORTEST:
        raise InputError(f"--seconds is {seconds}, expected 0 or at least {_SHORTEST / FRAMES_PER_SECOND}")
    return replace(reader, **plain | {"train_crop": seconds, "crop": seconds})


_VARIED = ("train_crop", "speed", "reverberation", "noise", "mask")
