"""The live examples of docs/inspect.md: pages of six recipes in files that need nothing else.

python -m benchmarks.inspector_examples [FOLDER]

Runs that are not in FOLDER yet are trained there (needs REGARD_DATA; the translation takes half an hour, the others minutes).
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
    """

    train: tuple[str, ...]
    look: Callable[[Run], Inspection]
    layer: int | None = None
    steps: int = 64


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
}
"""By name of the file."""


def trained(name: str, folder: Path) -> Run:
    """The run of an example, which is trained where it is not there yet."""
    place = folder / name
    if not place.exists():
        options = ["--training.progress", "false", "--training.device", "cpu"]
        assert command(["train", *EXAMPLES[name].train, "--folder", str(place), *options]) == 0
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
