"""Pictures in files: whole, the same whoever draws them, and going on where a drawing ended."""

import json

import numpy as np
import pytest

from regard.data.arena import shards
from regard.data.arena.pathfinder import draw
from regard.data.arena.shards import ABOUT, Made, make_pictures, read_about, read_shard
from regard.errors import InputError

MADE = Made("pathfinder", 4, (5, 2, 2))


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(shards, "_SHARD", 2)


def test_files_hold_the_pictures_of_their_numbers(tmp_path):
    make_pictures(MADE, tmp_path / "out")
    assert read_about(tmp_path / "out") == MADE
    found = MADE.shards()
    assert [(shard.part, shard.first, shard.size) for shard in found] == [
        *(("train", 0, 2), ("train", 2, 2), ("train", 4, 1)),
        *(("validation", 5, 2), ("test", 7, 2)),
    ]
    pixels, labels = read_shard(tmp_path / "out", found[3], 32)
    for n in range(2):
        drawing = draw(MADE.rules, 4, 5 + n)
        np.testing.assert_array_equal(pixels[n], drawing.pixels)
        assert labels[n] == drawing.label


def test_a_drawing_goes_on_where_it_was(tmp_path):
    whole, lines = tmp_path / "whole", []
    make_pictures(MADE, whole, report=lines.append)
    assert len(lines) == 5
    kept = (whole / "train-00000.npz").stat().st_mtime_ns
    content = (whole / "train-00001.npz").read_bytes()
    (whole / "train-00001.npz").unlink()
    with pytest.raises(
        InputError, match=r"lacks 1 of its files, such as train-00001.npz, expected all: `regard arena make"
    ):
        read_about(whole)
    make_pictures(MADE, whole, report=lines.append)
    assert len(lines) == 6
    assert (whole / "train-00000.npz").stat().st_mtime_ns == kept
    assert (whole / "train-00001.npz").read_bytes() == content


def test_intensities_are_told(tmp_path):
    make_pictures(Made("pathfinder", 4, (1, 1, 1), "equal"), tmp_path / "even")
    made = read_about(tmp_path / "even")
    assert made.rules.target == made.rules.distractor
    assert json.loads((tmp_path / "even" / ABOUT).read_text())["rules"]["target"] == 2.0


def test_other_folders_are_refused(tmp_path):
    make_pictures(Made("pathfinder", 4, (1, 1, 1)), tmp_path / "one")
    with pytest.raises(InputError, match=r"arena.json is of other pictures than these"):
        make_pictures(MADE, tmp_path / "one")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a.txt").touch()
    with pytest.raises(InputError, match=r"is there already and has no arena.json"):
        make_pictures(MADE, tmp_path / "full")
    (tmp_path / "one" / "test-00000.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"test-00000.npz cannot be read as pictures"):
        read_shard(tmp_path / "one", Made("pathfinder", 4, (1, 1, 1)).shards()[-1], 32)
    np.savez(tmp_path / "one" / "test-00000.npz", pixels=np.zeros((1, 8, 8), np.uint8), labels=np.zeros(1, np.uint8))
    with pytest.raises(InputError, match=r"has arrays \[1, 8, 8, 1\] of uint8, expected \[1, 32, 32\]"):
        read_shard(tmp_path / "one", Made("pathfinder", 4, (1, 1, 1)).shards()[-1], 32)
    (tmp_path / "one" / ABOUT).write_text('{"task": "pathfinder"}')
    with pytest.raises(InputError, match="was altered"):
        read_about(tmp_path / "one")


@pytest.mark.rare
def test_several_processes_draw_the_same(tmp_path):
    make_pictures(MADE, tmp_path / "one")
    make_pictures(MADE, tmp_path / "two", processes=2)
    for file in (tmp_path / "one").iterdir():
        assert (tmp_path / "two" / file.name).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("sizes", [[1.5, 1, 1], ["a", 1, 1], [1, 1], [-5, 1, 1], [10**11, 1, 1], [True, 1, 1]])
def test_sizes_that_are_none_are_refused_at_once(tmp_path, sizes):
    make_pictures(MADE, tmp_path / "out")
    about = tmp_path / "out" / ABOUT
    about.write_text(json.dumps(json.loads(about.read_text()) | {"sizes": sizes}))
    with pytest.raises(InputError, match=r"arena\.json was altered, expected what"):
        read_about(tmp_path / "out")
