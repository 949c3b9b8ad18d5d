"""Small pictures with boxes, as PASCAL VOC has them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["box", "packed", "voc", "xml"]


def box(label: str, left: float, top: float, right: float, bottom: float) -> str:
    ends = zip(("xmin", "ymin", "xmax", "ymax"), (left, top, right, bottom), strict=True)
    inner = "".join(f"<{name}>{end}</{name}>" for name, end in ends)
    return f"<object><name>{label}</name><difficult>0</difficult><bndbox>{inner}</bndbox></object>"


def xml(boxes: Sequence[str], size: tuple[int, int] | None = (40, 30)) -> str:
    stated = "" if size is None else f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>a.png</filename>{stated}{''.join(boxes)}</annotation>"


def voc(root: Path, lists: Mapping[str, Sequence[int]] | None = None, count: int = 20) -> Path:
    """Pictures of 40 x 30 with a red square "red" and, in every second, a blue one "blue", somewhere else in each."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for n in range(count):
        pixels = np.full((30, 40, 3), 128, np.uint8)
        x, y = n % 20, n % 10
        pixels[y : y + 12, x : x + 12] = (255, 0, 0)
        boxes = [box("red", x, y, x + 12, y + 12)]
        if n % 2:
            pixels[20:28, 30:38] = (0, 0, 255)
            boxes.append(box("blue", 30, 20, 38, 28))
        Image.fromarray(pixels).save(root / "JPEGImages" / f"p{n:02}.png")
        (root / "Annotations" / f"p{n:02}.xml").write_text(xml(boxes))
    parts = {"train": range(12), "val": range(12, 16), "test": range(16, 20)} if lists is None else lists
    for name, numbers in parts.items():
        (root / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"p{n:02}\n" for n in numbers))
    return root


def packed(root: Path, archive: Path) -> Path:
    """The folder as a tar archive."""
    with tarfile.open(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            if path.is_file():
                member = tarfile.TarInfo(f"./{path.relative_to(root)}")
                member.size = path.stat().st_size
                file.addfile(member, io.BytesIO(path.read_bytes()))
    return archive
