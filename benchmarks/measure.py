"""How time and memory are measured: contestants take turns in one process, and the middle of their times counts."""

from __future__ import annotations

import gc
import math
import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

__all__ = ["Contestant", "Measured", "peak_memory", "race"]

# A sample lasts at least so long: quicker calls are repeated inside of it.
_SAMPLE_SECONDS = 0.02
# What takes longer than this is measured fewer times.
_SLOW_SECONDS, _SLOW_TURNS = 2.0, 3


@dataclass(frozen=True)
class Contestant:
    """One way to compute a case.

    Args:
        forward: gives the output. leaves: what the gradient is taken of; none means that there is no backward pass.
        once: it takes so long that its first run counts.
    """

    forward: Callable[[], Tensor]
    leaves: Sequence[Tensor] = ()
    once: bool = False

    def __call__(self, gradient: Tensor | None) -> Tensor:
        if self.leaves:
            out = self.forward()
            above = torch.ones_like(out) if gradient is None else gradient
            torch.autograd.grad(out, list(self.leaves), above, allow_unused=True)
        else:
            with torch.inference_mode():
                out = self.forward()
        if out.is_cuda:
            torch.cuda.synchronize(out.device)
        return out.detach()


@dataclass(frozen=True)
class Measured:
    """The seconds of each run, and the one in the middle."""

    runs: tuple[float, ...]

    @property
    def seconds(self) -> float:
        return statistics.median(self.runs)


def race(contestants: Mapping[str, Contestant], repeats: int = 5) -> dict[str, Measured]:
    """The seconds of each contestant: after two runs to warm up they take turns, `repeats` times.

    A contestant that takes over 2 seconds has three turns, and one that is to run `once` has one, without a run before.
    """
    gradients: dict[str, Tensor | None] = {}
    calls: dict[str, int] = {}
    runs: dict[str, list[float]] = {}
    for name, each in contestants.items():
        begin = time.perf_counter()
        out = each(None)
        first = time.perf_counter() - begin
        if each.once:
            runs[name] = [first]
            continue
        gradients[name] = torch.randn(out.shape, dtype=out.dtype).to(out.device) if each.leaves else None
        # What was compiled or derived in the first run does not count.
        runs[name], calls[name] = [], math.ceil(_SAMPLE_SECONDS / _timed(each, gradients[name], 1))
    for turn in range(repeats):
        for name, number in calls.items():
            if turn < _SLOW_TURNS or runs[name][0] < _SLOW_SECONDS:
                runs[name].append(_timed(contestants[name], gradients[name], number))
    return {name: Measured(tuple(each)) for name, each in runs.items()}


def _timed(contestant: Contestant, gradient: Tensor | None, calls: int) -> float:
    begin = time.perf_counter()
    for _ in range(calls):
        contestant(gradient)
    return (time.perf_counter() - begin) / calls


def peak_memory(contestant: Contestant) -> int:
    """The most bytes that one run has allocated at a time, above its inputs: torch's, and NumPy's beside them.

    The output, its gradient and the gradients of the inputs count. Torch and NumPy are followed one after the other, so that the
    sum is right where their peaks fall together, and else an upper bound.
    """
    contestant(None)
    gc.collect()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        contestant(None)
    assert seen.profiler is not None, "a profile that ran has a profiler"
    held = top = 0
    events = [each for each in seen.profiler.kineto_results.events() if each.name() == "[memory]"]
    for each in sorted(events, key=lambda each: each.start_ns()):
        held += each.nbytes()
        top = max(top, held)
    tracemalloc.start()
    try:
        contestant(None)
        beside = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return top + beside
