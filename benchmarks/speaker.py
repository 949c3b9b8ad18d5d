"""Speakers: the rungs of the ladder, what each part of them brings, and what chose their options.

    python -m benchmarks.speaker choose RUNG NAME [STEPS]     2,000 steps on 64 voices, measured on 16 others: see `CHOICES`
    python -m benchmarks.speaker train VARIANT SEED   a rung, an ablation or the best model: see `VARIANTS`
    python -m benchmarks.speaker report               opens the test part and the strangers, and writes the results
    python -m benchmarks.speaker draw                 writes what the pictures show, which is a part of it

Runs lie in `runs/bench/speaker`, and a run that is there already is not trained again. `report` takes those that are there, and
writes `results/speaker.json` (the table), `speaker-choices.json` (what was tried), `pictures/speaker.json` (what figures show).
Needs REGARD_DATA.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.baselines import BASELINES
from benchmarks.machine import machine, write
from benchmarks.speaker_pictures import pictures
from benchmarks.train import parts
from regard.data.augment import SpecAugment, Speed
from regard.data.examples import Array
from regard.data.speech import STRANGERS, Sounds
from regard.data.voice import VoiceActivity
from regard.recipes.speaker import speaker, speaker_boss, speaker_medium, speaker_simple, speaker_strong
from regard.speaker.calibration import Cohort
from regard.speaker.rates import Trials, equal_error_rate, interval, minimum_cost, rates
from regard.speaker.voices import Voices
from regard.train import Experiment, Run, fit
from regard.train.card import read_facts
from regard.train.scoring import run as outputs

__all__ = ["CHOICES", "DEVELOPMENT", "VARIANTS"]

FOLDER = Path("runs/bench/speaker")
# The next eight women and eight men by the rule of `STRANGERS`: strangers while options are chosen, trained on afterwards.
DEVELOPMENT = (
    *("2112", "2251", "2402", "9611", "9614", "9615", "9616", "9643"),
    *("0461", "0560", "0765", "1027", "1156", "1293", "1336", "2621"),
)
COMPONENTS, NEAREST = 128, 100
SECONDS = {"1 s": 1.0, "3 s": 3.0, "whole": 0.0}


def _with(base: Callable[[], Experiment], **changes: Any) -> Experiment:
    """The experiment with other options: `model_dropout=0.2` is the model's `dropout`."""
    experiment = base()
    for name, value in changes.items():
        section, _, option = name.partition("_")
        experiment = replace(experiment, **{section: replace(getattr(experiment, section), **{option: value})})
    return experiment


RUNGS = ("simple", "medium", "strong", "boss", "speaker")
_MASKS = SpecAugment(band_masks=1, band_width=6, time_masks=1, time_width=12)
_VOICES = Speed((0.9, 1.0, 1.1), voices=True)
_MORE_VOICES = Speed((0.8, 0.9, 1.0, 1.1, 1.2), voices=True)


# As measured, before the recipes subtracted the level of a recording.
simple, medium, strong, boss = (
    partial(_with, base, data_normalize="none")
    for base in (speaker_simple, speaker_medium, speaker_strong, speaker_boss)
)


def _joined(**changes: Any) -> Callable[[], Experiment]:
    """The boss rung with its stem joined, and the mean and deviation over time."""
    return lambda: _with(boss, **{"model_join": "stem", "task_pool": "statistics"} | changes)


def _spread(**changes: Any) -> Callable[[], Experiment]:
    """The recipe `speaker`, with the warm-up of a rung."""
    usual = {"optimizer_warm_up": 1000, "task_margin_warm_up": 2000, "data_normalize": "none"}
    return lambda: _with(speaker, **usual | changes)


def _no_block(**changes: Any) -> Callable[[], Experiment]:
    """The recipe `speaker` without its block."""
    return _spread(model_layers=0, **changes)


