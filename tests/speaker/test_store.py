"""Enrolled voices: whole or not at all, one writer at a time, gone when removed."""

import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from regard.errors import InputError
from regard.speaker.store import Store

MODEL = "a" * 64


def vectors(n: int, seed: int = 0, width: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width)).astype(np.float32)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "voices.db", MODEL, 16)


def test_what_is_enrolled_is_there_for_the_next_process(store):
    store.enroll("Ada", vectors(2), ["one", "two"])
    store.enroll("Bob", vectors(1, 1), ["three"])
    store.enroll("Ada", vectors(1, 2), ["four"])
    again = Store(store.path, MODEL, 16)
    assert [(each.name, each.recordings) for each in again.names()] == [("Ada", 3), ("Bob", 1)]
    names, x = again.vectors()
    assert names == ["Ada", "Ada", "Bob", "Ada"]
    np.testing.assert_array_equal(x, np.concatenate([vectors(2), vectors(1, 1), vectors(1, 2)]))
    np.testing.assert_array_equal(again.vectors("Bob")[1], vectors(1, 1))
    known, means = again.voices()
    assert known == ["Ada", "Bob"]
    ada = x[[0, 1, 3]]
    np.testing.assert_allclose(means[0], (ada / np.linalg.norm(ada, axis=1, keepdims=True)).mean(0), rtol=1e-5)


def test_only_the_owner_may_read(store):
    store.enroll("Ada", vectors(1), ["one"])
    for path in store.path.parent.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name


def test_a_removed_voice_leaves_no_byte(store):
    store.enroll("Ada", vectors(3), ["one", "two", "three"])
    store.enroll("Bob", vectors(1, 1), ["four"])

    def found(x: np.ndarray) -> bool:
        return any(x.tobytes()[:16] in path.read_bytes() for path in store.path.parent.iterdir())

    assert all(found(x) for x in vectors(3))
    assert store.remove("Ada") == 3
    assert not any(found(x) for x in vectors(3))
    assert found(vectors(1, 1)[0])
    assert [each.name for each in store.names()] == ["Bob"]
    with pytest.raises(InputError, match=r"'Bobb' is not enrolled in .*: did you mean 'Bob'"):
        store.remove("Bobb")


def test_one_recording_has_one_name_and_nothing_is_half_enrolled(store):
    store.enroll("Ada", vectors(1), ["one"])
    with pytest.raises(InputError, match="a recording of 'Bob' is enrolled already, as 'Ada'"):
        store.enroll("Bob", vectors(2, 1), ["two", "one"])
    assert [each.name for each in store.names()] == ["Ada"]


@pytest.mark.parametrize(
    ("name", "x", "sentence"),
    [
        ("", vectors(1), "is no name"),
        ("a\nb", vectors(1), "is no name"),
        ("Ada", vectors(1, width=8), r"shape \[1, 8\], expected \[at least 1, 16\]"),
        ("Ada", vectors(1) * np.nan, "not finite"),
        ("Ada", vectors(0), "expected .at least 1"),
    ],
)
def test_what_is_no_voice_is_refused(store, name, x, sentence):
    with pytest.raises(InputError, match=sentence):
        store.enroll(name, x, [str(n) for n in range(len(x))])
    assert store.names() == []


def test_another_model_is_refused_in_one_sentence(store):
    store.enroll("Ada", vectors(1), ["one"])
    with pytest.raises(InputError, match="holds voices of another model") as refusal:
        Store(store.path, "b" * 64, 16)
    assert "\n" not in str(refusal.value)
    with pytest.raises(InputError, match="holds voices of another model"):
        Store(store.path, MODEL, 17)


