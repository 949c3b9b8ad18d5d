"""Bounds on what a model may allocate: refused before it is allocated, for a training and for a run that somebody else made."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from regard.errors import InputError

__all__ = ["bounded", "free_memory", "like_the_weights", "within_memory"]

# A training holds each number of a model four times: itself, its gradient and Adam's two averages.
_COPIES = 4
# What a model may make beside its weights while it is built: tables, and numbers that are then overwritten.
_BESIDE, _TENSORS_BESIDE = 1 << 22, 1000


# The functions of torch that make a tensor out of a size; all others make theirs out of tensors that are there.
_OF_SIZE = {
    "empty",
    "zeros",
    "ones",
    "full",
    "rand",
    "randn",
    "randint",
    "new_empty",
    "new_zeros",
    "new_ones",
    "new_full",
    "eye",
}
_OF_RANGE = {"arange", "linspace"}
_WITH_NUMBERS = {"full", "new_full", "randint"}


class _Bound(TorchFunctionMode):
    """Refuse the tensor with which all that were made hold more bytes, or are more tensors, than are allowed."""

    def __init__(self, size: float, tensors: float, sentence: str) -> None:
        super().__init__()
        self.left, self.tensors, self.sentence = size, tensors, sentence

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in _OF_SIZE or name in _OF_RANGE:
            # The number that `full` repeats, and those that `randint` lies between, are no sizes.
            given = [each for each in args if isinstance(each, (list, tuple))] if name in _WITH_NUMBERS else args
            numbers = [*given, *(options[each] for each in ("size", "end", "steps", "n") if each in options)]
            dtype = options.get("dtype") or torch.get_default_dtype()
            self.left -= dtype.itemsize * (_product(numbers) if name in _OF_SIZE else _largest(numbers))
            self.tensors -= 1
            if self.left < 0 or self.tensors < 0:
                raise InputError(self.sentence)
        return func(*args, **options)


def _product(numbers: Sequence[Any]) -> float:
    """Of whole numbers, and of those in lists among them."""
    flat = [each for given in numbers for each in (given if isinstance(given, (list, tuple)) else [given])]
    return math.prod(float(each) for each in flat if isinstance(each, int))


def _largest(numbers: Sequence[Any]) -> float:
    return max((abs(float(each)) for each in numbers if isinstance(each, (int, float))), default=0.0)


@contextmanager
def bounded(size: float, tensors: float, sentence: str) -> Iterator[None]:
    """Refuse, within, what makes tensors of more than `size` bytes altogether, or more of them than `tensors`.

    >>> with bounded(1000, 10, "too large"):
    ...     small, large = torch.full((2, 3), 999), torch.zeros(10, 30)
    Traceback (most recent call last):
    regard.errors.InputError: too large
    """
    with _Bound(size, tensors, sentence):
        yield


@contextmanager
def within_memory() -> Iterator[None]:
    """Refuse to build, within, a model that cannot be trained in the memory that is free.

    Raises:
        InputError: a model whose weights, gradients and averages take more.
    """
    free = free_memory()
    found = f"the model takes more than a quarter of the {free / 1e9:,.1f} GB of memory that are free, and a training holds it"
    with bounded(free / _COPIES, math.inf, f"{found} four times: expected a smaller model"):
        yield


@contextmanager
def like_the_weights(sizes: Sequence[int], where: str) -> Iterator[None]:
    """Refuse to build, within, a model that is far larger than its weights are.

    Args:
        sizes: how many bytes each tensor of the weights has.
        where: the file of them.

    Raises:
        InputError: a model that needs more bytes or more tensors.
    """
    sentence = f"{where} holds weights of a different model, much smaller than the one that the configuration asks for"
    with bounded(4 * sum(sizes) + 4 * _BESIDE, 8 * len(sizes) + _TENSORS_BESIDE, sentence):
        yield


def free_memory() -> float:
    """The bytes that this process may still allocate: what the system has left, or its control group."""
    found = [math.inf]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [1024.0 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        found.append(float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES"))
    for most, now in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit, used = (float((Path("/sys/fs/cgroup") / name).read_text(encoding="ascii")) for name in (most, now))
        except (OSError, ValueError):
            continue
        found.append(max(0.0, limit - used))
    return min(found)
