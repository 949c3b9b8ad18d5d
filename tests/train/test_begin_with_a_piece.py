"""A model of boxes begins with an encoder that has learned labels of patches, or of whole pictures."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from regard.cli import main
from regard.data.boxes import Boxes
from regard.data.labeled_patches import PatchLabels
from regard.data.pictures import Pictures
from regard.errors import InputError
from regard.models.conformer import Conformer
from regard.models.detr import Detr
from regard.models.encoder import Encoder
from regard.models.pieces import Front
from regard.tasks.configs import PerSetBoxes, PerSetLabel, PerVectorLabel
from regard.train import Experiment, Optimizer, Run, Training, fit
from regard.train.pieces import named_parameters

SIZES = {"width": 16, "layers": 1, "heads": 2, "feed_forward": 16, "dropout": 0.0}
ENCODER = Encoder(**SIZES, front=Front(stem="strided"))
OPTIONS = Training(
    epochs=1, batch_vectors=64, device="cpu", progress=False, checkpoint_every=0, log_every=1, keep="last"
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures with a red square each, once with its box and once as crops by label."""
    root = tmp_path_factory.mktemp("drawn")
    for folder in ("boxes/Annotations", "boxes/JPEGImages", "crops/red", "crops/gray"):
        (root / folder).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for n in range(12):
        pixels = np.full((24, 32, 3), 128, np.uint8)
        x, y = int(rng.integers(0, 16)), int(rng.integers(0, 8))
        pixels[y : y + 16, x : x + 16] = (255, 0, 0)
        Image.fromarray(pixels).save(root / "boxes/JPEGImages" / f"p{n}.png")
        ends = "".join(f"<{k}>{v}</{k}>" for k, v in {"xmin": x, "ymin": y, "xmax": x + 16, "ymax": y + 16}.items())
        written = f"<annotation><object><name>red</name><bndbox>{ends}</bndbox></object></annotation>"
        (root / "boxes/Annotations" / f"p{n}.xml").write_text(written)
        Image.fromarray(pixels[y : y + 16, x : x + 16]).save(root / "crops/red" / f"{n}.png")
        Image.new("RGB", (16, 16), (128, 128, 128 + n)).save(root / "crops/gray" / f"{n}.png")
    return root


def boxes(root: Path, start: Path | str = "", **training: Any) -> Experiment:
    return Experiment(
        "cells",
        Boxes(str(root / "boxes"), size=32, patch=8),
        Detr(**SIZES, decoder_layers=1, queries=4),
        PerSetBoxes(),
        Optimizer(learning_rate=0.0),
        replace(OPTIONS, start=str(start), **training),
    )


def before(root: Path, kind: str) -> Experiment:
    optimizer = Optimizer(1e-2, warm_up=1)
    if kind == "patches":
        data = PatchLabels(str(root / "boxes"), size=32, patch=8)
        return Experiment("cells-patches", data, ENCODER, PerVectorLabel(), optimizer, OPTIONS)
    pictures = Pictures(str(root / "crops"), size=16, patch=8, color="color")
    return Experiment("pictures", pictures, ENCODER, PerSetLabel(), optimizer, OPTIONS)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    run = Run.open(folder)
    return named_parameters(run.model, run.task)


@pytest.mark.parametrize("kind", ["patches", "pictures"])
def test_an_encoder_becomes_that_of_the_model_of_boxes(
    drawn: Path, kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fit(before(drawn, kind), tmp_path / "first")
    second = fit(boxes(drawn, first), tmp_path / "second")
    learned = {name: value for name, value in weights(first).items() if not name.startswith("task.")}
    after = weights(second)
    assert any(name.startswith("front.stem.stages.2.") for name in learned)
    assert {name for name in after if name.startswith("encoder.")} == {f"encoder.{name}" for name in learned}
    for name, value in learned.items():
        torch.testing.assert_close(after[f"encoder.{name}"], value, rtol=0, atol=0)
    said = capsys.readouterr().err
    assert (
        f"  taken: {sum(value.numel() for value in learned.values()):,} numbers in encoder.front.stem.stages.0 ("
        in said
    )
    assert "  the head is new: the targets or the task differ\n" in said


def test_the_command_keeps_the_model_of_boxes_and_takes_the_sizes(drawn: Path, tmp_path: Path) -> None:
    first = fit(before(drawn, "patches"), tmp_path / "first")
    given = ["--data.path", str(drawn / "boxes"), "--data.size", "32", "--data.patch", "8", "--training.epochs", "1"]
    arguments = [*given, "--training.start", str(first), "--training.progress", "false", "--model.queries", "4"]
    assert main(["train", "cells", *arguments, "--folder", str(tmp_path / "run")]) == 0
    model = Run.open(tmp_path / "run").experiment.model
    assert isinstance(model, Detr)
    assert (model.width, model.layers, model.heads, model.feed_forward, model.queries) == (16, 1, 2, 16, 4)
    assert (model.anchors, model.denoising.groups) == (True, 3)


def test_what_is_no_piece_is_refused(drawn: Path, tmp_path: Path) -> None:
    first = fit(before(drawn, "patches"), tmp_path / "first")
    other = replace(boxes(drawn, first), model=Conformer(width=16, layers=1, heads=2))
    with pytest.raises(InputError, match=r"whose model\.type is Encoder, and here it is Conformer, expected the same$"):
        fit(other, tmp_path / "other")
    detr = fit(boxes(drawn), tmp_path / "detr")
    back = replace(before(drawn, "patches"), training=replace(OPTIONS, start=str(detr)))
    with pytest.raises(InputError, match=r"whose model\.type is Detr, and here it is Encoder, expected the same$"):
        fit(back, tmp_path / "back")
    coarse = replace(boxes(drawn, first), data=Boxes(str(drawn / "boxes"), size=32, patch=16))
    with pytest.raises(InputError, match=r"whose data.patch is 8, and here it is 16, expected the same"):
        fit(coarse, tmp_path / "coarse")
