"""From speech to letters: errors of a run of `transcription`, by its decoder and by its alignment, beside trivial answers.

    python -m benchmarks.transcription --run RUN

Reads the test part once and writes `results/transcription.json`.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import machine, write
from regard.data.batch import collate
from regard.models.sequences import DecoderOutput
from regard.tasks.sequence import SequenceTask
from regard.tasks.text_scores import TEXT_SCORES, edits
from regard.train import Run

__all__ = ["aligned", "main", "nearest", "rates", "rows", "sequence_task"]

_SCORES = {metric.name: metric for metric in TEXT_SCORES if metric.name in ("character_error", "word_error")}
_CANDIDATES, _COMPARED = 300, 100


def rates(texts: Sequence[str], targets: Sequence[str]) -> dict[str, float]:
    """The rates of wrong characters and words."""
    predictions = [{"text": text, "target": target} for text, target in zip(texts, targets, strict=True)]
    return {name.replace("_", " "): round(metric.of(predictions), 4) for name, metric in _SCORES.items()}


def nearest(texts: Sequence[str]) -> str:
    """Of the first texts the one with the fewest edits to every k-th of all."""
    others = texts[:: max(1, len(texts) // _COMPARED)]
    return min(texts[:_CANDIDATES], key=lambda text: sum(edits(text, other) for other in others))


def sequence_task(run: Run) -> SequenceTask:
    """Its task, which writes sequences."""
    assert isinstance(run.task, SequenceTask)
    return run.task


@torch.no_grad()
def aligned(run: Run, part: Any) -> list[str]:
    """What the encoder's vectors tell by themselves: the most probable letter of each, equal neighbors joined, blanks dropped."""
    model, task = run.model.eval(), sequence_task(run).eval()
    texts = []
    for index in range(len(part)):
        output = model(collate([part[index]]))
        assert isinstance(output, DecoderOutput)
        assert task.align is not None
        best = task.align(output.memory.values).argmax(1).tolist()
        texts.append(task.text([n for n, _ in groupby(best) if n not in (task.begin, task.end)]))
    return texts


def rows(run: Run) -> list[dict[str, Any]]:
    """The rows of the table."""
    part, told = run.part("test"), run.experiment.data.labels("train")
    targets = [text for text, _ in run.experiment.data.labels("test")]
    facts = {"parameters": run.parameters, "epochs": run.experiment.training.epochs}
    found = [{"model": "alignment alone", **rates(aligned(run, part), targets), **facts}]
    task = sequence_task(run)
    config = task.config
    for width in (1, 5):
        task.config = replace(config, beam=width)
        texts = [each.get("text", "") for each in run.predictions([part])]
        found.append({"model": f"decoder, beam of {width}", **rates(texts, targets), **facts})
    task.config = config
    train = [text for text, _ in told]
    for name, text in (
        ("most frequent sentence", Counter(train).most_common(1)[0][0]),
        (f"sentence nearest to others: {nearest(train)}", nearest(train)),
        ("E, a blank, E, ..., as long as the mean", "E " * round(sum(map(len, train)) / len(train) / 2)),
    ):
        found.append({"model": name, **rates([text] * len(targets), targets)})
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--run", type=Path, required=True)
    torch.set_num_threads(1)
    run = Run.open(parser.parse_args().run)
    data = "speechocean762's adults, other sentences of the same people"
    split = (
        f"published: {' / '.join(f'{len(run.part(part)):,}' for part in ('train', 'validation', 'test'))} utterances"
    )
    write(
        "transcription",
        {"case": "transcription", "data": data, "split": split, "rows": rows(run), "machine": machine()},
    )


if __name__ == "__main__":
    main()
