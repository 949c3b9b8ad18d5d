"""The live examples of docs/inspect.md: pages of seven recipes in files that need nothing else.

python -m benchmarks.inspector_examples [FOLDER]

Runs that are not in FOLDER yet are trained there (needs REGARD_DATA; translation and cells take half an hour each,
the others minutes).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray
from PIL import Image

from regard.cli import main as command
from regard.data.sound import read_sound
from regard.inspector.answers import Questions
from regard.inspector.inspection import Inspection
from regard.inspector.page.offline import offline_page
from regard.train import Run

__all__ = ["EXAMPLES", "PAGES", "Example", "main"]

Float32 = NDArray[np.float32]
PAGES = Path(__file__).parent.parent / "docs" / "examples"


@dataclass(frozen=True)
class Example:
    """A recipe and an input.

    Args:
        train: the words after `regard train`. look: the inspection of a run. layer: the one that the file holds; None for all.
        steps: queries that can be stepped through; the others need the run.
        before: the words for a training that this one begins with; none for none.
    """

    train: tuple[str, ...]
    look: Callable[[Run], Inspection]
    layer: int | None = None
    steps: int = 64
    before: tuple[str, ...] = ()


def of_text(text: str) -> Callable[[Run], Inspection]:
    """The inspection of a text."""
    return lambda run: Inspection.of_run(run, [run.texts([text])])


def seven(run: Run) -> Inspection:
    """The inspection of one of scikit-learn's digits."""
    from sklearn.datasets import load_digits

    pixels = (load_digits().images[7] / 16).astype("float32")
    return Inspection.of_run(run, [run.examples([pixels], ["seven"])])


def vowels(rate: int = 16_000) -> Float32:
    """Half a second each of something like "a", "i" and "u" with pauses between: harmonics of 120 Hz through three resonances."""
    seconds = np.arange(rate // 2) / rate
    harmonics = 120 * np.arange(1, 40)
    pause = np.zeros(rate // 4)
    pieces = [pause]
    for resonances in ((700, 1200, 2600), (300, 2300, 3000), (300, 800, 2300)):
        strengths = sum(1 / (1 + ((harmonics - resonance) / 80) ** 2) for resonance in resonances) / harmonics
        tones = (strengths[:, None] * np.sin(2 * np.pi * harmonics[:, None] * seconds)).sum(0)
        pieces += [tones / np.abs(tones).max() * np.sin(np.pi * seconds / seconds[-1]) / 2, pause]
    return np.concatenate(pieces).astype(np.float32)


def voice(run: Run) -> Inspection:
    """The inspection of three vowels that nobody spoke."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vowels.wav"
        soundfile.write(path, vowels(), 16_000)
        return Inspection.of_run(run, run.inputs([path]), files=True, samples=read_sound(path))


def blood() -> Float32:
    """`[240, 320, 3]` colors from 0 to 255: seven red cells, a white one and two platelets, drawn as discs on a light ground."""
    y, x = np.mgrid[:240, :320]
    picture = np.array((228.0, 216, 208)) + np.random.default_rng(0).normal(0, 3, (240, 320, 3))

    def disc(
        column: int, row: int, radius: int, color: tuple[int, int, int], most: float, middle: float, edge: int
    ) -> None:
        away = np.hypot(x - column, y - row)
        share = np.clip((radius - away) / edge, 0, 1) * (middle + (most - middle) * np.clip(away / radius, 0, 1))
        picture[:] += share[..., None] * (np.array(color) - picture)

    for column, row, radius in (
        (60, 60, 30),
        (140, 45, 28),
        (250, 60, 31),
        (55, 160, 29),
        (285, 170, 30),
        (120, 205, 28),
    ):
        disc(column, row, radius, (190, 120, 125), 0.8, 0.55, 3)
    disc(230, 215, 30, (190, 120, 125), 0.8, 0.55, 3)
    disc(175, 125, 46, (170, 140, 190), 0.5, 0.5, 4)
    for column, row, radius in ((160, 115, 20), (185, 120, 22), (172, 142, 18)):
        disc(column, row, radius, (95, 50, 140), 0.85, 0.85, 4)
    for column, row in ((100, 105), (240, 135)):
        disc(column, row, 7, (120, 80, 150), 0.8, 0.8, 3)
    return picture.clip(0, 255).astype(np.float32)


def cells(run: Run) -> Inspection:
    """The inspection of a drawn picture of blood."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blood.png"
        Image.fromarray(blood().astype(np.uint8)).save(path)
        return Inspection.of_run(run, run.inputs([path]), files=True)


EXAMPLES = {
    "words": Example(
        ("tagging", "--model.width", "64", "--model.heads", "4", "--model.layers", "2", "--training.epochs", "1"),
        of_text("The old man the boats that their sons had built ."),
    ),
    "sentence": Example(
        (
            *("sentiment", "--model.layers", "2", "--model.heads", "4", "--model.front.class_vector", "true"),
            *("--task.pool", "first", "--training.minutes", "2"),
        ),
        of_text("not a bad film , but never a moving one"),
    ),
    "picture": Example(
        ("digits", "--training.minutes", "3"),
        seven,
        1,
    ),
    "molecule": Example(("molecules-barrier", "--training.minutes", "2"), of_text("CC(=O)Oc1ccccc1C(=O)O"), 1),
    "voice": Example(("speaker-boss", "--training.minutes", "4"), voice, -1, 0),
    "translation": Example(
        ("translation", "--model.dropout", "0.3", "--training.average", "8"),
        of_text("Ein Hund läuft über eine grüne Wiese ."),
        None,
        0,
    ),
    "cells": Example(
        ("cells", "--training.minutes", "21", "--training.epochs", "300"),
        cells,
        -1,
        0,
        ("cells-patches", "--training.minutes", "4", "--training.epochs", "300", "--training.validate_every", "4"),
    ),
}
"""By name of the file."""


def trained(name: str, folder: Path) -> Run:
    """The run of an example, which is trained where it is not there yet."""
    place, example = folder / name, EXAMPLES[name]
    if not place.exists():
        options = ["--training.progress", "false", "--training.device", "cpu"]
        if example.before:
            before = folder / f"{name}-before"
            if not before.exists():
                assert command(["train", *example.before, "--folder", str(before), *options]) == 0
            options += ["--training.start", str(before)]
        assert command(["train", *example.train, "--folder", str(place), *options]) == 0
    return Run.open(place)


def asked(questions: Questions, example: Example) -> Iterator[dict[str, Any]]:
    """What the file of an example answers."""
    layer = None if example.layer is None else example.layer % len(questions.inspection.seen)
    for question in questions.all(layer):
        if question["ask"] != "step" or question["query"] < example.steps:
            yield question


def main(folder: Path, pages: Path = PAGES) -> None:
    """Write every example."""
    pages.mkdir(exist_ok=True)
    for name, example in EXAMPLES.items():
        questions = Questions(example.look(trained(name, folder)))
        path = pages / f"{name}.html"
        path.write_text(offline_page(questions, asked(questions, example)), encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "runs/pages"))