def test_what_is_no_store_is_left_alone(tmp_path, store):
    text = tmp_path / "notes.txt"
    text.write_text("hello " * 500)
    with pytest.raises(InputError, match="cannot be used: file is not a database"):
        Store(text, MODEL, 16)
    assert text.read_text() == "hello " * 500
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as file:
        file.execute("CREATE TABLE t (x)")
    file.close()
    before = other.read_bytes()
    with pytest.raises(InputError, match="is no store of voices"):
        Store(other, MODEL, 16)
    assert other.read_bytes() == before
    with pytest.raises(InputError, match="cannot be used"):
        Store(tmp_path, MODEL, 16)
    with pytest.raises(InputError, match=r"the folder .* is not there"):
        Store(tmp_path / "no" / "voices.db", MODEL, 16)
    store.path.unlink()
    with pytest.raises(InputError, match="is gone"):
        store.names()


def test_a_damaged_store_says_so(store):
    store.enroll("Ada", vectors(40), [str(n) for n in range(40)])
    damaged = bytearray(store.path.read_bytes())
    damaged[4096:] = os.urandom(len(damaged) - 4096)
    store.path.write_bytes(damaged)
    with pytest.raises(InputError, match=r"cannot be used|damaged"):
        Store(store.path, MODEL, 16).vectors()


def test_a_store_waits_for_others_before_it_keeps_a_journal(store):
    store.enroll("Ada", vectors(1), ["0"])
    with closing(sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)) as other:
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN IMMEDIATE")
        end = threading.Timer(0.3, other.execute, ["COMMIT"])
        end.start()
        assert [each.name for each in store.names()] == ["Ada"]
        end.join()


def _enroll_many(path: Path, who: int) -> None:
    store = Store(path, MODEL, 16)
    for n in range(10):
        store.enroll(f"name {who}", vectors(1, 100 * who + n), [f"{who} {n}"])


def test_writers_at_once_lose_nothing(tmp_path):
    path = tmp_path / "voices.db"
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_enroll_many, args=(path, who)) for who in range(3)]
    for each in writers:
        each.start()
    for each in writers:
        each.join(60)
        assert each.exitcode == 0
    assert [(each.name, each.recordings) for each in Store(path, MODEL, 16).names()] == [
        (f"name {who}", 10) for who in range(3)
    ]


KILLED = """
import sys, numpy as np
from regard.speaker.store import Store
store = Store(sys.argv[1], "a" * 64, 16)
for n in range(100000):
    store.enroll(f"name {n}", np.full((3, 16), n + 1, np.float32), [f"{n} {k}" for k in range(3)])
    print(n, flush=True)
"""


