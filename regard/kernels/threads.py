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

__all__ = ["cut", "memory_of", "share"]

_pool: tuple[int, ThreadPoolExecutor] | None = None
_forked = False


def share(kernel: Callable[..., None], bounds: Sequence[int], *arguments: Any) -> None:
    """`kernel(begin, end, *arguments)` for each two neighbors of `bounds`, on as many threads as torch uses.

    These are the threads of torch's own operators, where they are OpenMP's: after an operator they spin for a while, ready for
    the next, on the very cores that others would need. Which thread computes which part is left to chance, so parts must write to
    places of their own; the caller's thread takes part.
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

    region = None if _forked else _openmp()
    if region is None:
        _on_a_pool(work, threads)
    else:
        _on_openmp(region, work, threads)


def cut(rows: int, numbers: int, part: int = 1 << 15) -> list[int]:
    """Where to cut rows of so many numbers into parts that are worth a thread each, for `share`.

    >>> cut(5, 1 << 14), cut(0, 8)
    ([0, 2, 4, 5], [0])
    """
    return [*range(0, rows, max(1, part // max(1, numbers))), rows]


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


# What each thread of a parallel region calls.
_Region = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_Parallel = Callable[[Any, None, int, int], None]


@cache
def _openmp() -> _Parallel | None:
    """`GOMP_parallel`, with which compiled code begins a parallel region, of the library that torch has loaded; None without it."""
    library = Path(torch.__file__).parent / "lib" / "libgomp.so.1"
    if not library.exists():
        return None
    region: Any = getattr(ctypes.CDLL(str(library)), "GOMP_parallel", None)
    if region is not None:
        region.argtypes, region.restype = [_Region, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint], None
    found: _Parallel | None = region
    return found


def _on_openmp(region: _Parallel, work: Callable[[], None], threads: int) -> None:
    errors = []

    def guarded(nothing: None) -> None:
        try:
            work()
        except BaseException as error:
            errors.append(error)

    region(_Region(guarded), None, threads, 0)
    if errors:
        raise errors[0]


def _on_a_pool(work: Callable[[], None], threads: int) -> None:
    helpers = [_threads().submit(work) for _ in range(threads - 1)]
    try:
        work()
    finally:
        for helper in helpers:
            helper.result()


def _threads() -> ThreadPoolExecutor:
    global _pool
    wanted = torch.get_num_threads()
    if _pool is None or _pool[0] < wanted:
        _pool = wanted, ThreadPoolExecutor(wanted, thread_name_prefix="regard")
    return _pool[1]


def _forget() -> None:
    """A forked process has the pools, but not their threads; of OpenMP's it would wait for them."""
    global _pool, _forked
    _pool, _forked = None, True


os.register_at_fork(after_in_child=_forget)
