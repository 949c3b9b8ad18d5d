"""What holds for all tests: one thread per process, poisoned memory, repeatable examples, the folder of data sets."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before torch is imported, and inherited by every process that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Plans go by the constants of the processor's class, so that tests choose alike however busy the machine is.
os.environ["REGARD_CALIBRATE"] = "0"

import hypothesis
import torch
from filelock import FileLock
from numba.core.dispatcher import Dispatcher

hypothesis.settings.register_profile("local", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, database=None, print_blob=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "local")

_compile = Dispatcher.compile


def _compile_once(kernel: Dispatcher, signature: Any) -> Any:
    """Of the processes that share the tests, one compiles a kernel while the others wait, and then read what it has cached."""
    place = f"{kernel.py_func.__code__.co_filename} {kernel.py_func.__qualname__} {signature}"
    locks = Path(tempfile.gettempdir()) / "regard-locks"
    locks.mkdir(exist_ok=True)
    with FileLock(locks / hashlib.sha256(place.encode()).hexdigest()):
        return _compile(kernel, signature)


Dispatcher.compile = _compile_once


@pytest.fixture(autouse=True)
def poisoned_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Memory that nobody wrote reads as NaN (integers: the largest), so that no result can rest on it by luck.

    torch fills it only in its deterministic mode, which also chooses other implementations of a few operators; a test
    of what production does without that mode (two runs are bit-identical, time) is marked `unpoisoned`.
    """
    poison = request.node.get_closest_marker("unpoisoned") is None
    before = torch.are_deterministic_algorithms_enabled(), torch.utils.deterministic.fill_uninitialized_memory
    torch.use_deterministic_algorithms(poison)
    torch.utils.deterministic.fill_uninitialized_memory = poison
    yield
    torch.use_deterministic_algorithms(before[0])
    torch.utils.deterministic.fill_uninitialized_memory = before[1]


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of published data sets that `REGARD_DATA` names; without it the test is skipped."""
    folder = os.environ.get("REGARD_DATA")
    if not folder:
        pytest.skip("REGARD_DATA names no folder of data sets")
    if not Path(folder).is_dir():
        pytest.fail(f"REGARD_DATA is {folder!r}, expected a folder")
    return Path(folder)
