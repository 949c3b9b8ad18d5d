"""How kernels are run: `share` runs one on all threads, over the memory of tensors. Needs no Numba."""

from __future__ import annotations

import ctypes
import itertools
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

__all__ = ["memory_of", "send_waiting_threads_home", "share"]

_pool: tuple[int, ThreadPoolExecutor] | None = None


def share(kernel: Callable[..., None], bounds: Sequence[int], *arguments: Any) -> None:
    """`kernel(begin, end, *arguments)` for each two neighbors of `bounds`, on as many threads as torch uses.

    Which thread computes which part is left to chance, so parts must write to places of their own; the caller's thread takes part.
    """
    parts = list(itertools.pairwise(bounds))
    threads = min(torch.get_num_threads(), len(parts))
    if threads <= 1:
        for begin, end in parts:
            kernel(begin, end, *arguments)
        return
    turn = iter(parts)

    def work() -> None:
        for begin, end in turn:
            kernel(begin, end, *arguments)

    helpers = [_threads().submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            helper.result()


def memory_of(x: torch.Tensor) -> NDArray[Any]:
    """The memory that a tensor lies in, from its first number on; bfloat16 as its bits."""
    if x.requires_grad:
        x = x.detach()
    if x.is_contiguous():
        flat = x.view(-1)
    else:
        span = 1 + sum((size - 1) * step for size, step in zip(x.shape, x.stride(), strict=True)) if x.numel() else 0
        flat = x.as_strided((span,), (1,))
    return (flat.view(torch.uint16) if x.dtype == torch.bfloat16 else flat).numpy()


def send_waiting_threads_home() -> None:
    """Ends the threads that OpenMP keeps for this one; torch's next parallel operator starts new ones.

    After torch's last parallel operator they spin for some milliseconds, on the very cores that `share` is about to use. Ending
    and starting them takes about a tenth of a millisecond, so this is for longer work. Does nothing where torch does not bring
    its OpenMP as libgomp, or within a parallel region.
    """
    if torch.get_num_threads() > 1 and (pause := _pause()) is not None:
        pause(1)  # omp_pause_soft


@cache
def _pause() -> Callable[[int], int] | None:
    """OpenMP 5.0's `omp_pause_resource_all` of the library that torch has loaded."""
    library = Path(torch.__file__).parent / "lib" / "libgomp.so.1"
    return getattr(ctypes.CDLL(str(library)), "omp_pause_resource_all", None) if library.exists() else None


def _threads() -> ThreadPoolExecutor:
    global _pool
    wanted = torch.get_num_threads()
    if _pool is None or _pool[0] < wanted:
        _pool = wanted, ThreadPoolExecutor(wanted, thread_name_prefix="regard")
    return _pool[1]


def _forget() -> None:
    """A forked process has the pool, but not its threads."""
    global _pool
    _pool = None


os.register_at_fork(after_in_child=_forget)
