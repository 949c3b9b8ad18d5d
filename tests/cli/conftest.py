"""Tiny data of one's own, one for each recipe."""

import csv

import numpy as np
import pytest


@pytest.fixture
def pictures(tmp_path):
    """Eight bright and eight dark pictures."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for label, low in (("bright", 128), ("dark", 0)):
        (tmp_path / "pictures" / label).mkdir(parents=True)
        for n in range(8):
            pixels = generator.integers(low, low + 128, (12, 12), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "pictures" / label / f"{n}.png")
    return tmp_path / "pictures"


@pytest.fixture
def sentences(tmp_path):
    """Thirty sentences in CoNLL-U."""
    tags = {"I": "PRON", "saw": "VERB", "a": "DET", "cat": "NOUN"}
    lines = []
    for n in range(30):
        lines.append(f"# sent_id = s{n}")
        for place, word in enumerate(["I", "saw", "a", "cat"][: 2 + n % 3], 1):
            lines.append(f"{place}\t{word}\t_\t{tags[word]}" + "\t_" * 6)
        lines.append("")
    path = tmp_path / "my.conllu"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def sounds(tmp_path, monkeypatch):
    """Low and high tones of a third of a second; features are kept beside them."""
    soundfile = pytest.importorskip("soundfile")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for label, hertz in (("low", 200), ("high", 2000)):
        (tmp_path / "sounds" / label).mkdir(parents=True)
        for n in range(6):
            wave = np.sin(2 * np.pi * hertz * np.arange(5333) / 16000) * 0.5 + generator.normal(0, 0.01, 5333)
            soundfile.write(tmp_path / "sounds" / label / f"{n}.wav", wave, 16000)
    return tmp_path / "sounds"


@pytest.fixture
def graph(tmp_path):
    """Thirty people of two clubs on a ring."""
    folder = tmp_path / "graph"
    folder.mkdir()
    with (folder / "nodes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "label", "age", "height"])
        writer.writerows([f"p{n}", ("chess", "go")[n % 2], 20 + n, 1.5 + n % 2] for n in range(30))
    with (folder / "edges.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["source", "target"])
        writer.writerows([f"p{n}", f"p{(n + 2) % 30}"] for n in range(30))
    return folder
