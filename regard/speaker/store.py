"""Enrolled voices in one file: names and the vectors of their recordings, never sound.

A voice vector is biometric data. The file can be read by its owner alone, removing a name overwrites its bytes, and the vectors of
one model are never compared with those of another.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from regard.errors import InputError, nearest
from regard.speaker.vectors import mean_directions

__all__ = ["Enrolled", "Store"]

Floats = NDArray[np.float32]

# What SQLite calls a file of ours, and how its tables look.
_APPLICATION, _VERSION = 0x72677264, 1
# Seconds that a command waits for others that write.
_PATIENCE = 30.0
_SCHEMA = (
    "CREATE TABLE model (identity TEXT NOT NULL, width INTEGER NOT NULL)",
    """CREATE TABLE voice (
        name TEXT NOT NULL,
        recording TEXT NOT NULL UNIQUE,
        enrolled TEXT NOT NULL,
        vector BLOB NOT NULL
    )""",
    "CREATE INDEX voice_by_name ON voice (name)",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)


@dataclass(frozen=True)
class Enrolled:
    """A name, how many recordings it has, and when the first was enrolled."""

    name: str
    recordings: int
    since: str


class Store:
    """The voices enrolled with one model, in an SQLite file that is made on first use.

    Every change happens whole or not at all, also where several processes write and where one is killed. `Store.existing` needs no
    model: whoever is enrolled can be listed, exported and removed whatever has become of it.

    Args:
        path: of the file. model: what tells the model from any other, a checksum of its weights. width: of its vectors.

    Raises:
        InputError: a file that is no such store, or one of another model.
    """

    def __init__(self, path: Path | str, model: str, width: int) -> None:
        self.path, self.model, self.width = Path(path), model, width
        self._create()
        if self._written_model() != (self.model, self.width):
            self._adopt()

    def _adopt(self) -> None:
        """Make a store that nobody is enrolled in one of this model."""
        with self._write() as file:
            (identity,) = file.execute("SELECT identity FROM model").fetchone()
            if file.execute("SELECT COUNT(*) FROM voice").fetchone()[0]:
                raise InputError(
                    f"{self.path} holds voices of another model ({identity[:12]}, not {self.model[:12]}), expected the run that "
                    "they were enrolled with, or another --store; `regard speaker list`, `export` and `remove` need no model"
                )
            file.execute("UPDATE model SET identity = ?, width = ?", (self.model, self.width))

    @classmethod
    def existing(cls, path: Path | str) -> Store:
        """The store in a file, of whichever model.

        Raises:
            InputError: no file, or one that is no such store.
        """
        store = cls.__new__(cls)
        store.path = Path(path)
        if not store.path.is_file():
            found = "no file" if store.path.exists() else "not there"
            raise InputError(f"{store.path} is {found}, expected a store of voices that `regard speaker enroll` made")
        store.model, store.width = store._written_model()
        return store

    def _written_model(self) -> tuple[str, int]:
        """Which model the store is of, and the width of its vectors."""
        with self._open() as file:
            rows = file.execute("SELECT identity, width FROM model").fetchall()
        if len(rows) != 1 or not isinstance(rows[0][0], str) or not isinstance(rows[0][1], int) or rows[0][1] < 1:
            raise InputError(f"the store {self.path} is damaged: it does not say which model it is of")
        return rows[0]

    def _create(self) -> None:
        """Makes an empty store where there is no file, or an empty one: a process may have been killed between the two."""
        try:
            with suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            if self.path.stat().st_size:
                return
        except FileNotFoundError:
            raise InputError(
                f"the folder {self.path.parent} of the store is not there, expected an existing one"
            ) from None
        except OSError as error:
            raise InputError(f"the store {self.path} cannot be made: {error.strerror or error}") from None
        with self._connected() as file:
            file.execute("BEGIN IMMEDIATE")
            # Another process may have been quicker; its store is as good.
            if not file.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
                for statement in _SCHEMA:
                    file.execute(statement)
                file.execute("INSERT INTO model VALUES (?, ?)", (self.model, self.width))
            file.execute("COMMIT")

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(self.path, timeout=_PATIENCE, isolation_level=None)) as file:
                yield file
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            raise InputError(f"the store {self.path} cannot be used: {error}") from error

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """A connection that overwrites what it deletes."""
        if not self.path.exists():
            raise InputError(f"the store {self.path} is gone, expected it where it was a moment ago")
        with self._connected() as file:
            # First of all, since the next line writes into the file.
            kind = file.execute("PRAGMA application_id").fetchone()[0]
            version = file.execute("PRAGMA user_version").fetchone()[0]
            if (kind, version) != (_APPLICATION, _VERSION):
                raise InputError(
                    f"{self.path} is no store of voices, expected a file that `regard speaker enroll` made"
                )
            # SQLite notices whole pages that are missing. Opening and closing the file here would end its locks.
            size = self.path.stat().st_size
            if size % file.execute("PRAGMA page_size").fetchone()[0]:
                raise InputError(
                    f"the store {self.path} breaks off within a page, after {size:,} bytes, expected a whole file"
                )
            _write_ahead(file)
            file.execute("PRAGMA secure_delete = ON")
            file.execute("PRAGMA synchronous = FULL")
            yield file

    @contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes into."""
        with self._open() as file:
            file.execute("BEGIN IMMEDIATE")
            try:
                yield file
            except BaseException:
                file.execute("ROLLBACK")
                raise
            file.execute("COMMIT")
            # SQLite waits for readers here, but not for another process that does the same.
            if not _in_time(lambda: not file.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]):
                raise InputError(
                    f"the change of {self.path} is made, but others have read it for {_PATIENCE:.0f} s, so that what "
                    "was there before is not overwritten yet, expected nobody else: the next change will do it"
                )

    def enroll(self, name: str, vectors: NDArray[Any], recordings: Sequence[str]) -> None:
        """Adds recordings to a name, new or known: all of them or, where one does not fit, none.

        Args:
            name: whose voice it is. vectors: `[n, width]`. recordings: what tells each recording from any other, a checksum.

        Raises:
            InputError: a recording that is enrolled already, vectors that are not finite or of another width, or no name.
        """
        if not name.strip() or len(name) > 200 or not name.isprintable():
            raise InputError(f"the name {name!r} is no name, expected 1 to 200 printable characters")
        x = np.ascontiguousarray(vectors, np.float32)
        if x.shape != (len(recordings), self.width) or not len(recordings):
            raise InputError(f"the vectors of {name!r} have shape {list(x.shape)}, expected [at least 1, {self.width}]")
        if not np.isfinite(x).all():
            raise InputError(f"a vector of {name!r} is not finite, expected numbers")
        now = datetime.now(UTC).isoformat(timespec="seconds")
        with self._write() as file:
            for vector, recording in zip(x, recordings, strict=True):
                found = file.execute("SELECT name FROM voice WHERE recording = ?", (recording,)).fetchone()
                if found is not None:
                    raise InputError(
                        f"a recording of {name!r} is enrolled already, as {found[0]!r}, expected a new one"
                    )
                file.execute("INSERT INTO voice VALUES (?, ?, ?, ?)", (name, recording, now, vector.tobytes()))

    def remove(self, name: str) -> int:
        """Takes a name out and overwrites its vectors; says how many there were.

        Raises:
            InputError: a name that is not enrolled.
        """
        self._expect(name)
        with self._write() as file:
            return file.execute("DELETE FROM voice WHERE name = ?", (name,)).rowcount

    def names(self) -> list[Enrolled]:
        """Who is enrolled, by name."""
        with self._open() as file:
            rows = file.execute(
                "SELECT name, COUNT(*), MIN(enrolled) FROM voice GROUP BY name ORDER BY name"
            ).fetchall()
        return [Enrolled(*row) for row in rows]

    def vectors(self, name: str | None = None) -> tuple[list[str], Floats]:
        """The names `[n]` and vectors `[n, width]` of all recordings, or of one name's.

        Raises:
            InputError: a name that is not enrolled.
        """
        if name is not None:
            self._expect(name)
        where, given = ("", ()) if name is None else (" WHERE name = ?", (name,))
        with self._open() as file:
            rows = file.execute(f"SELECT name, vector FROM voice{where} ORDER BY rowid", given).fetchall()
        if any(not isinstance(blob, bytes) or len(blob) != 4 * self.width for _, blob in rows):
            raise InputError(f"the store {self.path} is damaged: a vector has another width than {self.width}")
        joined = b"".join(blob for _, blob in rows)
        return [each for each, _ in rows], np.frombuffer(joined, np.float32).reshape(-1, self.width).copy()

    def voices(self) -> tuple[list[str], Floats]:
        """Each name once, and the mean of its recordings' directions."""
        return mean_directions(*self.vectors())

    def _expect(self, name: str) -> None:
        known = [each.name for each in self.names()]
        if name not in known:
            raise InputError(f"{name!r} is not enrolled in {self.path}: {nearest(name, known)}")


def _in_time(done: Callable[[], bool]) -> bool:
    """Whether something is done before patience ends, asked again and again."""
    until = time.monotonic() + _PATIENCE
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def _write_ahead(file: sqlite3.Connection) -> None:
    """Keep changes in a journal beside the file, and wait for others that begin to, for which SQLite itself does not wait."""

    def switched() -> bool:
        try:
            file.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            return False
        return True

    if not _in_time(switched):
        # Says why.
        file.execute("PRAGMA journal_mode = WAL")
