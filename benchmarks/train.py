"""Training results: a recipe and its variants, over seeds, beside simple baselines and published numbers.

    python -m benchmarks.train CASE [--only VARIANT] [--seeds N] [--folder runs/bench]

Trains every variant with every seed into `FOLDER/CASE/VARIANT/SEED` (a run that is there already is not trained again), evaluates
each on the test part, once, and writes `results/CASE.json`; with --only, that variant's row alone, and the other rows stay. Choices
were made on the validation part before. Needs REGARD_DATA.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.baselines import BASELINES
from benchmarks.case import Case
from benchmarks.machine import RESULTS, machine, write
from benchmarks.picture_cases import PICTURE_CASES
from regard.data.documents import Columns, read_documents
from regard.data.examples import Example, Listed
from regard.data.registry import locate
from regard.data.text import Texts
from regard.recipes import RECIPES
from regard.train import Experiment, Run, fit
from regard.train.card import read_facts
from regard.train.experiment import changed
from regard.train.scoring import run as outputs

__all__ = ["CASES", "FROM_REVIEWS", "Case", "train_one", "with_options"]


def seen_before(run: Run) -> dict[str, float]:
    """Accuracy on the validation part and on as many sentences of the training part."""
    parts = {name: run.experiment.data.part(name, run.encoding) for name in ("train", "validation")}
    # In the order of the files neighbors are alike: one of each so many.
    step = len(parts["train"]) // len(parts["validation"])
    parts["train"] = Listed([parts["train"][i] for i in range(0, len(parts["train"]), step)])
    found = {}
    for name, part in parts.items():
        metrics = run.task.metrics()
        for batch, output in outputs(run.model, run.task, part, run.experiment.training):
            run.task.score(metrics, output, batch)
        found[name] = float(metrics.compute()["accuracy"])
    return found


def two_saws(run: Run) -> dict[str, str]:
    """What a tagger makes of a sentence in which one word is a verb and a noun."""
    sentence = "I saw a saw"
    (predicted,) = run.predict([sentence])
    return {sentence: " ".join(each["label"] for each in predicted["vectors"])}


# Options of the recipe `reviews` as it was while its words attended to those nearby.
_ATTENDING = {
    "layers": 1,
    "feed_forward": 128,
    "attention": "Attention(pattern=Window(8, 8), bias=T5())",
    "norm": "pre",
    "dropout": 0.2,
    "model.front.dropout": 0.3,
    "model.front.word_dropout": 0.3,
    "model.front.ngrams": 1,
    "optimizer.weight_decay": 0.05,
    "optimizer.decay_embeddings": False,
    "epochs": 2,
}

# Options of the recipe `sentiment` where words begin with vectors of reviews.
FROM_REVIEWS = {
    "width": 200,
    "mixer": "convolution",
    "model.front.deviation": 0.2,
    "model.front.word_dropout": 0.1,
    "model.front.dropout": 0.3,
    "data.prefix": 0,
    "data.minimum_count": 1,
    "task.pool": "max",
    "optimizer.learning_rate": 1e-3,
    "epochs": 5,
}

# Options of the recipe `citation` as it was, without early stopping.
_SHORT = {"value_dropout": 0.0, "epochs": 150, "training.patience": 0, "training.watch": ""}


def _deep(layers: int, **model: Any) -> dict[str, Any]:
    """The protocol of Chen et al. 2020 on citations, whose linear maps at both ends decay less than the layers between."""
    ends = ("stack.layers.0", f"stack.layers.{layers + 1}")
    return {
        "layers": layers,
        "mixer": "gcnii",
        "activation": "relu",
        "linear_ends": True,
        "optimizer.learning_rate": 0.01,
        "optimizer.weight_decay": 0.01,
        "optimizer.weight_decays": dict.fromkeys(ends, 5e-4),
        "epochs": 1500,
        **model,
    }


CASES = {
    "digits": Case(
        "scikit-learn digits, 1,797 pictures", "by label and number: 1,005 / 297 / 495", 3, "none on this split"
    ),
    "tagging": Case(
        "UD English EWT, UPOS, gold tokens",
        "published: 12,544 / 2,001 / 2,077 sentences",
        3,
        "UDPipe 1.2 .944-.945",
        # Feed-forward widths that make the blocks of all equally large, but for the window of the longest sentence, 159 words.
        {
            "self-attention": {},
            "pointwise": {"mixer": "pointwise", "feed_forward": 448},
            "window": {"mixer": "window", "model.mixing.neighbors": 1, "feed_forward": 320},
            "window of the longest sentence": {
                "mixer": "window",
                "model.mixing.neighbors": 158,
                "layers": 1,
                "epochs": 5,
            },
            "convolution": {"mixer": "convolution", "model.mixing.neighbors": 2, "feed_forward": 192},
            "Elman": {"mixer": "elman", "feed_forward": 352},
            "Jordan": {"mixer": "jordan", "feed_forward": 320},
            "LSTM": {"mixer": "lstm", "feed_forward": 64},
            "LSTM, embeddings begin small": {"mixer": "lstm", "feed_forward": 64, "model.front.deviation": 0.1},
            "LSTM, then self-attention": {"mixer": "lstm+attention", "feed_forward": 160},
        },
        more=seen_before,
        shown=two_saws,
    ),
    "citation": Case(
        "Cora",
        "published: 140 / 500 / 1,000 papers",
        10,
        "GCN .815, GAT .830, GCNII .855",
        {
            "GCN": {
                "width": 16,
                "mixer": "gcn",
                "activation": "relu",
                "dropout": 0.5,
                "optimizer.learning_rate": 0.01,
                "optimizer.weight_decay": 0.0,
                "optimizer.weight_decays": {"stack.layers.0": 5e-4},
                "epochs": 200,
                "training.patience": 0,
            },
            "GCNII, 64 layers": _deep(64),
            "deep attention, 16 layers": _deep(16, mixer="deep_attention", attention_dropout=0.3),
            "deep attention, 32 layers": _deep(32, mixer="deep_attention", attention_dropout=0.3),
            "Separable (GAT)": {},
            "Additive (GATv2)": _SHORT
            | {"attention": "Attention(score=Additive(activation='leaky_relu'), pattern=Edges())"},
            "Dot": _SHORT | {"attention": "Attention(pattern=Edges())"},
        },
    ),
    "departments": Case(
        "email-Eu-core",
        "by the seed and the label: 797 / 104 / 104 people",
        10,
        "none on this split",
        draws="data.seed",
    ),
    "workers": Case(
        "tolokers",
        "published: the mask of the seed's number, 5,879 / 2,939 / 2,940 workers",
        10,
        "GCN .836, GAT .837, Polynormer .852, over 10 masks",
        metric="roc_auc",
        draws="data.mask",
    ),
    "molecules-solubility": Case(
        "ESOL, log mol/l",
        "scaffolds: 902 / 113 / 113 molecules",
        3,
        "GCN .885 (MoleculeNet)",
        metric="rmse",
        together=True,
    ),
    "molecules-hydration": Case(
        "FreeSolv, kcal/mol",
        "scaffolds: 513 / 64 / 65 molecules",
        3,
        "GCN 2.31-3.12 (DGL-LifeSci)",
        metric="rmse",
        together=True,
    ),
    "molecules-barrier": Case(
        "BBBP", "scaffolds: 1,631 / 204 / 204 molecules", 3, "GCN .63-.68", metric="roc_auc", together=True
    ),
    "sst2": Case(
        "SST-2, whole sentences",
        "published: 6,920 / 872 / 1,821 sentences",
        3,
        "convolution .835 (trained on phrases as well)",
        {
            "words": {},
            "words, from vectors of reviews": {
                "model.front.vectors": "runs/bench/imdb-96.safetensors",
                "width": 96,
                "model.front.deviation": 0.2,
                "data.prefix": 0,
                "data.minimum_count": 1,
                "task.pool": "attention",
                "optimizer.learning_rate": 1e-3,
                "epochs": 5,
            },
            "convolution, from vectors of reviews": FROM_REVIEWS
            | {"model.front.vectors": "runs/bench/imdb-200.safetensors"},
            "convolution, from vectors of reviews and their labels": FROM_REVIEWS
            | {"model.front.vectors": "runs/bench/imdb-200-labels.safetensors"},
        },
        recipe="sentiment",
    ),
    "imdb": Case(
        "IMDb reviews",
        "published: 25,000 / 25,000 reviews, a tenth of the training part for validation",
        3,
        "LSTM .862, convolution .875, NBSVM .912",
        {"words, one block of attention": _ATTENDING, "words and runs of up to three": {}},
        recipe="reviews",
    ),
    "imdb-bytes": Case(
        "IMDb reviews, their first 4,096 bytes",
        "published: 25,000 / 25,000 reviews, a tenth of the training part for validation",
        3,
        "Transformer .643 (Long Range Arena)",
        {
            "bytes": {"model.front.ngrams": 1, "model.front.word_dropout": 0.0, "epochs": 4},
            "bytes and runs of up to six bytes": {},
        },
        recipe="reviews-bytes",
    ),
} | PICTURE_CASES


def train_one(experiment: Experiment, folder: Path) -> Run:
    if not (folder / "evaluation.json").exists():
        fit(experiment, folder, resume=folder.exists())
    return Run.open(folder)


def with_options(experiment: Experiment, options: Mapping[str, Any]) -> Experiment:
    """The experiment with other options, named as in `Variants`."""
    for option, value in options.items():
        named = f"training.{option}" if option == "epochs" else option
        experiment = changed(experiment, {named if "." in named else f"model.{named}": value})
    return experiment


def measure(name: str, variant: str, seeds: int, folder: Path) -> dict[str, Any]:
    """One row of the table."""
    case = CASES[name]
    place = {"data.path": f"{os.environ['REGARD_DATA']}/{case.folder}"} if case.folder else {}
    options = place | case.variants[variant]
    recipe = options.pop("recipe", case.recipe or name)
    experiment = with_options(RECIPES[recipe].experiment(), options)
    values, facts, more, runs = [], [], [], []
    for seed in range(seeds):
        training = replace(experiment.training, seed=seed, progress=False)
        seeded = with_options(replace(experiment, training=training), {case.draws: seed} if case.draws else {})
        run = train_one(seeded, folder / variant.replace(" ", "-") / str(seed))
        evaluation = run.evaluate("test")
        values.append(round(evaluation["metrics"][case.metric], 4))
        runs.append(run)
        facts.append(read_facts(run.folder))
        more.append(case.more(run))
        baseline = evaluation["baseline"][case.metric]
    extra = {key: round(statistics.mean(each[key] for each in more), 4) for key in more[0]}
    return {
        "model": variant,
        "metric": case.metric,
        "seeds": list(range(seeds)),
        "values": values,
        "mean": round(statistics.mean(values), 4),
        "sd": round(statistics.stdev(values), 4) if seeds > 1 else 0.0,
        **extra,
        **({"their mean output": together(runs, case.metric)} if case.together else {}),
        **case.shown(run),
        "baseline": round(baseline, 4),
        "published": case.published,
        "parameters": run.parameters,
        # Of a training of so many minutes, where it was best on the validation part.
        "epochs": max(each["epoch"] for each in facts) if experiment.training.minutes else experiment.training.epochs,
        "seconds": round(statistics.median(each["seconds"] for each in facts), 1),
    }


def together(runs: list[Run], metric: str) -> float:
    """The metric of the mean of several runs' outputs on the test part."""
    first = runs[0]
    part, metrics = first.experiment.data.part("test", first.encoding), first.task.metrics()
    every = [[*outputs(run.model, run.task, part, run.experiment.training)] for run in runs]
    for same in zip(*every, strict=True):
        mean = torch.stack([output for _, output in same]).mean(0)
        first.task.score(metrics, mean, same[0][0])
    return round(float(metrics.compute()[metric]), 4)


