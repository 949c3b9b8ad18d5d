"""The cases of `benchmarks.train` that are pictures: trainings of so many minutes."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.case import Case
from regard.train import Run

__all__ = ["PICTURE_CASES"]


def both_precisions(run: Run) -> dict[str, float]:
    """Of boxes, the mean of average precision over thresholds as well, and at .5 that of each label, on the test part."""
    evaluation = json.loads((run.folder / "evaluation.json").read_text())
    each = {label: scores["average_precision_50"] for label, scores in evaluation["labels"].items()}
    return {"mAP@[.5:.95]": evaluation["metrics"]["map"], **{f"AP@.5, {label}": score for label, score in each.items()}}


def _minutes(minutes: float, epochs: int, warm_up: int) -> dict[str, Any]:
    """Of a training that ends after so many minutes on one core, and not before because of its epochs."""
    time = {"training.minutes": float(minutes), "training.threads": 1}
    return time | {"epochs": epochs, "optimizer.warm_up": warm_up}


_CLOTHES = "Fashion-MNIST, idx files with the published pictures in another order"
_OF_CLOTHES = "60,000 / 10,000 as published, a tenth of the training part for validation: 54,000 / 6,000 / 10,000"

PICTURE_CASES = {
    "clothes": Case(
        _CLOTHES,
        _OF_CLOTHES,
        1,
        "compact Transformer CCT-2/3x2 .941, 300 epochs; two convolutions .925",
        {
            "recipe clothes-stem, 25 minutes": {
                "layers": 2,
                "dropout": 0.0,
                "model.front.norm": True,
                "model.front.stages": (32, 64),
            }
            | _minutes(25, epochs=40, warm_up=200),
            "recipe clothes, 20 minutes": {"recipe": "clothes", "dropout": 0.0, "training.precision": "bf16-mixed"}
            | _minutes(20, epochs=60, warm_up=300),
            "recipe clothes-cnn, 15 minutes": {"recipe": "clothes-cnn"} | _minutes(15, epochs=40, warm_up=200),
        },
        recipe="clothes-stem",
        folder="fashion-mnist",
    ),
    "clothes-pixels": Case(
        _CLOTHES,
        _OF_CLOTHES,
        1,
        "none that we know; gzip 3.10",
        {"Image Transformer, 15 minutes": _minutes(15, epochs=2, warm_up=100)},
        metric="nats",
        folder="fashion-mnist",
    ),
    "cells": Case(
        "BCCD, boxes of three kinds of cells",
        "published: 205 / 87 / 72 pictures, 2,804 / 1,137 / 945 boxes",
        1,
        "with weights from COCO: YOLOv5 .945, Faster R-CNN .903",
        {
            "recipe, 25 minutes": _minutes(25, epochs=300, warm_up=100),
            # After `regard train cells-patches --training.minutes 4 --training.epochs 300 --folder runs/bench/cells-patches`.
            "begun with cells-patches, 4 and 21 minutes": {"training.start": "runs/bench/cells-patches"}
            | _minutes(21, epochs=300, warm_up=100),
            "plain DETR, 25 minutes": {
                "model.denoising.groups": 0,
                "anchors": False,
                "cross_attention": "Attention()",
                "task.loss": "cross_entropy",
                "task.label_cost": 1.0,
            }
            | _minutes(25, epochs=300, warm_up=100),
        },
        more=both_precisions,
        metric="map_50",
    ),
}