VARIANTS: dict[str, Callable[[], Experiment]] = {
    "simple": simple,
    "medium": medium,
    "strong": strong,
    "strong, self-attention pooling": lambda: _with(strong, task_pool="attention"),
    "strong, AM-softmax": lambda: replace(strong(), task=replace(boss().task, pool="mean")),
    "boss": boss,
    "Conformer, statistics": _joined(task_margin_warm_up=400, optimizer_warm_up=200, training_epochs=72),
    "recipe speaker, level not subtracted": lambda: _with(speaker, data_normalize="none"),
    "recipe speaker": speaker,
}

# Rung -> what was tried for it.
CHOICES: dict[str, dict[str, Callable[[], Experiment]]] = {
    "simple": {"as in the course": simple},
    "medium": {
        "as chosen": medium,
        "2 layers, norm after": lambda: _with(medium, model_layers=2, model_norm="post"),
        "2 layers of width 128, dropout 0.2": lambda: _with(medium, model_layers=2, model_width=128, model_dropout=0.2),
    },
    "strong": {
        "as chosen": strong,
        "last block alone": lambda: _with(strong, model_join="last"),
        "last block alone, step 2, width 64": lambda: _with(strong, model_join="last", model_step=2, model_width=64),
        "dropout 0.2": lambda: _with(strong, model_dropout=0.2),
    },
    "boss": {
        "as chosen": boss,
        "last block alone": lambda: _with(boss, model_join="last"),
        "last block alone, mean pooling": lambda: _with(boss, model_join="last", task_pool="mean"),
        "attentive statistics": lambda: _with(boss, task_pool="attentive_statistics"),
        "three speeds": lambda: _with(boss, data_speed=Speed((0.9, 1.0, 1.1))),
        "masks": lambda: _with(boss, data_mask=_MASKS),
    },
    "speaker": {
        "as chosen": _spread(data_normalize="level"),
        "the level not subtracted": _spread(),
        "dropout 0.1": _spread(model_dropout=0.1),
        "dropout 0.1, additive margin": _spread(model_dropout=0.1, task_loss="am_softmax"),
        "dropout 0.1, pointwise in place of convolution": _spread(model_dropout=0.1, model_mixer="pointwise"),
        "dropout 0.1, self-attention in place of convolution": _spread(model_dropout=0.1, model_mixer="attention"),
        "convolution, then self-attention": _spread(
            model_layers=2, model_mixer="convolution+attention", model_feed_forward=160
        ),
        "no block": _no_block(),
        "no block, additive margin": _no_block(task_loss="am_softmax"),
        "no block, 40 bands": _no_block(data_mels=40),
        "no block, 128 bands": _no_block(data_mels=128),
        "no block, width 320": _no_block(model_width=320),
        "no block, a hidden layer": _no_block(task_hidden=160),
        "no block, cuts of 2.5 s": _no_block(data_train_crop=2.5),
        "no block, voices at three speeds": _no_block(data_speed=_VOICES),
        "no block, frames with voice alone": _no_block(data_voice=VoiceActivity(detect=True)),
        "Conformer, stem joined, statistics": _joined(),
        "Conformer, statistics": _joined(model_join="all"),
        "Conformer, stem joined, statistics, no hidden layer": _joined(task_hidden=0),
        "Conformer, stem joined, statistics, voices at three speeds": _joined(data_speed=_VOICES),
        "Conformer, stem joined, attentive statistics, voices at three speeds": _joined(
            task_pool="attentive_statistics", data_speed=_VOICES
        ),
        "Conformer, stem joined, statistics, no hidden layer, masks, dropout 0.25": _joined(
            task_hidden=0, data_mask=_MASKS, model_dropout=0.25
        ),
        "Conformer, stem joined, statistics, voices at five speeds, masks, dropout 0.2": _joined(
            data_speed=_MORE_VOICES, data_mask=_MASKS, model_dropout=0.2
        ),
        "Transformer of two layers, statistics, voices at three speeds": lambda: replace(
            _with(boss, task_pool="statistics", data_speed=_VOICES),
            model=replace(medium().model, layers=2),
        ),
    },
}


def sounds(run: Run) -> Sounds:
    """The reader of a run on sounds."""
    reader = run.experiment.data
    assert isinstance(reader, Sounds)
    return reader