def test_a_kill_leaves_whole_enrollments(tmp_path):
    path = tmp_path / "voices.db"
    for delay in (0.0, 0.05, 0.11):
        before = len(Store(path, MODEL, 16).names()) if path.exists() else 0
        if before:
            path.unlink()
        with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            last = int(child.stdout.readline())
            time.sleep(delay)
            child.send_signal(signal.SIGKILL)
            last = max([last, *map(int, child.stdout.read().split())])
        store = Store(path, MODEL, 16)
        found = store.names()
        assert len(found) in (last + 1, last + 2), "what was said to be enrolled is there"
        assert all(each.recordings == 3 for each in found)
        store.enroll("after", vectors(1), ["after"])
        assert store.remove("name 0") == 3
        for left in (path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")):
            left.unlink(missing_ok=True)


def test_a_kill_while_a_store_is_made_leaves_none(tmp_path):
    """The file is there before its tables are, and has no byte until they are."""
    path = tmp_path / "voices.db"
    path.touch(0o600)
    assert Store(path, MODEL, 16).names() == []


BETWEEN = """
import os, signal, sys, numpy as np
from regard.speaker import store as module
if sys.argv[2] == "made":
    module._SCHEMA = (*module._SCHEMA[:2], "SELECT die()")
connect = module.sqlite3.connect
def deadly(*given, **named):
    file = connect(*given, **named)
    file.create_function("die", 0, lambda: os.kill(os.getpid(), signal.SIGKILL))
    if sys.argv[2] == "enrolled":
        file.execute("CREATE TEMP TRIGGER late AFTER INSERT ON voice WHEN NEW.recording = 'last' BEGIN SELECT die(); END")
    return file
module.sqlite3.connect = deadly
store = module.Store(sys.argv[1], "a" * 64, 16)
store.enroll("Bob", np.ones((3, 16), np.float32), ["five", "six", "last"])
"""


@pytest.mark.parametrize("when", ["made", "enrolled"])
def test_a_kill_in_the_middle_leaves_nothing_half_there(tmp_path, when):
    path = tmp_path / "voices.db"
    if when == "enrolled":
        Store(path, MODEL, 16).enroll("Ada", vectors(2), ["one", "two"])
    done = subprocess.run([sys.executable, "-c", BETWEEN, str(path), when], capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    names = [] if when == "made" else ["Ada"]
    store = Store(path, MODEL, 16)
    assert [each.name for each in store.names()] == names
    store.enroll("Cy", vectors(1, 3), ["six"])
    assert [each.name for each in store.names()] == [*names, "Cy"]


def test_voices_do_not_come_back_into_a_store_that_was_deleted(tmp_path):
    """A kill leaves the log beside the file; whoever deletes the file alone gets an empty store."""
    path = tmp_path / "voices.db"
    with subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    log = path.with_name(path.name + "-wal")
    assert path.exists()
    path.unlink()
    log.touch()
    store = Store(path, MODEL, 16)
    assert store.names() == []
    store.enroll("Ada", vectors(1), ["one"])
    assert [each.name for each in Store(path, MODEL, 16).names()] == ["Ada"]


def test_a_store_needs_no_model_and_belongs_to_none_once_it_is_empty(store):
    store.enroll("Ada", vectors(2), ["one", "two"])
    with pytest.raises(InputError, match=r"holds voices of another model \(aaaaaaaaaaaa, not bbbbbbbbbbbb\)"):
        Store(store.path, "b" * 64, 16)
    with pytest.raises(InputError, match="holds voices of another model"):
        Store(store.path, MODEL, 8)
    found = Store.existing(store.path)
    assert (found.model, found.width) == (MODEL, 16)
    np.testing.assert_array_equal(found.vectors("Ada")[1], vectors(2))
    assert found.remove("Ada") == 2
    other = Store(store.path, "b" * 64, 8)
    other.enroll("Bob", vectors(1, width=8), ["three"])
    assert Store.existing(store.path).model == "b" * 64
    with pytest.raises(InputError, match=r"nowhere.db is not there"):
        Store.existing(store.path.parent / "nowhere.db")


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM model",
        "INSERT INTO model VALUES ('b', 16)",
        "UPDATE model SET width = 'wide'",
        "DROP TABLE model",
        "DROP TABLE voice",
        "UPDATE voice SET vector = 'text'",
        "UPDATE voice SET vector = x'00'",
        "UPDATE voice SET name = CAST(x'ff' AS TEXT)",
    ],
)
def test_an_altered_store_is_told(store, statement):
    store.enroll("Ada", vectors(2), ["one", "two"])
    with sqlite3.connect(store.path) as file:
        file.execute(statement)
    file.close()
    with pytest.raises(InputError, match=f"the store {store.path} (is damaged|cannot be used)"):
        Store.existing(store.path).vectors()


def test_a_store_that_was_cut_is_told_and_never_changed(store):
    for n in range(20):
        store.enroll(f"person {n}", vectors(3, n), [f"{n} {k}" for k in range(3)])
    whole = store.path.read_bytes()
    for length in range(1, len(whole), 4999):
        store.path.write_bytes(whole[:length])
        for act in (
            lambda: Store.existing(store.path).vectors(),
            lambda: Store.existing(store.path).remove("person 3"),
            lambda: Store(store.path, MODEL, 16),
        ):
            with pytest.raises(InputError, match=r"the store .* (cannot be used|breaks off)|is no store of voices"):
                act()
        assert store.path.read_bytes() == whole[:length]
