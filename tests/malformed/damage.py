"""Ways in which a file is not what it should be, drawn the same in every run."""

import gzip
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

__all__ = ["DAMAGES", "damage"]


def _bytes(change: Callable[[bytes, random.Random], bytes]) -> Callable[[Path, random.Random], None]:
    def apply(path: Path, drawn: random.Random) -> None:
        path.write_bytes(change(path.read_bytes(), drawn))

    return apply


def _flipped(content: bytes, drawn: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(max(1, len(changed) // 200)):
        changed[drawn.randrange(len(changed))] ^= 1 << drawn.randrange(8)
    return bytes(changed)


def _shuffled(content: bytes, drawn: random.Random) -> bytes:
    lines = content.split(b"\n")
    drawn.shuffle(lines)
    return b"\n".join(lines)


def _without_a_piece(content: bytes, drawn: random.Random) -> bytes:
    first = drawn.randrange(len(content))
    return content[:first] + content[first + 1 + len(content) // 10 :]


def _folder_instead(path: Path, drawn: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _pipe_instead(path: Path, drawn: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _loop_instead(path: Path, drawn: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    "empty": _bytes(lambda content, drawn: b""),
    "cut": _bytes(lambda content, drawn: content[: drawn.randrange(1, len(content))]),
    "cut at the end": _bytes(lambda content, drawn: content[:-1]),
    "flipped bits": _bytes(_flipped),
    "without a piece": _bytes(_without_a_piece),
    "twice": _bytes(lambda content, drawn: content + content),
    "shuffled lines": _bytes(_shuffled),
    "noise": _bytes(lambda content, drawn: drawn.randbytes(2000)),
    "zeros": _bytes(lambda content, drawn: bytes(1000)),
    "nested": _bytes(lambda content, drawn: b"[" * 200_000),
    "nested objects": _bytes(lambda content, drawn: b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "one long line": _bytes(lambda content, drawn: b"a" * 20_000_000),
    "UTF-16": _bytes(lambda content, drawn: content.decode("latin-1").encode("utf-16")),
    "byte order mark": _bytes(lambda content, drawn: b"\xef\xbb\xbf" + content),
    "Latin-1": _bytes(lambda content, drawn: content[:20] + b"caf\xe9 " + content[20:]),
    "Macintosh lines": _bytes(lambda content, drawn: content.replace(b"\n", b"\r")),
    "open quote": _bytes(lambda content, drawn: content[:30] + b'"' + content[30:]),
    "null": _bytes(lambda content, drawn: b"null\n"),
    "a number": _bytes(lambda content, drawn: b"1e400\n"),
    "compressed": _bytes(lambda content, drawn: gzip.compress(content)),
    "a folder": _folder_instead,
    "a pipe": _pipe_instead,
    "a loop": _loop_instead,
    "gone": lambda path, drawn: path.unlink(),
}
"""What becomes of a file; each takes its path and a source of chance."""


def damage(path: Path, name: str) -> None:
    """Damage a file in a way that depends on its name and the kind of damage alone."""
    DAMAGES[name](path, random.Random(f"{path.name} {name}"))


def copied(source: Path, target: Path) -> Path:
    """A copy of a file or folder to be damaged."""
    return Path(shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target))
