"""Whatever may not be read is named in one sentence, by every reader that meets it."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from recordings import sounds

from regard.data.graph import Planetoid
from regard.data.homework import LogMelFolder, write_log_mel_folder
from regard.data.image import Digits
from regard.data.pictures import Pictures
from regard.data.reader import Reader
from regard.data.speech import Sounds
from regard.data.text import Conllu, Texts
from regard.errors import InputError

pytestmark = pytest.mark.skipif(os.geteuid() == 0, reason="the system lets root read everything")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def by_label(root: Path, ending: str) -> Path:
    for label in "ab":
        (root / label).mkdir(parents=True)
        for n in range(4):
            path = root / label / f"{n}{ending}"
            path.write_text(f"text {n}\n") if ending == ".txt" else Image.new("L", (9, 9), n).save(path)
    return root


def homework(root: Path) -> Path:
    frames = np.random.default_rng(0).normal(size=(8, 30, 8)).astype(np.float32)
    write_log_mel_folder(root, [("ab"[n % 2], each) for n, each in enumerate(frames)], frames[:2])
    return root


def graph(root: Path) -> Path:
    root.mkdir()
    (root / "nodes.csv").write_text("id,label,x\n" + "".join(f"n{n},{n % 2},{n}\n" for n in range(20)))
    (root / "edges.csv").write_text("source,target\nn0,n1\n")
    return root


def files(root: Path, *names: str) -> Path:
    root.mkdir()
    for name in names:
        (root / name).write_text(
            "1\tI\t_\tPRON\t_\t_\t_\t_\t_\t_\n\n" if "conllu" in name else "text,label\na,x\nb,y\n"
        )
    return root


CASES: dict[str, Any] = {
    "pictures": (Pictures, lambda root: by_label(root, ".png"), "a/*.png"),
    "pictures' folder": (Pictures, lambda root: by_label(root, ".png"), "a"),
    "digits": (Digits, lambda root: by_label(root, ".png"), "a/*.png"),
    "sounds": (Sounds, sounds, "up/*.wav"),
    "sounds' folder": (Sounds, sounds, "up"),
    "texts by label": (Texts, lambda root: by_label(root, ".txt"), "a/*.txt"),
    "texts' folder": (Texts, lambda root: by_label(root, ".txt"), "."),
    "tables": (Texts, lambda root: files(root, "train.csv", "dev.csv", "test.csv"), "train.csv"),
    "treebanks": (Conllu, lambda root: files(root, "a-train.conllu", "a-dev.conllu", "a-test.conllu"), "a-train.conllu"),
    "treebanks' folder": (Conllu, lambda root: files(root, "a-train.conllu"), "."),
    "graphs": (Planetoid, graph, "edges.csv"),
    "graphs' folder": (Planetoid, graph, "."),
    "homework": (LogMelFolder, homework, "mapping.json"),
    "homework's tensors": (LogMelFolder, homework, "*.pt"),
    "homework's folder": (LogMelFolder, homework, "."),
}  # fmt: skip


@pytest.fixture
def shut(tmp_path: Path) -> Iterator[list[Path]]:
    paths: list[Path] = []
    yield paths
    for path in reversed(paths):
        path.chmod(0o700)


@pytest.mark.parametrize("name", CASES)
def test_what_may_not_be_read_is_named(tmp_path: Path, shut: list[Path], name: str) -> None:
    kind, make, closed = CASES[name]
    root = Path(make(tmp_path / "own"))
    reader: Reader = kind(str(root))
    shut += [root] if closed == "." else sorted(root.glob(closed))
    for path in shut:
        path.chmod(0)

    def read() -> None:
        encoding = reader.fit()
        for part in ("train", "validation", "test"):
            found = reader.part(part, encoding)  # type: ignore[arg-type]
            for i in range(len(found)):
                found[i]

    with pytest.raises(
        InputError, match=r"own.* cannot be read.*(Permission denied|System error)|own.* is not"
    ) as caught:
        read()
    assert "\n" not in str(caught.value)
