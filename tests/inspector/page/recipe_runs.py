"""A small run of every recipe with the weights that it begins with, and an input of it: tiny data, few numbers, no training."""

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from regard.data.arena.making import make_listops, make_retrieval
from regard.data.sound import read_sound
from regard.inspector.answers import Questions
from regard.inspector.inspection import Inspection
from regard.recipes import RECIPES
from regard.train import Run
from regard.train.kinds import build, build_model
from tests.data.voc import voc

__all__ = ["KINDS", "asked_of"]

GRAPH = Path(__file__).parents[2] / "models" / "earlier" / "graph"
SMALLER = {"width": 16, "heads": 2, "feed_forward": 16, "hidden": 16, "queries": 5, "layers": 2, "decoder_layers": 1}
SMALLER |= {"maxout": 16, "longer": 4}
SENTENCES = ["not a bad film", "a very bad film", "good and short", "long and dull"]


def pictures(root, side=8):
    for n in range(24):
        folder = root / ("dark", "light")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 100, (side, side)) + 100 * (n % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{n}.png")
    return root, root / "light" / "1.png"


def boxes(root):
    return voc(root), root / "JPEGImages" / "p01.png"


def table(root, header="text,label", rows=None):
    root.mkdir()
    rows = rows or [f'"{SENTENCES[n % 4]} {n % 3}",{"pos" if n % 2 else "neg"}' for n in range(24)]
    (root / "own.csv").write_text("\n".join([header, *rows]) + "\n")
    return root / "own.csv"


def texts(root):
    return table(root), SENTENCES[0]


def molecules(root):
    pytest.importorskip("rdkit")
    smiles = ["CCO", "c1ccccc1", "CC(=O)O", "CCN", "CCCl", "C1CCCCC1"]
    return table(
        root, "smiles,label", [f"{smiles[n % 6]}{'C' * (n // 6)},{n % 2}" for n in range(24)]
    ), "CC(=O)Oc1ccccc1"


def treebank(root):
    row = "{}\t{}\t_\t{}" + "\t_" * 6 + "\n"
    sentences = [f"# sent_id = {n}\n" + row.format(1, "I", "PRON") + row.format(2, "saw", "VERB") for n in range(24)]
    root.mkdir()
    (root / "own.conllu").write_text("\n".join(sentences) + "\n")
    return root / "own.conllu", "I saw a saw"


def documents(root):
    root.mkdir()
    (root / "own.txt").write_text("\n\n".join(f"{each}. It was number {n}." for n, each in enumerate(SENTENCES * 10)))
    return root / "own.txt", "not a [MASK] film"


def running(root):
    root.mkdir()
    (root / "own.txt").write_text(" ".join(SENTENCES) * 40)
    return root / "own.txt", "a very bad"


def trees(root):
    make_listops(root, 0, (8, 2, 2))
    return root, "[MAX 1 [MIN 2 3 ] ]"


def gaps(root):
    return trees(root)[0], "[MAX 1 [MASK] 3 ]"


def pairs(root):
    (root / "books").mkdir(parents=True)
    for author in "ABCDEF":
        for title in ("one", "two"):
            (root / "books" / f"{author}_{title}.txt").write_text(f"{author} wrote {title} " * 800)
    make_retrieval(root / "made", 0, (8, 2, 2), root / "books")
    return root / "made", "A wrote\tB wrote"


def languages(root):
    words = {"ein": "a", "Hund": "dog", "Haus": "house", "rot": "red"}
    rows = [f"{a} {b} .\t{words[a]} {words[b]} ." for a in words for b in words]
    root.mkdir()
    (root / "own.tsv").write_text("\n".join(["de\ten", *rows]) + "\n")
    return root / "own.tsv", "ein Hund ."


def sounds(root):
    for n in range(24):
        folder = root / ("low", "high")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        wave = 0.3 * np.sin(np.arange(4000) * (0.1 + n % 2)) + np.random.default_rng(n).normal(0, 0.01, 4000)
        soundfile.write(folder / f"{n}.wav", wave, 16_000)
    return root, root / "low" / "0.wav"


def speech(root):
    _, first = sounds(root)
    rows = [f"{('low', 'high')[n % 2]}/{n}.wav,{'ABC'[n % 3] * 2}" for n in range(24)]
    (root / "own.csv").write_text("\n".join(["path,text", *rows]) + "\n")
    return root / "own.csv", first


def graph(root):
    return GRAPH, GRAPH


def masked(root):
    root.mkdir()
    arrays = {f"{name}_masks": np.arange(24)[None] % 3 == n for n, name in enumerate(("train", "val", "test"))}
    edges = np.stack((np.arange(23), np.arange(1, 24)), 1)
    features, labels = np.random.default_rng(0).random((24, 4), np.float32), np.arange(24) % 2
    np.savez(root / "own.npz", node_features=features, node_labels=labels, edges=edges, **arrays)
    return root / "own.npz", root / "own.npz"


def edges(root):
    root.mkdir()
    (root / "edges.txt").write_text("".join(f"{n} {n + 1}\n" for n in range(23)))
    (root / "labels.txt").write_text("".join(f"{n} {n % 2}\n" for n in range(24)))
    return root, root


KINDS = {
    **dict.fromkeys(
        ("digits", "pictures", "clothes", "clothes-stem", "clothes-cnn", "clothes-gan", "clothes-pixels"), pictures
    ),
    **dict.fromkeys(("arena-image", "arena-pathfinder", "arena-path-x"), pictures),
    **dict.fromkeys(("cells", "cells-patches"), boxes),
    "tagging": treebank,
    **dict.fromkeys(("sentiment", "reviews", "reviews-bytes", "arena-text"), texts),
    **dict.fromkeys(("pretraining", "pretraining-text"), documents),
    "arena-listops": trees,
    "pretraining-listops": gaps,
    "arena-retrieval": pairs,
    **dict.fromkeys(("translation", "translation-recurrent"), languages),
    **dict.fromkeys((name for name in RECIPES if name.startswith("speaker")), sounds),
    "transcription": speech,
    "characters": running,
    "citation": graph,
    "workers": masked,
    "departments": edges,
    **dict.fromkeys((name for name in RECIPES if name.startswith("molecules")), molecules),
}
"""By recipe, what writes its data and gives their path and an input: a path, or a text."""
DATA = {
    "size": 8,
    "longest": 24,
    "vocabulary": 60,
    "window": 16,
    "minimum_count": 1,
    "cache": False,
    "division": "hash",
    "train_crop": 0,
}


def smaller(options, sizes):
    """The options with those of the sizes that they have, where they are larger."""
    known = {field.name for field in fields(options)} & set(sizes)
    now = {name: getattr(options, name) for name in known}
    return replace(
        options, **{name: min(now[name], sizes[name]) if isinstance(now[name], int) else sizes[name] for name in known}
    )


def small(experiment, path):
    """The experiment with few numbers and data of one's own."""
    data = replace(smaller(experiment.data, DATA), path=str(path))
    if hasattr(data, "target_path") and hasattr(data, "source_language"):
        data = replace(data, tokens="words")
    if hasattr(data, "crop") and hasattr(data, "jitter"):
        data = replace(data, size=40, patch=8)
    task = smaller(experiment.task, SMALLER)
    if hasattr(task, "alignment"):
        task = replace(task, alignment=0.0)
    return replace(experiment, data=data, model=smaller(experiment.model, SMALLER), task=task)


def asked_of(name, root):
    """What the page of a recipe's run is asked, about its own input, as `regard inspect RUN INPUT` makes it."""
    path, given = KINDS[name](root / "data")
    experiment = small(RECIPES[name].experiment(), path)
    encoding = experiment.data.fit()
    torch.manual_seed(0)
    model = build_model(experiment.model, experiment.task, encoding)
    task = build(experiment.task, model.width, encoding)
    task.attach(model)
    run = Run(root / "run", experiment, encoding, model.eval(), task.eval())
    files = isinstance(given, Path)
    samples = read_sound(given) if files and given.suffix == ".wav" else None
    inputs = run.inputs([given]) if files else [run.texts([given])]
    return Questions(Inspection.of_run(run, inputs, files=files, samples=samples))
