"""The commands of the README and the docs work as they are written."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from regard.cli import main
from regard.recipes import recipe
from regard.train import to_yaml

ROOT = Path(__file__).parent.parent
SMALL = ["--training.epochs=1", "--training.progress=false", "--model.layers=1"]


def commands(path: str) -> list[list[str]]:
    """The words of each call of `regard` in a document: lines of shell blocks, and code in the cells of tables."""
    text = (ROOT / path).read_text()
    blocks = "".join(re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL))
    lines = blocks.splitlines() + re.findall(r"(?<=\| )`(.*?)`", text.replace("\\|", "|"))
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("regard ")]


@pytest.fixture
def own_files(tmp_path, monkeypatch):
    """What the README calls my.conllu, reviews.csv, recordings, ada.wav, pictures and so on, in the working folder."""
    soundfile = pytest.importorskip("soundfile")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    rows = ["1\tI\t_\tPRON", "2\tsaw\t_\tVERB", "3\ta\t_\tDET", "4\tsaw\t_\tNOUN"]
    sentence = "".join(row + "\t_" * 6 + "\n" for row in rows)
    Path("my.conllu").write_text("\n".join(f"# sent_id = {n}\n{sentence}" for n in range(30)) + "\n")
    with open("reviews.csv", "w", newline="") as reviews:
        rows = [[["good", "bad"][n % 2] + f" film number {n}", ["yes", "no"][n % 2]] for n in range(40)]
        csv.writer(reviews).writerows([["text", "label"], *rows])
    for n in range(40):  # So many that the validation part has two recordings of a person.
        voice, picture = Path("recordings", ["anna", "bernard"][n % 2]), Path("pictures", ["cat", "dog"][n % 2])
        voice.mkdir(parents=True, exist_ok=True)
        picture.mkdir(parents=True, exist_ok=True)
        soundfile.write(voice / f"{n}.wav", rng.normal(size=8000) * 0.1, 16000)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(picture / f"{n}.png")
    for name in ("ada.wav", "unknown.wav"):
        soundfile.write(name, rng.normal(size=8000) * 0.1, 16000)
    Path("my-graph").mkdir()
    with open("my-graph/nodes.csv", "w", newline="") as nodes, open("my-graph/edges.csv", "w", newline="") as edges:
        csv.writer(nodes).writerows([["id", "label", "x", "y"], *([n, "ab"[n % 2], n % 2, 1] for n in range(40))])
        csv.writer(edges).writerows([["source", "target"], *([n, (n + 1) % 40] for n in range(40))])


@pytest.mark.unpoisoned
def test_the_commands_of_the_readme_work(own_files, capsys):
    for words in commands("README.md"):
        options = SMALL if words[0] == "train" else []
        assert main([*words, *options]) == 0, capsys.readouterr().err
    assert "VERB" in capsys.readouterr().out


@pytest.mark.parametrize(
    "path", ["docs/training.md", "docs/data.md", "docs/speech.md", "docs/cli.md", "docs/performance.md", "docs/map.md"]
)
def test_commands_in_the_docs_are_understood(path, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What --training.start names.
    for run, name in (("tagger", "tagging"), ("patches", "cells-patches")):
        Path("runs", run).mkdir(parents=True)
        Path("runs", run, "config.yaml").write_text(to_yaml(recipe(name).experiment()))
    checked = 0
    for words in commands(path):
        if words[0] == "train" and not {"RECIPE", "--resume", "--config"} & set(words):
            # What follows makes several runs or goes elsewhere; the options before it are those of one run.
            several = [words.index(word) for word in ("--sweep", "--seeds", ">") if word in words]
            one = words[: min(several, default=len(words))]
            words = one if "--print_config" in one else [*one, "--print_config"]
        elif words[0] != "plan" or "SPEC" in words:
            continue
        assert main(words) == 0, f"{words}: {capsys.readouterr().err}"
        checked += 1
    assert checked
