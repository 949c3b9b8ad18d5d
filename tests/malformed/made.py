"""Small data of each kind, and a run trained on it."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from regard.data.homework import write_log_mel_folder

__all__ = ["DATA", "PLAIN", "RECIPES"]

PLAIN = [
    *("--training.epochs", "1", "--training.progress", "false", "--training.device", "cpu"),
    *("--model.layers", "1", "--model.width", "8", "--model.heads", "1"),
]


def _rows() -> list[tuple[str, str]]:
    return [(f"{'good' if n % 2 else 'bad'} film number {n % 5}", "pos" if n % 2 else "neg") for n in range(24)]


def csv(root: Path) -> Path:
    (root / "own.csv").write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in _rows()))
    return root / "own.csv"


def tsv(root: Path) -> Path:
    (root / "own.tsv").write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in _rows()))
    return root / "own.tsv"


def json_lines(root: Path) -> Path:
    (root / "own.jsonl").write_text("".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in _rows()))
    return root / "own.jsonl"


def label_lines(root: Path) -> Path:
    (root / "own.txt").write_text("".join(f"{label} {text}\n" for text, label in _rows()))
    return root / "own.txt"


def archive(root: Path) -> Path:
    with tarfile.open(root / "own.tar.gz", "w:gz") as file:
        for n, (text, label) in enumerate(_rows()):
            member = tarfile.TarInfo(f"own/{label}/{n}.txt")
            member.size = len(text)
            file.addfile(member, io.BytesIO(text.encode()))
    return root / "own.tar.gz"


def text_folder(root: Path) -> Path:
    for n, (text, label) in enumerate(_rows()):
        (root / "own" / label).mkdir(parents=True, exist_ok=True)
        (root / "own" / label / f"{n}.txt").write_text(text)
    return root / "own"


def treebank(root: Path) -> Path:
    row = "{}\t{}\t_\t{}" + "\t_" * 6 + "\n"
    sentences = [f"# sent_id = {n}\n" + row.format(1, "I", "PRON") + row.format(2, "saw", "VERB") for n in range(24)]
    (root / "own.conllu").write_text("\n".join(sentences) + "\n")
    return root / "own.conllu"


def pictures(root: Path) -> Path:
    from PIL import Image

    for n in range(24):
        folder = root / "own" / ("dark", "light")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 100, (8, 8)) + 100 * (n % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{n}.{'png' if n < 20 else 'jpg'}")
    return root / "own"


def sounds(root: Path) -> Path:
    import soundfile

    for n in range(24):
        folder = root / "own" / ("low", "high")[n % 2]
        folder.mkdir(parents=True, exist_ok=True)
        wave = 0.3 * np.sin(np.arange(3200) * (0.1 + n % 2)) + np.random.default_rng(n).normal(0, 0.01, 3200)
        soundfile.write(folder / f"{n}.{('wav', 'flac', 'ogg', 'mp3')[n // 2 % 4]}", wave, 16_000)
    return root / "own"


def listed_sounds(root: Path) -> Path:
    place = sounds(root)
    files = sorted(path for path in place.rglob("*") if path.is_file())
    rows = [f"{path.relative_to(place)},{path.parent.name}" for path in files]
    (place / "utterances.csv").write_text("\n".join(["path,speaker", *rows]) + "\n")
    return place


def tensors(root: Path) -> Path:
    frames = np.random.default_rng(0).normal(size=(24, 12, 8)).astype(np.float32)
    write_log_mel_folder(root / "own", [("ab"[n % 2], each) for n, each in enumerate(frames)], frames[:2])
    return root / "own"


def graph(root: Path) -> Path:
    place = root / "own"
    place.mkdir()
    (place / "nodes.csv").write_text("id,label,x,y\n" + "".join(f"n{n},{'ab'[n % 2]},{n},1\n" for n in range(24)))
    (place / "edges.csv").write_text("source,target\n" + "".join(f"n{n},n{n + 1}\n" for n in range(23)))
    return place


DATA: dict[str, Callable[[Path], Path]] = {
    made.__name__: made
    for made in (
        *(csv, tsv, json_lines, label_lines, archive, text_folder, treebank, pictures),
        *(sounds, listed_sounds, tensors, graph),
    )
}
RECIPES = {
    **dict.fromkeys(("csv", "tsv", "json_lines", "label_lines", "archive", "text_folder"), "sentiment"),
    "treebank": "tagging",
    "pictures": "digits",
    "sounds": "speaker-simple",
    "listed_sounds": "speaker-simple",
    "tensors": "speaker-simple",
    "graph": "citation",
}