def accuracy(run: Run, part: Any, seconds: float, silence: bool = True) -> float:
    """Of a part, on the middle of each sound; 0 takes all of it. Without `silence`, frames without voice are dropped."""
    reader = replace(sounds(run), crop=seconds)
    if not silence:
        reader = replace(reader, voice=replace(reader.voice, detect=True))
    data = reader.part(part, run.encoding)
    metrics = run.task.metrics()
    for batch, output in outputs(run.model, run.task, data, run.experiment.training):
        run.task.score(metrics, output, batch)
    return float(metrics.compute()["accuracy"])


def embedded(voices: Voices, labels: tuple[str, ...], seconds: float) -> tuple[Array, list[str]]:
    """The vectors of all utterances of these voices, and whose each is."""
    run = voices.run
    data, speakers = replace(sounds(run), unseen=labels, crop=seconds).strangers(run.encoding)
    return voices.embed(data), speakers


def percent(trials: Trials) -> float:
    """The equal error rate."""
    return 100 * equal_error_rate(rates(trials.scores, trials.targets))


def choose(rung: str, name: str, steps: int = 2000) -> dict[str, Any]:
    """One row: the options of a rung, trained on 64 voices for some steps and measured on validation and on 16 other voices."""
    experiment = CHOICES[rung][name]()
    data = replace(experiment.data, unseen=STRANGERS + DEVELOPMENT)
    part = steps / 10_000
    training = replace(experiment.training, epochs=round(steps / 28), validate_every=1000, progress=False, threads=1)
    optimizer = replace(experiment.optimizer, warm_up=round(experiment.optimizer.warm_up * part))
    task = replace(experiment.task, margin_warm_up=round(experiment.task.margin_warm_up * part))
    begin = time.process_time()
    folder = trained(
        replace(experiment, data=data, training=training, optimizer=optimizer, task=task),
        FOLDER / "choices" / rung / f"{name} {steps}".replace(" ", "-"),
    )
    spent = time.process_time() - begin
    voices = Voices.open(folder)
    row: dict[str, Any] = {"rung": rung, "options": name, "steps": steps, "parameters": voices.run.parameters}
    row["minutes of a core"] = round(spent / 60, 1)
    row["validation accuracy"] = {kept: round(accuracy(voices.run, "validation", SECONDS[kept]), 4) for kept in SECONDS}
    others = {kept: embedded(voices, DEVELOPMENT, seconds) for kept, seconds in SECONDS.items()}
    for title, cohort in (
        ("EER of 16 others, %", Cohort()),
        ("the same, within-class normalized, %", voices.cohort(within=True)),
    ):
        row[title] = {kept: round(percent(Trials.of_pairs(*each, cohort.scores)), 2) for kept, each in others.items()}
    (folder / "choice.json").write_text(json.dumps(row))
    return row


def trained(experiment: Experiment, folder: Path) -> Path:
    """The folder of the run; what was begun there goes on."""
    if not (folder / "card.md").exists():
        fit(experiment, folder, resume=folder.exists())
    return folder


def train(variant: str, seed: int) -> Path:
    """A run of the table."""
    experiment = VARIANTS[variant]()
    training = replace(experiment.training, seed=seed, progress=False, threads=1)
    begin = time.process_time()
    folder = trained(
        replace(experiment, training=training), FOLDER / variant.replace(", ", "-").replace(" ", "-") / str(seed)
    )
    if not (folder / "spent.json").exists():
        (folder / "spent.json").write_text(json.dumps({"minutes of a core": (time.process_time() - begin) / 60}))
    return folder


def folders(variant: str) -> list[Path]:
    """Of the runs of a variant that are done, by seed."""
    found = (FOLDER / variant.replace(", ", "-").replace(" ", "-")).glob("*/card.md")
    return sorted((each.parent for each in found), key=lambda each: int(each.name))


