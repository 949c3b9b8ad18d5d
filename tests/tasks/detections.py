"""Boxes that were found, some of them near the boxes that are there, with ties among their scores."""

from __future__ import annotations

import random
from typing import Any

__all__ = ["drawn"]


def drawn(seed: int, pictures: int = 8) -> list[dict[str, Any]]:
    """Predictions as the task writes them; Python's generator gives the same numbers everywhere."""
    r = random.Random(seed)
    predictions = []
    for n in range(pictures):
        boxes, target = [], []
        for _ in range(r.randrange(12)):
            x, y, w, h, label = r.uniform(0, 80), r.uniform(0, 80), r.uniform(5, 40), r.uniform(5, 40), r.choice("123")
            target.append({"label": label, "box": [x, y, x + w, y + h]})
            for _ in range(r.randrange(3)):
                a, b, c, d = (r.gauss(0, 0.12) for _ in range(4))
                ends = [x + a * w, y + b * h, x + w + c * w, y + h + d * h]
                score = round(r.random(), 1 if seed % 2 else 6)
                boxes.append({"label": label if r.random() < 0.85 else r.choice("123"), "score": score, "box": ends})
        for _ in range(r.randrange(350 if seed == 4 else 4)):
            x, y = r.uniform(0, 80), r.uniform(0, 80)
            box = [x, y, x + r.uniform(5, 40), y + r.uniform(5, 40)]
            boxes.append({"label": r.choice("123"), "score": r.random(), "box": box})
        predictions.append({"name": str(n), "boxes": boxes, "target": target})
    return predictions
