"""Kernels run in a forked child, from several Python threads at once, on one thread, and where nothing can be written."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch import Tensor

from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Window
from regard.attention.verb import attend
from regard.kernels.simd import processor
from regard.sets import Layout

SIZES = (200, 3, 40)


def passes(seed: int = 0) -> list[Tensor]:
    """The output and the gradients of both passes."""
    generator = torch.Generator().manual_seed(seed)
    given = [torch.randn(sum(SIZES), 4, 8, generator=generator).requires_grad_() for _ in range(3)]
    attention, layout = Attention(pattern=Window(20, 20)), Layout.of_lengths(SIZES)
    out = attend(attention, *given, layout, executor="fused")
    return [out.detach(), *torch.autograd.grad(out.square().sum(), given)]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork:DeprecationWarning")
def test_a_forked_child_computes_after_its_parent_did(two_threads):
    passes()
    # Torch's own operators hang in a forked child that has several threads; its data loaders set one as well.
    torch.set_num_threads(1)
    expected = passes()
    child = os.fork()
    if child == 0:
        # Nothing of the test runner may run in the child, and nobody may wait for it forever.
        signal.alarm(60)
        os._exit(0 if same(passes(), expected) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_three_threads_at_once(two_threads):
    expected = [passes(seed) for seed in range(3)]
    found: dict[int, list[Tensor]] = {}

    def work(seed: int) -> None:
        torch.set_num_threads(2)
        for _ in range(5):
            found[seed] = passes(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(same(found[seed], expected[seed]) for seed in range(3))


def test_one_thread_and_two_agree(two_threads):
    two = passes()
    torch.set_num_threads(1)
    for a, b in zip(passes(), two, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.rare
def test_where_no_cache_can_be_written(tmp_path: Path):
    """Every folder that Numba would take for its cache is a file."""
    code = """
import torch
from regard import Layout
from regard.attention.verb import attend
from regard.attention.executors.fused import kernels as fused
from regard.attention.spec.attention import Attention
x = torch.ones(3, 1, 4, requires_grad=True)
attend(Attention(), x, x, x, Layout.of_lengths([3]), executor="fused").sum().backward()
print(type(fused.forward._cache).__name__, x.grad.isfinite().all().item())
"""
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    locator = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(blocked), "HOME": str(blocked), "XDG_CACHE_HOME": str(blocked)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", locator + code], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["NullCache", "True"]


def test_a_vector_has_lanes_for_whole_register_tiles():
    assert processor.ROWS in (4, 8)
    assert processor.lanes(32) == 2 * processor.lanes(64)


def test_compiled_code_is_cached_until_a_file_beside_it_changes(tmp_path: Path):
    """Numba itself would not see that a function of another file has changed, which a kernel inlines."""
    kernel = (
        "import {0}\nfrom regard.kernels.compiled import compiled\n@compiled\ndef run(x):\n    return {0}.part(x)\n"
    )
    part = "from regard.kernels.compiled import as_written\n@as_written\ndef part(x):\n    return x + {0}\n"
    code = "import kernel; print(kernel.run(1), sum(kernel.run.stats.cache_hits.values()))"
    (tmp_path / "kernel.py").write_text(kernel.format("inlined"))

    def run() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    (tmp_path / "inlined.py").write_text(part.format(1))
    assert [run(), run()] == [["2", "0"], ["2", "1"]]
    (tmp_path / "inlined.py").write_text(part.format(10))
    assert run() == ["11", "0"]
