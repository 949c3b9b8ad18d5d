"""How much quicker or slower this machine is than the one whose constants the plan goes by: measured once, cached, told.

The constants of `costs` hold for a class of processors. What differs inside a class (clock, caches, memory, the number of threads)
moves each executor by a factor of its own, which a few calls of each tell:

    seconds on this machine = factor of the executor * sum_kind amount * seconds of the class

The first problem that takes long enough for a choice to matter is what starts the measurement; shorter ones always go by the class.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch.nn import functional
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from regard.attention import costs
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.attention import Attention
from regard.attention.spec.normalizers import Sum
from regard.attention.spec.patterns import Edges, Window
from regard.attention.spec.scores import Additive, Kernel
from regard.errors import InputError
from regard.files import cache_folder, read_whole, write_atomically
from regard.kernels.matrix import fits, times_matrix
from regard.sets import Layout

__all__ = [
    "PRODUCT",
    "WORTH",
    "Calibration",
    "cached",
    "calibrate",
    "current",
    "place",
    "processor",
    "times_of_product",
]

WORTH = 2e-3
"""Seconds from which on a problem is worth a measurement, and goes by its factors."""
PRODUCT = 1024, 256, 768
"""Rows, width in and width out of the linear layer that is measured, forward and backward."""

# A calibration that takes longer is given up. A call is measured so often, or for so long.
_MOST_SECONDS, _REPEATS, _PROBE_SECONDS = 2.0, 5, 0.08
# Of a call's times, the median over the least, beyond which others are thought to use the processor too.
_UNSTEADY = 1.5
# Factors beyond these are no machine's.
_BOUNDS = 1 / 64, 64.0
_MOST_STORED = 1 << 16  # bytes of a file in the cache


class _Probe(NamedTuple):
    attention: Attention
    lengths: Sequence[int]
    executors: Sequence[str]
    heads: int = 8
    d: int = 64
    degree: int = 0


_SENTENCES = [17, 9, 26, 13, 31, 8, 21, 12] * 8
# Those that need nothing compiled come first.
_PROBES = (
    _Probe(Attention(), [512], ("dense", "blocks", "fused")),
    _Probe(Attention(), _SENTENCES, ("dense", "blocks", "fused")),
    _Probe(Attention(pattern=Window(32, 32)), [1024], ("blocks", "fused")),
    _Probe(Attention(pattern=Edges()), [3000], ("edges",), heads=8, d=8, degree=6),
    _Probe(Attention(score=Kernel(), normalizer=Sum()), [2048], ("kernelized",)),
    _Probe(Attention(score=Additive()), [192], ("additive",), heads=4, d=32),
)


@dataclass(frozen=True)
class Calibration:
    """What was measured, or why the constants of the class hold as they are.

    Args:
        source: where the factors come from, in words.
        factors: by executor, 1 where it has none; "linear" is what the kernels of linear layers take as a share of torch's product.
        key: of the machine, versions and threads.

    >>> Calibration("made up", {"dense": 2.0}).factor("dense"), Calibration("made up").factor("edges")
    (2.0, 1.0)
    """

    source: str
    factors: Mapping[str, float] = field(default_factory=dict)
    key: Mapping[str, str] = field(default_factory=dict)

    def factor(self, executor: str) -> float:
        return self.factors.get(executor, 1.0)


_known: dict[int, Calibration] = {}
_lock = Lock()


def current(executors: Mapping[str, ModuleType]) -> Calibration:
    """The calibration of this machine for the present number of threads: known, read from the cache folder, or measured now.

    Without a cache folder that can be written to nothing is measured, so that no program pays for it again and again. A machine
    that is busy, and a measurement that takes too long, leave the constants of the class, until the next process.

    Raises:
        InputError: `REGARD_CALIBRATE` is neither 0 nor 1.
    """
    switch = os.environ.get("REGARD_CALIBRATE", "1")
    if switch not in ("0", "1"):
        raise InputError(f"the environment says REGARD_CALIBRATE={switch}, expected 0 or 1")
    if switch == "0":
        return Calibration(f"{costs.of_class()}, by REGARD_CALIBRATE=0")
    if is_in_torch_dispatch_mode() or torch.compiler.is_compiling():
        return Calibration(f"{costs.of_class()}, while code is traced")
    threads = torch.get_num_threads()
    with _lock:
        if threads not in _known:
            _known[threads] = cached() or _first(executors)
        return _known[threads]


def calibrate(executors: Mapping[str, ModuleType], most: float = math.inf) -> Calibration:
    """Measure anew, and cache what was found.

    Args:
        most: seconds after which the measurement is given up, which compiling kernels for the first time may take.

    Returns:
        What was measured; or no factors, and the reason, where the machine was busy or this took too long.
    """
    found = _measured(executors, most)
    try:
        _keep(found)
    except InputError as error:
        found = Calibration(f"{found.source}, for this process alone: {error}", found.factors, found.key)
    with _lock:
        _known[torch.get_num_threads()] = found
    return found


def place() -> Path:
    """The file that holds the calibration of this machine, these versions and this number of threads."""
    name = hashlib.sha256(json.dumps(_key(), sort_keys=True).encode()).hexdigest()[:16]
    return cache_folder() / "calibrations" / f"{name}.json"


def _first(executors: Mapping[str, ModuleType]) -> Calibration:
    """What is measured when the cache has nothing; `_lock` is held."""
    try:
        folder = place().parent
    except InputError as error:
        return Calibration(f"{costs.of_class()}: {error}, and `regard calibrate` measures")
    if not _writable(folder):
        return Calibration(f"{costs.of_class()}: {folder} cannot be written to, and `regard calibrate` measures")
    found = _measured(executors, _MOST_SECONDS)
    with suppress(InputError):  # A full disk: this process knows, the next one measures again.
        _keep(found)
    return found


def _keep(found: Calibration) -> None:
    """Write what was measured into the cache folder, if something was."""
    if found.factors:
        stored = {"key": dict(found.key), "source": found.source, "factors": dict(found.factors)}
        write_atomically(place(), (json.dumps(stored, indent=2) + "\n").encode())


def _writable(folder: Path) -> bool:
    """Whether a file could be written there, so far as can be told without writing one."""
    there = next((each for each in (folder, *folder.parents) if each.exists()), folder)
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def cached() -> Calibration | None:
    """What the cache folder says of this machine; None where it says nothing, or its file is cut short or of something else."""
    try:
        stored = json.loads(read_whole(place(), _MOST_STORED))
        factors = {str(name): float(factor) for name, factor in stored["factors"].items()}
        source, key = str(stored["source"]), stored["key"]
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return None
    low, high = _BOUNDS
    if key != _key() or not factors or not all(low <= factor <= high for factor in factors.values()):
        return None
    return Calibration(source, factors, key)


def _key() -> dict[str, str]:
    """All that a calibration depends on, so far as it can be told."""
    constants = json.dumps([costs.constants(), costs.share_of_product()], sort_keys=True)
    return {
        "processor": processor(),
        "class": costs.processor_class(),
        "cores": str(os.cpu_count()),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "numba": _version("numba"),
        "regard": _version("regard"),
        "constants": hashlib.sha256(constants.encode()).hexdigest()[:8],
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def processor() -> str:
    """The name of the processor, as its maker gives it where Linux tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _measured(executors: Mapping[str, ModuleType], most: float) -> Calibration:
    """Factors of all executors on the CPU; none, and the reason, where they cannot be told."""
    cores = os.cpu_count() or 1
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > cores:
        return Calibration(
            f"{costs.of_class()}: the machine is busy, with {os.getloadavg()[0]:.1f} programs on {cores} cores"
        )
    # Whatever the program was about to do: of tensors on the CPU, and with gradients.
    with torch.device("cpu"), torch.inference_mode(False), torch.enable_grad(), torch.autocast("cpu", enabled=False):
        return _of_probes(executors, most)


