"""`fit`: what is checked and read before torch is loaded, so that wrong data is reported at once; then training.

A run folder belongs to one training at a time, and says which files it learned from.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from regard.data.encoding import Encoding
from regard.errors import InputError, check_processes
from regard.train.experiment import Experiment, rooted, to_yaml
from regard.train.folder import CONFIG, ENCODING, SURVEY, read_config, save
from regard.train.kinds import check_size
from regard.train.sources import SOURCES, Sources

__all__ = ["fit"]


def fit(experiment: Experiment, folder: Path | str, resume: bool = False, changed_data: bool = False) -> Path:
    """Train an experiment and write a run directory: configuration, encoding, best weights, metrics, curves, model card.

    Under torchrun every process calls it with the same arguments, and only the first one writes.

    Args:
        folder: of the run; new or empty, unless `resume`.
        resume: continue from the newest checkpoint of the folder, or start over where there is none; the losses are those of a
            training that was never interrupted. The experiment is that of the run, or differs in that it has more epochs: then
            the learning rate continues as in a training that had so many epochs from the beginning.
        changed_data: resume although files that the run learned from have changed since.

    Raises:
        InputError: a folder that holds something else, or that another training writes; data that cannot be read, or have changed;
            more threads or workers than make sense here; a full disk; a loss that is not finite.
    """
    folder, experiment = Path(folder), rooted(experiment)
    first = os.environ.get("RANK", "0") == "0"
    check_processes("training", experiment.training, "threads", "workers")
    if not resume:
        _check_new(folder, first)
    elif not folder.is_dir():
        raise InputError(f"{folder} is not a folder, expected the run directory to resume")
    with _claimed(folder, new=not resume) if first else nullcontext():
        begun = resume and (folder / ENCODING[-1]).is_file()
        if begun:
            _check_same(experiment, folder)
        sources = Sources.of(experiment.data) if first else None
        if sources and begun and not changed_data:
            sources.check_same(folder)
        # A reader needs no torch, so a missing file or column is told before anything heavy is loaded.
        encoding = Encoding.load(folder) if begun else experiment.data.fit()
        check_size(experiment.model, encoding)

        # Readers of one's own that were written before it have none.
        survey = experiment.data.survey() if first and not begun and hasattr(experiment.data, "survey") else None

        from regard.train.fitting import train

        def describe() -> None:
            """What is true of a run before it is trained; written when all that can be checked was."""
            if sources:
                save(folder / SOURCES, json.dumps(sources.as_json(), ensure_ascii=False, indent=1) + "\n")
            if survey:
                print(*survey.brief(), sep="\n", file=sys.stderr)
                save(folder / SURVEY, json.dumps(survey.as_json(), ensure_ascii=False, indent=1) + "\n")
            if begun:
                save(folder / CONFIG, to_yaml(experiment))

        train(experiment, folder, encoding, resume, describe)
    return folder


def _check_new(folder: Path, first: bool) -> None:
    # Under torchrun another process may have started to write.
    if first and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} already exists, expected a new folder, or --resume to continue the run in it")


def _check_same(experiment: Experiment, folder: Path) -> None:
    """Refuse to resume a run with another experiment; one with more epochs is the same."""
    before = rooted(read_config(folder))
    epochs, asked = before.training.epochs, experiment.training.epochs
    longer = replace(before, training=replace(before.training, epochs=asked))
    if to_yaml(longer) != to_yaml(experiment):
        raise InputError(f"{folder / CONFIG} describes another experiment, expected the one to resume")
    if asked < epochs:
        raise InputError(f"training.epochs is {asked}, and {folder} is a training of {epochs} epochs, expected more")


@contextmanager
def _claimed(folder: Path, new: bool) -> Iterator[None]:
    """The folder of a run, which no other training on this machine writes meanwhile; what stays empty is removed.

    Raises:
        InputError: another training is writing it, or it cannot be written to.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror or error}") from None
    try:
        _lock(handle, folder)
        if new and any(folder.iterdir()):
            # Another training made the same folder at the same time, and has ended since.
            raise InputError(f"{folder} already exists, expected a new folder, or --resume to continue the run in it")
        yield
    finally:
        os.close(handle)
        for place in made:
            try:
                place.rmdir()
            except OSError:
                break


def _lock(handle: int, folder: Path) -> None:
    """Lock an open folder until its handle is closed, or its process ends; nothing where the file system cannot."""
    try:
        import fcntl
    except ImportError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(f"{folder} is being written by another training, expected a folder of its own") from None
    except OSError:
        return