def simple(name: str, seeds: int) -> list[dict[str, Any]]:
    """The rows of the simple models: fitted once, or to each division that a seed draws."""
    case, experiment = CASES[name], RECIPES[CASES[name].recipe or name].experiment()
    draws = [{case.draws: seed} for seed in range(seeds)] if case.draws else [{}]
    found = [BASELINES[name](parts(with_options(experiment, options))) for options in draws]
    rows: list[dict[str, Any]] = []
    for model in found[0]:
        values = [round(each[model], 4) for each in found]
        row = {"model": model, "metric": case.metric, "mean": round(statistics.mean(values), 4)}
        if len(values) > 1:
            row |= {"seeds": list(range(seeds)), "values": values, "sd": round(statistics.stdev(values), 4)}
        rows.append(row)
    return rows


def parts(experiment: Experiment) -> tuple[list[Example], list[Example]]:
    reader: Any = experiment.data
    if isinstance(reader, Texts):
        return whole_texts(reader)
    plain = {name: 0.0 for name in ("distort", "train_crop") if hasattr(reader, name)}
    reader = replace(reader, **plain)
    encoding = reader.fit()
    train, test = reader.training(encoding), reader.part("test", encoding)
    return [train[i] for i in range(len(train))], [test[i] for i in range(len(test))]