def _of_probes(executors: Mapping[str, ModuleType], most: float) -> Calibration:
    begin = time.perf_counter()
    ratios: dict[str, list[float]] = {}
    unsteady = 0
    for probe in _PROBES:
        problem, tensors = _posed(probe)
        for name in probe.executors:
            module = executors[name]
            if module.why_not(problem) is not None:
                continue
            times = _times(partial(module.run, problem, tensors), tensors)
            unsteady += statistics.median(times) > _UNSTEADY * min(times)
            ratios.setdefault(name, []).append(min(times) / costs.seconds(name, module.work(problem)))
            if time.perf_counter() - begin > most:
                return Calibration(
                    f"{costs.of_class()}: measuring took over {most:g} seconds, and `regard calibrate` goes on"
                )
    product = times_of_product()
    if unsteady > sum(map(len, ratios.values())) // 3:
        return Calibration(f"{costs.of_class()}: the machine is busy, and the same call took now longer, now shorter")
    low, high = _BOUNDS
    factors = {name: min(max(statistics.geometric_mean(each), low), high) for name, each in ratios.items()}
    if product is not None:
        ours, torchs = product
        factors["linear"] = min(max(ours / torchs, low), high)
    rounded = {name: float(f"{factor:.3g}") for name, factor in factors.items()}
    return Calibration(f"measured on this machine on {date.today().isoformat()}", rounded, _key())


