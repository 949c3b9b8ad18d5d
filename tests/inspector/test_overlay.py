"""Weights over a picture: each where its patch lies, the same as by numbers, and what cannot be drawn is refused."""

import numpy as np
import pytest
from PIL import Image

from regard.cli import main
from regard.data.boxes import Boxes
from regard.data.pictures import Pictures
from regard.inspector.explain import explain_run
from regard.inspector.overlay import overlay_run
from regard.models.detr import Detr
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.tasks.configs import PerSetBoxes, PerSetLabel
from regard.train import Experiment, Optimizer, Run, Training, fit
from tests.data.voc import voc


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("overlay")
    voc(folder / "boxes")
    options = Training(epochs=1, batch_vectors=256, progress=False, device="cpu")
    detr = Detr(width=16, layers=1, decoder_layers=1, heads=2, feed_forward=16, queries=5, anchors=True)
    data = Boxes(str(folder / "boxes"), size=32, patch=8)
    fit(Experiment("boxes", data, detr, PerSetBoxes(), Optimizer(), options), folder / "detr")
    for n in range(12):
        (folder / "data" / "ab"[n % 2]).mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(n).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / "data" / "ab"[n % 2] / f"{n}.png")
    for name, front in (("vit", Front(class_vector=True)), ("stem", Front(stem="convolution2d"))):
        model = Encoder(width=16, layers=1, heads=2, feed_forward=16, positions=Positions("learned"), front=front)
        pictures = Pictures(str(folder / "data"), size=8, patch=1 if name == "stem" else 2, color="gray")
        task = PerSetLabel(pool="first" if name == "vit" else "mean")
        fit(Experiment("pictures", pictures, model, task, Optimizer(), options), folder / name)
    return folder


@pytest.fixture(scope="module")
def picture(root):
    return str(root / "boxes" / "JPEGImages" / "p03.png")


@pytest.mark.parametrize("layer", [0, 2])
def test_each_weight_lies_where_its_patch_does(root, picture, layer):
    """Layer 0 is the encoder's, 2 the decoder's to the picture."""
    run = Run.open(root / "detr")
    found = overlay_run(run, run.inputs([picture]), query=3, layer=layer, head=1)
    assert found.weights.shape == (3, 4)
    assert found.pixels.shape == (30, 40, 3)
    expected = explain_run(run, run.inputs([picture]), query=3, layer=layer, head=1)
    assert found.explanation == expected
    assert found.weights.ravel().tolist() == [heard.weight for heard in expected.heard]
    assert np.nansum(found.weights) == pytest.approx(1, abs=1e-5)
    axes = found.plot().axes
    np.testing.assert_array_equal(axes[1].images[1].get_array(), found.weights)


@pytest.mark.parametrize("name", ["seen.png", "seen.svg"])
def test_the_command_draws(root, picture, name, tmp_path, capsys):
    out = tmp_path / name
    assert main(["explain", str(root / "detr"), picture, "--layer", "2", "--query", "4", "--out", str(out)]) == 0
    content = out.read_bytes()
    assert content.startswith(b"\x89PNG") if name.endswith("png") else b"<svg" in content
    assert capsys.readouterr().err == ""


def test_a_class_vector_lies_nowhere(root):
    run = Run.open(root / "vit")
    own = str(root / "data" / "a" / "0.png")
    found = overlay_run(run, run.inputs([own]), query="class")
    heard = found.explanation.heard
    assert found.weights.ravel().tolist() == [each.weight for each in heard[1:]]
    assert np.nansum(found.weights) + heard[0].weight == pytest.approx(1, abs=1e-5)
    assert found.plot().axes[1].get_title().startswith("what class attends to")


def test_what_cannot_be_drawn_is_refused(root, picture, tmp_path, capsys):
    own = str(root / "data" / "a" / "0.png")
    out = ["--out", str(tmp_path / "a.png")]
    for arguments, message in (
        (["detr", picture, "--layer", "1", *out], "the keys of layer 1 are no patches of the picture"),
        (["stem", own, "--query", "0", *out], "the keys of layer 0 are no patches of the picture"),
        (["detr", picture, "--layer", "2", "--json", *out], "--out draws all that is attended to, expected no --json"),
        (["detr", picture, "--out", str(tmp_path / "a.txt")], "expected a name that ends in one of"),
        (["detr", picture, "--layer", "9", *out], "layer 9 was asked for"),
    ):
        assert main(["explain", str(root / arguments[0]), *arguments[1:]]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