def calibrated(voices: Voices) -> tuple[Voices, Cohort]:
    """With all that `regard speaker calibrate` can do: a mixture beside the network, and both ways to normalize."""
    joined = replace(voices, mixture=voices.learned_mixture(COMPONENTS))
    return joined, joined.cohort(NEAREST, within=True)


def draw() -> None:
    """What the pictures show."""
    named = {name: folders(name)[0] for name in VARIANTS if folders(name)}
    more = {}
    if "recipe speaker" in named:
        more["recipe speaker, all of calibrate"] = calibrated(Voices.open(named["recipe speaker"]))
    write("pictures/speaker", pictures(named, SECONDS, more), show=False)


def row(variant: str) -> dict[str, Any]:
    """What the seeds of a variant reach on the test part and with the strangers."""
    runs = [Voices.open(each) for each in folders(variant)]
    accuracies = {
        kept: [accuracy(each.run, "test", seconds) for each in runs]
        for kept, seconds in (("whole", 0.0), ("middle second", 1.0))
    }
    whole = [round(each, 4) for each in accuracies["whole"]]
    found: dict[str, Any] = {
        "model": variant,
        "metric": "accuracy",
        "seeds": [int(each.name) for each in folders(variant)],
        "values": whole,
        "mean": round(statistics.mean(whole), 4),
        "sd": round(statistics.stdev(whole), 4) if len(whole) > 1 else 0.0,
        "middle second": round(statistics.mean(accuracies["middle second"]), 4),
        "whole without silence": round(
            statistics.mean(accuracy(each.run, "test", 0.0, silence=False) for each in runs), 4
        ),
        "errors": {},
    }
    for kept, seconds in SECONDS.items():
        trials = [Trials.of_pairs(*embedded(each, STRANGERS, seconds)) for each in runs]
        errors = [percent(each) for each in trials]
        low, high = (100 * each for each in interval(trials[0], draws=200))
        spread = f" ± {statistics.stdev(errors):.1f}" if len(errors) > 1 else ""
        found[f"EER, {kept}, %"] = f"{statistics.mean(errors):.1f}{spread} ({low:.1f} to {high:.1f})"
        found["errors"][kept] = [round(each, 2) for each in errors]
        if not seconds:
            costs = (minimum_cost(rates(each.scores, each.targets)) for each in trials)
            found["minDCF, whole"] = round(statistics.mean(costs), 3)
    spent = [json.loads((each / "spent.json").read_text())["minutes of a core"] for each in folders(variant)]
    found |= {
        "baseline": round(1 / len(runs[0].run.encoding.labels), 4),
        "published": "none",
        "parameters": runs[0].run.parameters,
        "epochs": runs[0].run.experiment.training.epochs,
        "steps": read_facts(runs[0].run.folder)["steps"],
        "minutes of a core": round(statistics.median(spent), 1),
    }
    return found


def report() -> None:
    rows = [row(variant) for variant in VARIANTS if folders(variant)]
    baselines = BASELINES["speaker"](parts(simple()))
    rows += [{"model": name, "metric": "accuracy", "mean": round(each, 4)} for name, each in baselines.items()]
    data, split = (
        "speechocean762 adults, 80 of 96 speakers; EER: the other 16",
        "published list: 14 / 2 / 4 utterances a speaker",
    )
    write("speaker", {"case": "speaker", "data": data, "split": split, "rows": rows, "machine": machine()})
    tried = sorted(FOLDER.glob("choices/*/*/choice.json"))
    write(
        "speaker-choices",
        {
            "case": "speaker-choices",
            "data": "speechocean762 adults, 64 speakers; EER: 16 of the training part's, kept out",
            "rows": sorted(
                (json.loads(each.read_text()) for each in tried), key=lambda each: RUNGS.index(each["rung"])
            ),
            "machine": machine(),
        },
    )
    draw()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("choose", "train", "report", "draw"))
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.what == "choose":
        rung, name, *steps = options.names
        print(choose(rung, name, *map(int, steps)))
    elif options.what == "train":
        print(train(options.names[0], int(options.names[1])))
    elif options.what == "draw":
        draw()
    else:
        report()


if __name__ == "__main__":
    main()