def times_of_product() -> tuple[float, float] | None:
    """Seconds that the kernels of linear layers take for `PRODUCT`, and those of torch; None where there are no kernels."""
    generator, (rows, d, e) = torch.Generator().manual_seed(0), PRODUCT
    x, weight, bias = (_drawn(generator, *shape) for shape in ((rows, d), (e, d), (e,)))
    if not fits(x, weight, bias):
        return None
    tensors = Tensors(x, weight, bias, {})
    runs = (partial(times_matrix, x, weight, bias), partial(functional.linear, x, weight, bias))
    ours, theirs = (min(_times(run, tensors)) for run in runs)
    return ours, theirs


def _posed(probe: _Probe) -> tuple[Problem, Tensors]:
    """A probe as a problem, with tensors of its own generator."""
    layout = Layout.of_lengths(list(probe.lengths))
    n, h, d = layout.total, probe.heads, probe.d
    if probe.degree:
        rows = torch.arange(n).repeat_interleave(probe.degree)
        keys = (rows + torch.arange(n * probe.degree) % probe.degree * 37) % n
        layout = Layout(layout.offsets, edges=torch.stack([rows, keys]))
    drawn = partial(_drawn, torch.Generator().manual_seed(0))
    attention = probe.attention.for_heads(h)
    parameters = {name: drawn(*shape) for name, shape in attention.parameters(h, d, d).items()}
    problem = Problem(attention, layout, layout, h, h, d, d, torch.float32)
    return problem, Tensors(drawn(n, h, d), drawn(n, h, d), drawn(n, h, d), parameters)


def _drawn(generator: torch.Generator, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float32, device="cpu").requires_grad_()


def _times(run: Callable[[], torch.Tensor], tensors: Tensors) -> list[float]:
    """Seconds of forward and backward passes, after one that compiles what is not compiled and fills what is cached."""
    leaves = [tensors.q, tensors.k, tensors.v, *tensors.parameters.values()]
    times: list[float] = []
    gradient: Any = None
    begin = math.inf
    while len(times) < 2 or (len(times) < _REPEATS + 1 and time.perf_counter() - begin < _PROBE_SECONDS):
        at = time.perf_counter()
        out = run()
        gradient = torch.ones_like(out) if gradient is None else gradient
        torch.autograd.grad(out, leaves, gradient)
        times.append(time.perf_counter() - at)
        begin = min(begin, time.perf_counter())
    return times[1:]
