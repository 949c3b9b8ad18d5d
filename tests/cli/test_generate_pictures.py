"""`regard generate` of a run of pixels: sheets by a seed, pictures that are completed, and what is refused."""

import numpy as np
import pytest
from PIL import Image

from regard.cli import main
from regard.errors import InputError
from regard.inspector.explain import explain_run
from regard.train import Run
from regard.train.painting import paint

SMALL = ["--data.size", "6", "--model.width", "16", "--model.heads", "2", "--model.layers", "1"]
SMALL += [
    "--model.feed_forward",
    "16",
    "--training.epochs",
    "40",
    "--training.batch_vectors",
    "180",
    "--training.validate_every",
    "20",
]
SMALL += ["--optimizer.warm_up", "10", "--optimizer.learning_rate", "0.02", "--training.progress", "false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of white columns on black, of which there are three, and runs that know them."""
    root = tmp_path_factory.mktemp("stripes")
    for n in range(40):
        pixels = np.zeros((6, 6), np.uint8)
        pixels[:, n % 3 :: 3] = 255
        kind = "even" if n % 2 else "odd"
        (root / "data" / kind).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(root / "data" / kind / f"{n}.png")
    for name, options in (("near", []), ("axes", ["--model.attention", "Axes(attention=Attention(pattern=Causal()))"])):
        asked = ["--data.path", str(root / "data"), "--folder", str(root / name), *SMALL, *options]
        assert main(["train", "clothes-pixels", *asked]) == 0
    return root


def written(capsys, *arguments):
    status = main(["generate", *map(str, arguments)])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("name", ["near", "axes"])
def test_what_was_kept_is_gone_on_with(folder, name, tmp_path):
    run = Run.open(folder / name)
    rows = np.zeros((6, 6), np.uint8)
    rows[:, 1::3] = 255
    (found,) = paint(run, [rows.ravel()[:18]], temperature=0.0)
    np.testing.assert_array_equal(found[:3], rows[:3])
    if name == "near":
        # Along its lines alone, the first pixel of a row cannot know which picture this is.
        np.testing.assert_array_equal(found, rows)
    together = paint(run, [rows.ravel()[:6], np.zeros(0, np.uint8), rows.ravel()], seed=3)
    (alone,) = paint(run, [np.zeros(0, np.uint8)], seed=4)
    np.testing.assert_array_equal(together[1], alone)
    np.testing.assert_array_equal(together[2], rows)
    for wrong, sentence in (
        (np.full(3, 256), "levels from 256 to 256, expected whole numbers from 0 to 255"),
        (np.zeros(37, np.uint8), r"shape \[37\], expected at most 36 pixels"),
    ):
        with pytest.raises(InputError, match=sentence):
            paint(run, [wrong])


def test_a_pixel_is_explained_by_those_before_it(folder):
    run = Run.open(folder / "near")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6), np.uint8)
    changed = pixels.copy()
    changed[3, 3] += 1
    found = [[explain_run(run, [run.examples([each])], query) for each in (pixels, changed)] for query in (21, 22)]
    assert found[0][0] == found[0][1]
    assert found[1][0] != found[1][1]


def test_sheets_are_those_of_their_seed(folder, tmp_path, capsys):
    one, two, three = (tmp_path / f"{n}.png" for n in range(3))
    for place, seed in ((one, 0), (two, 0), (three, 1)):
        assert written(capsys, folder / "near", "--out", place, "--count", 4, "--seed", seed) == (0, "", "")
    assert one.read_bytes() == two.read_bytes() != three.read_bytes()
    with Image.open(one) as sheet:
        assert (sheet.size, sheet.mode) == ((15, 15), "L")


def test_a_row_has_a_picture_its_upper_part_and_what_was_drawn(folder, tmp_path, capsys):
    out, picture = tmp_path / "sheet.png", folder / "data" / "odd" / "0.png"
    assert written(capsys, folder / "near", picture, "--out", out, "--count", 3, "--temperature", 0) == (0, "", "")
    sheet = np.asarray(Image.open(out))
    assert sheet.shape == (8, 5 * 7 + 1)
    parts = [sheet[1:7, 7 * n + 1 : 7 * n + 7] for n in range(5)]
    np.testing.assert_array_equal(parts[0], np.asarray(Image.open(picture)))
    np.testing.assert_array_equal(parts[1][:3], parts[0][:3])
    assert (parts[1][3:] == 128).all()
    for drawn in parts[2:]:
        np.testing.assert_array_equal(drawn, parts[0])
    assert written(capsys, folder / "near", "--test", 2, "--out", out, "--keep", 0.9)[0] == 0
    assert np.asarray(Image.open(out)).shape == (2 * 7 + 1, 6 * 7 + 1)


def test_evaluation_stands_beside_gzip(folder, capsys):
    assert main(["evaluate", str(folder / "near")]) == 0
    text = capsys.readouterr().out
    assert "without looking    gzip" in text
    found = Run.open(folder / "near").evaluate()
    assert found["metrics"]["nats"] < found["baseline"]["nats"] < 6
    assert found["baselines"]["gzip"]["nats"] > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "generate is not told --out"),
        (["--out", "a.jpg"], "--out is 'a.jpg', expected a name that ends in .png"),
        (["--out", "a.png", "--prompt", "the"], "--prompt was given and"),
        (["--out", "a.png", "--length", "3"], "--length was given and"),
        (["--out", "a.png", "--keep", "0.5"], "--keep was given and no picture"),
        (["--out", "a.png", "--keep", "2"], "generate has --keep 2.0, expected at most 1"),
        (["--out", "a.png", "--count", "0"], "generate has --count 0, expected at least 1"),
        (["--out", "a.png", "no.png"], "no.png is not there, expected a picture"),
    ],
)
def test_bad_options_are_refused(folder, options, message, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    status, text, error = written(capsys, folder / "near", *options)
    assert (status, text) == (2, "")
    assert message in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())
