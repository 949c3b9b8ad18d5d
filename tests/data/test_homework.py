"""The homework's folder format: written, read, divided, and what is wrong with one."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from regard.data.augment import SpecAugment
from regard.data.homework import LogMelFolder, write_log_mel_folder
from regard.errors import InputError


def frames(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(n % 3, 1, (20 + n, 8)).astype(np.float32)


SPEAKERS = ("id00464", "id09001", "id00017")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "Dataset"
    labeled = [(SPEAKERS[n % 3], frames(n)) for n in range(30)]
    write_log_mel_folder(root, labeled, [frames(n) for n in range(100, 104)])
    return root


def change(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_written_has_the_homeworks_form(folder: Path) -> None:
    mapping = json.loads((folder / "mapping.json").read_text())
    assert mapping == {
        "speaker2id": {name: n for n, name in enumerate(SPEAKERS)},
        "id2speaker": {str(n): name for n, name in enumerate(SPEAKERS)},
    }
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["n_mels"] == 8
    assert {name: len(each) for name, each in metadata["speakers"].items()} == dict.fromkeys(SPEAKERS, 10)
    test = json.loads((folder / "testdata.json").read_text())
    assert len(test["utterances"]) == 4
    for entry in [*metadata["speakers"]["id00017"], *test["utterances"]]:
        assert re.fullmatch(r"uttr-[0-9a-f]{32}\.pt", entry["feature_path"])
        tensor = torch.load(folder / entry["feature_path"], weights_only=True)
        assert tensor.shape == (entry["mel_len"], 8)
        assert tensor.dtype == torch.float32


def test_labeled_utterances_are_divided(folder: Path) -> None:
    reader = LogMelFolder(str(folder))
    encoding = reader.fit()
    assert (encoding.labels, encoding.width) == (SPEAKERS, 8)
    parts = [reader.part(name, encoding) for name in ("train", "validation", "test")]  # type: ignore[arg-type]
    assert [len(part) for part in parts] == [24, 3, 3]
    names = [part[i].name for part in parts for i in range(len(part))]
    assert len(set(names)) == 30
    metadata = json.loads((folder / "metadata.json").read_text())["speakers"]
    for part in parts:
        for i, length in enumerate(part.lengths):
            example = part[i]
            assert example.values.shape == (length, 8)
            entry = {"feature_path": example.name, "mel_len": length}
            assert entry in metadata[SPEAKERS[int(example.target)]]


def test_ids_of_the_mapping_are_the_classes(folder: Path) -> None:
    ids = {"id00464": 2, "id09001": 0, "id00017": 1}
    change(folder / "mapping.json", speaker2id=ids)
    reader = LogMelFolder(str(folder))
    encoding = reader.fit()
    assert encoding.labels == ("id09001", "id00017", "id00464")


def test_utterances_to_predict_for(folder: Path) -> None:
    reader = LogMelFolder(str(folder))
    encoding = reader.fit()
    listed = json.loads((folder / "testdata.json").read_text())["utterances"]
    for sources in ([str(folder)], [str(folder / "testdata.json")]):
        found = reader.inputs(sources, encoding)
        assert [found[i].name for i in range(4)] == [each["feature_path"] for each in listed]
        assert found.lengths == [each["mel_len"] for each in listed]
        np.testing.assert_array_equal(found[2].values, frames(102))
        assert found[2].target is None
    (one,) = (reader.inputs([str(folder / listed[1]["feature_path"])], encoding)[0],)
    np.testing.assert_array_equal(one.values, frames(101))
    assert one.name == listed[1]["feature_path"]


def test_crops_means_and_masks(folder: Path) -> None:
    whole = LogMelFolder(str(folder), normalize="global")
    encoding = whole.fit()
    train = LogMelFolder(str(folder)).part("train", encoding)
    mean = np.concatenate([train[i].values for i in range(len(train))]).mean(0, dtype=np.float64)
    np.testing.assert_allclose(encoding.band_mean, mean, rtol=1e-6)
    np.testing.assert_allclose(whole.inputs([str(folder)], encoding)[0].values, frames(100) - mean, atol=1e-6)
    reader = LogMelFolder(str(folder), "utterance", crop=0.1, train_crop=0.15, mask=SpecAugment(time_masks=1))
    part = reader.training(encoding)
    assert set(part.lengths) == {15}
    assert set(reader.part("train", encoding).lengths) == {10}
    part.set_epoch(1)
    first = part[0].values.copy()
    np.testing.assert_array_equal(part[0].values, first)
    part.set_epoch(2)
    assert not np.array_equal(part[0].values, first)
    found = reader.inputs([str(folder)], encoding)[0].values
    middle = frames(100)[55:65]
    np.testing.assert_allclose(found, middle - middle.mean(0), atol=1e-6)


def test_half_precision_is_read(folder: Path) -> None:
    torch.save(torch.ones(3, 8, dtype=torch.float16), folder / "half.pt")
    reader = LogMelFolder(str(folder))
    assert reader.inputs([str(folder / "half.pt")], reader.fit())[0].values.dtype == np.float32


class Evil:
    def __reduce__(self) -> tuple[object, ...]:
        return os.system, ("exit 1",)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, r"\.pt is not there, expected a tensor"),
        (b"", r"\.pt cannot be read as a tensor"),
        (b"no tensor", r"\.pt cannot be read as a tensor"),
        (Evil(), r"\.pt cannot be read as a tensor: .*[Ww]eights"),
        ({"a": torch.ones(2)}, r"\.pt holds dict, expected a float tensor \[frames, 8\]"),
        (torch.ones(5), r"\.pt holds \[5\], expected a float tensor"),
        (torch.ones(5, 8, dtype=torch.int64), r"\.pt holds \[5, 8\], expected a float tensor"),
        (torch.ones(0, 8), r"\.pt holds \[0, 8\], expected a float tensor"),
        (torch.ones(5, 9), r"\.pt holds \[5, 9\], expected 8 bands"),
        (torch.full((5, 8), torch.nan), r"\.pt has a frame 0 that is not finite"),
        (torch.ones(4, 8), r"\.pt has 4 frames, expected 120 as its mel_len says"),
    ],
)
def test_bad_tensors_are_named(folder: Path, content: object, sentence: str) -> None:
    reader = LogMelFolder(str(folder))
    encoding = reader.fit()
    path = folder / json.loads((folder / "testdata.json").read_text())["utterances"][0]["feature_path"]
    assert len(torch.load(path, weights_only=True)) == 120
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=sentence) as caught:
        reader.inputs([str(folder)], encoding)[0]
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("mapping.json", {"speaker2id": {}}, r"mapping\.json has no speaker2id"),
        ("mapping.json", {"speaker2id": {"a": 0, "b": 2}}, r"other ids in speaker2id than 0 to 1"),
        ("mapping.json", {"speaker2id": {"id00464": 0}}, r"speaker 'id09001', which mapping\.json does not have"),
        ("metadata.json", {"n_mels": "8"}, r"metadata\.json has no n_mels, expected a number"),
        ("metadata.json", {"speakers": []}, r"metadata\.json has no speakers, expected an object"),
        ("metadata.json", {"speakers": {"id00464": 3}}, r"no list of utterances for 'id00464'"),
        (
            "metadata.json",
            {"speakers": {"id00464": [{"mel_len": 3}]}},
            r"no feature_path or mel_len for utterance 1 of",
        ),
        ("metadata.json", {"speakers": {"id00464": [3]}}, r"no feature_path or mel_len for utterance 1 of id00464"),
    ],
)
def test_bad_folders_are_named(folder: Path, name: str, changes: dict[str, object], sentence: str) -> None:
    change(folder / name, **changes)
    with pytest.raises(InputError, match=sentence):
        LogMelFolder(str(folder)).fit()


def test_missing_files_are_named(folder: Path) -> None:
    reader = LogMelFolder(str(folder))
    encoding = reader.fit()
    change(folder / "testdata.json", n_mels=9)
    with pytest.raises(InputError, match=r"testdata\.json has n_mels 9, expected 8"):
        reader.inputs([str(folder)], encoding)
    (folder / "testdata.json").write_text("{")
    with pytest.raises(InputError, match=r"testdata\.json is not JSON"):
        reader.inputs([str(folder)], encoding)
    (folder / "testdata.json").write_text("[]")
    with pytest.raises(InputError, match=r"testdata\.json holds no JSON object"):
        reader.inputs([str(folder)], encoding)
    (folder / "metadata.json").unlink()
    with pytest.raises(InputError, match=r"metadata\.json cannot be read: No such file"):
        reader.fit()
    with pytest.raises(InputError, match="nowhere is not a folder"):
        LogMelFolder(str(folder / "nowhere")).fit()
    with pytest.raises(InputError, match=r"data\.path is not given"):
        LogMelFolder().fit()


def test_nothing_or_unlike_things_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no labeled utterance"):
        write_log_mel_folder(tmp_path, [])
    with pytest.raises(InputError, match="utterance 1 b has 9 bands, expected 8"):
        write_log_mel_folder(tmp_path, [("a", np.ones((3, 8))), ("b", np.ones((3, 9)))])


def test_reading_lists_loads_no_torch() -> None:
    import subprocess
    import sys

    script = "import sys, regard.data.homework; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