def whole_texts(reader: Texts) -> tuple[list[Example], list[Example]]:
    """Training and test texts as they are, each the one token of an example without vectors."""
    documents = read_documents(locate(reader.dataset), Columns())
    classes = sorted({document.label for document in documents if document.label})
    found: dict[str | None, list[Example]] = {"train": [], "test": [], "validation": []}
    for each in documents:
        target = np.array(classes.index(each.label or ""))
        found[each.part].append(Example(np.zeros(0), target, each.name, tokens=(each.text,)))
    return found["train"], found["test"]


def merged(rows: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with what is new of their models; further models come before the simple ones, which count no parameters."""
    found: dict[str, dict[str, Any]] = {}
    for row in [*rows, *new]:
        found[row["model"]] = found.get(row["model"], {}) | row
    return sorted(found.values(), key=lambda row: "parameters" not in row)


def report(name: str, folder: Path, seeds: int | None = None, only: str | None = None) -> None:
    """Trains and evaluates a case, or one variant of it, and writes its result."""
    case = CASES[name]
    chosen = [only] if only else list(case.variants)
    rows = [measure(name, variant, seeds or case.seeds, folder / name) for variant in chosen]
    before = RESULTS / f"{name}.json"
    if only and before.exists():
        rows = merged(json.loads(before.read_text())["rows"], rows)
    elif name in BASELINES:
        rows += simple(name, seeds or case.seeds)
    write(name, {"case": name, "data": case.data, "split": case.split, "rows": rows, "machine": machine()})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("case", choices=CASES)
    parser.add_argument("--only", metavar="VARIANT")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--folder", type=Path, default=Path("runs/bench"))
    options = parser.parse_args()
    report(options.case, options.folder, options.seeds, options.only)


if __name__ == "__main__":
    main()
