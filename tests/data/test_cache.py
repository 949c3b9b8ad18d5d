"""What is computed once: used again, renewed where a source changed, whole or absent, and never pickled."""

import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
from recordings import noise, tone, write

from regard.data.cache import _opened, stored
from regard.data.features import log_mel
from regard.errors import InputError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "cache" / "regard" / "features"


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.rglob("*") if path.is_file())


def many(count: int) -> list[Path]:
    # Relative, so that the same ones share a file of the cache wherever the tests run.
    paths = [Path("sources") / f"{n:04}" for n in range(count)]
    paths[0].parent.mkdir(exist_ok=True)
    for n, path in enumerate(paths):
        path.write_text(str(n))
    return paths


class Number:
    """Rows that say the number in a file; counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, path: Path) -> np.ndarray:
        with self._lock:
            self.calls += 1
        number = int(path.read_text())
        return np.full((1 + number % 3, 2), number, np.float32)


def test_arrays_come_back_as_they_were_computed(tmp_path: Path) -> None:
    store = stored(many(300), "x", Number())
    assert len(store) == 300
    assert store.lengths == [1 + n % 3 for n in range(300)]
    for n in range(300):
        np.testing.assert_array_equal(store[n], np.full((1 + n % 3, 2), n, np.float32))
    with pytest.raises(ValueError, match="read-only"):
        store[0][0] = 1
    assert len(stored([], "x", Number())) == 0


@pytest.mark.parametrize("values", [np.arange(5) > 2, np.arange(5.0, dtype=np.float32)])
def test_arrays_of_other_kinds(tmp_path: Path, values: np.ndarray) -> None:
    found = stored(many(2), "x", lambda path: values)[1]
    assert found.dtype == values.dtype
    np.testing.assert_array_equal(found, values)


def test_what_is_there_is_not_computed_again(tmp_path: Path, cache: Path) -> None:
    paths, compute = many(300), Number()
    stored(paths, "x", compute)
    before = {path: path.stat().st_mtime_ns for path in files(cache)}
    assert 1 < len(before) < 20
    stored(paths, "x", compute)
    assert compute.calls == 300
    assert before == {path: path.stat().st_mtime_ns for path in files(cache)}
    stored(paths, "y", compute)
    assert compute.calls == 600


def test_one_source_more_or_changed_makes_one_file_new(tmp_path: Path, cache: Path) -> None:
    paths, compute = many(300), Number()
    stored(paths, "x", compute)
    count = len(files(cache))
    one = Path("sources") / "0123-and-a-half"
    one.write_text("7")
    store = stored([*paths[:124], one, *paths[124:]], "x", compute)
    assert store[124][0, 0] == 7
    assert store[299 + 1][0, 0] == 299
    assert len(files(cache)) - count in (1, 2)
    assert compute.calls < 600
    paths[5].write_text("5000")
    assert stored(paths, "x", compute)[5][0, 0] == 5000


def test_a_sound_that_changed_has_new_features(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", tone(440))
    first = stored([path], "mel", log_mel)[0].copy()
    write(path, tone(880))
    os.utime(path, ns=(1, 1))
    assert stored([path], "mel", log_mel)[0][50].argmax() > first[50].argmax()


def test_a_pickled_store_carries_no_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav", noise(160_000))
    store = stored([path], "mel", log_mel)
    whole = np.array(store[0])
    pickled = pickle.dumps(store)
    assert len(pickled) < 1000 < whole.nbytes
    np.testing.assert_array_equal(pickle.loads(pickled)[0], whole)


def test_a_file_that_is_not_whole_is_computed_again(tmp_path: Path, cache: Path) -> None:
    paths, compute = many(3), Number()
    expected = [row.copy() for row in stored(paths, "x", compute)]
    for broken in (b"", b"nothing", files(cache)[0].read_bytes()[:-1]):
        _opened.cache_clear()
        files(cache)[0].write_bytes(broken)
        found = stored(paths, "x", compute)
        for mine, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine, other)


def test_what_cannot_be_computed_leaves_nothing_half(tmp_path: Path, cache: Path) -> None:
    # Relative, so that they share a file of the cache wherever the tests run.
    good, bad = write(Path("a.wav"), tone(440)), Path("b.wav")
    bad.write_text("no sound")
    with pytest.raises(InputError, match=r"b\.wav cannot be read as sound"):
        stored([good, bad, good], "mel", log_mel)
    assert files(cache) == []
    with pytest.raises(InputError, match=r"c\.wav is not there"):
        stored([good, Path("c.wav")], "mel", log_mel)


def test_several_at_once_fill_it_together(tmp_path: Path, cache: Path) -> None:
    paths, found = many(200), []
    threads = [threading.Thread(target=lambda: found.append(stored(paths, "x", Number()))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(store[n][0, 0] == n for store in found for n in range(200))
    assert not [path for path in files(cache) if path.name.startswith(".")]


def test_many_files_are_not_all_open(tmp_path: Path) -> None:
    # Sources of 32 MB and more lie in a file of their own.
    paths = many(100)
    for path in paths:
        with path.open("ab") as file:
            file.truncate(33 << 20)
    store = stored(paths, "x", lambda path: np.ones((2, 2), np.float32))
    before = len(os.listdir("/proc/self/fd"))
    assert sum(store[n].sum() for n in range(100)) == 400
    assert len(os.listdir("/proc/self/fd")) - before < 80
