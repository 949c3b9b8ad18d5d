"""Translation: BLEU and chrF of runs of `translation` and its recurrent sibling, greedily and by beam, beside trivial answers.

    python -m benchmarks.translation RUN [RUN ...]

Runs that differ in nothing but their seed are one row. Reads the test part once for each run, and writes
`results/translation.json`; rows of runs that are not given stay as they are.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer

from benchmarks.machine import RESULTS, machine, write
from benchmarks.transcription import sequence_task
from regard.data.examples import Part
from regard.data.parallel import ParallelText
from regard.tasks.text_scores import TEXT_SCORES
from regard.train import Run
from regard.train.card import read_facts
from regard.train.experiment import by_seed

__all__ = ["direction", "main", "nearest", "row", "scores", "trivial"]

_HEADINGS = {
    "bleu": "BLEU, as written",
    "bleu_lowercase": "BLEU, lower-cased",
    "bleu_words": "BLEU, lower-cased words",
    "chrf": "chrF",
}
_RESULT = "translation"


def scores(texts: Sequence[str], targets: Sequence[str]) -> dict[str, float]:
    """BLEU in three forms and chrF, each from 0 to 100."""
    predictions = [{"text": text, "target": target} for text, target in zip(texts, targets, strict=True)]
    return {_HEADINGS[metric.name]: metric.of(predictions) for metric in TEXT_SCORES if metric.name in _HEADINGS}


def nearest(sources: Sequence[str], train: Sequence[tuple[str, str]]) -> list[str]:
    """For each source the target of the training pair (source, target) with the most similar source.

    Similar by the cosine of term frequency times inverse document frequency of words and pairs of words.
    """
    vectors = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    known = vectors.fit_transform([source for source, _ in train])
    best = (vectors.transform(sources) @ known.T).argmax(axis=1)
    return [train[i][1] for i in np.asarray(best).ravel().tolist()]


def direction(run: Run) -> str:
    """Source and target language."""
    data = run.experiment.data
    assert isinstance(data, ParallelText)
    return f"{data.source_language}-{data.target_language}"


def _mean(values: Sequence[float]) -> str:
    """The mean of several seeds, and their deviation where there are several."""
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def row(name: str, found: Sequence[dict[str, float]], facts: dict[str, Any]) -> dict[str, Any]:
    """One row: the mean of each score over runs, each run's, and what is known of them."""
    values = {each: [round(one[each], 2) for one in found] for each in found[0]}
    shown = {"model": name} | {each: _mean(of) for each, of in values.items()}
    return shown | ({"values": values} if len(found) > 1 else {}) | facts


def _pairs(run: Run, part: Part) -> list[tuple[str, str]]:
    """Sources and targets of one part as they are written: the sources are the targets of the other direction."""
    data = run.experiment.data
    assert isinstance(data, ParallelText)
    turned = replace(data, source_language=data.target_language, target_language=data.source_language)
    return [(source, target) for (source, _), (target, _) in zip(turned.labels(part), data.labels(part), strict=True)]


def _translated(run: Run, beam: int) -> list[str]:
    task = sequence_task(run)
    config, task.config = task.config, replace(task.config, beam=beam)
    texts = [each.get("text", "") for each in run.predictions([run.part("test")])]
    task.config = config
    return texts


def trivial(run: Run) -> list[dict[str, Any]]:
    """What needs no model: the translation of the nearest training sentence, and the source itself."""
    train, test = _pairs(run, "train"), _pairs(run, "test")
    sources, targets = [source for source, _ in test], [target for _, target in test]
    return [
        row(
            f"{direction(run)}, the translation of the nearest training sentence",
            [scores(nearest(sources, train), targets)],
            {},
        ),
        row(f"{direction(run)}, the source copied", [scores(sources, targets)], {}),
    ]


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Two rows for each group of runs, then those of each direction that need no model."""
    found: list[dict[str, Any]] = []
    for members in by_seed([run.experiment for run in runs]):
        group = [runs[n] for n in members]
        pair = direction(group[0])
        facts = {
            "seeds": len(group),
            "parameters": group[0].parameters,
            "epochs": group[0].experiment.training.epochs,
            "minutes": round(statistics.median(read_facts(run.folder)["seconds"] for run in group) / 60),
        }
        for beam in (1, 5):
            each = [scores(_translated(run, beam), [target for _, target in _pairs(run, "test")]) for run in group]
            found.append(
                row(f"{pair}, {group[0].experiment.recipe}, {'greedy' if beam == 1 else 'beam of 5'}", each, facts)
            )
    for run in {direction(run): run for run in runs}.values():
        found += trivial(run)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    torch.set_num_threads(1)
    new = rows([Run.open(folder) for folder in parser.parse_args().runs])
    path = RESULTS / f"{_RESULT}.json"
    before = json.loads(path.read_text())["rows"] if path.exists() else []
    names = [each["model"] for each in new]
    write(
        _RESULT,
        {
            "case": _RESULT,
            "data": "Multi30k, test 2016, as sacreBLEU 2.6.0 counts",
            "split": "29,000 / 1,014 / 1,000 sentences as published",
            "rows": sorted(
                [each for each in before if each["model"] not in names] + new, key=lambda each: "parameters" not in each
            ),
            "machine": machine(),
        },
    )


if __name__ == "__main__":
    main()
