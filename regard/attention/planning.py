"""`plan`: which executor computes an attention, and why not the others."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, overload

import torch

from regard.attention import calibration, costs
from regard.attention.adapters.base import Adapter, Own, check_attention
from regard.attention.dropout import Dropout
from regard.attention.executors import dense, flex
from regard.attention.executors.additive import executor as additive
from regard.attention.executors.blocks import executor as blocks
from regard.attention.executors.edges import executor as edges
from regard.attention.executors.fused import executor as fused
from regard.attention.executors.linear import executor as kernelized
from regard.attention.problem import Problem
from regard.attention.spec.attention import Attention
from regard.attention.spec.pattern import Pattern
from regard.attention.spec.patterns import Edges
from regard.errors import InputError, nearest
from regard.sets import Layout

__all__ = ["EXECUTORS", "AdapterPlan", "OwnPlan", "Plan", "check", "check_adapter", "choose", "plan"]

EXECUTORS: dict[str, ModuleType] = {
    "dense": dense,
    "blocks": blocks,
    "edges": edges,
    "fused": fused,
    "additive": additive,
    "kernelized": kernelized,
    "flex": flex,
}


# What a plan says before its problem: executor, refusals, seconds, which of these are bounds, and what they go by.
_Chosen = tuple[str, dict[str, str], dict[str, float], frozenset[str], str]


@dataclass(frozen=True)
class Plan:
    """What will run: the executor's name, what the others said, and what it costs.

    `seconds` are estimates; or, for those that `bounded` names, lower bounds of what cannot be the quickest, with the time to
    look at it more closely. `constants` says what they go by.

    `str(plan)` is a report: the choice, every refusal with its reason, allowed pairs, FLOPs and bytes.
    """

    executor: str
    refusals: dict[str, str]
    seconds: dict[str, float]
    bounded: frozenset[str]
    constants: str
    problem: Problem = field(repr=False)

    @property
    def pairs(self) -> int:
        """Allowed pairs, summed over the heads."""
        return self.problem.pairs

    @property
    def flops(self) -> int:
        """Floating-point operations of the forward pass on allowed pairs: 2 d for a score and 2 e for its part of the sum."""
        return self.pairs * 2 * (self.problem.d + self.problem.e)

    @property
    def bytes(self) -> int:
        """Bytes of the inputs and the output."""
        return self.problem.bytes

    @property
    def memory(self) -> int:
        """Bytes that a forward and a backward pass have allocated at their peak, above the inputs."""
        return EXECUTORS[self.executor].memory(self.problem.on_host)

    def __str__(self) -> str:
        p = self.problem
        dense_pairs = p.dense_pairs * p.heads
        share = f" ({self.pairs / dense_pairs:.2%} of all)" if dense_pairs else ""
        lines = [
            f"{p.attention.text}",
            f"executor  {self.executor}",
            *(f"refused   {name}: {reason}" for name, reason in self.refusals.items()),
            *(f"slower    {name}{times}" for name, times in self._slower()),
            f"sets      {p.layout.sets:,}, {p.layout.total:,} vectors, {p.heads} heads of {p.d}",
            f"pairs     {self.pairs:,}{share}",
            *_asked(p.union),
            f"FLOPs     {self.flops:,} forward",
            f"bytes     {self.bytes:,} in and out",
            f"memory    {self.memory:,} bytes more at the peak of training",
            f"constants {self.constants}",
        ]
        if (slow := costs.slow_type(p.dtype, p.device.type)) is not None:
            lines.append(f"note      {slow}")
        return "\n".join(lines)

    def _slower(self) -> list[tuple[str, str]]:
        """The others that would do, and how many times as long they take; nothing takes no time at all."""
        least = self.seconds[self.executor]
        others = [(name, seconds) for name, seconds in self.seconds.items() if name != self.executor]
        word = {name: "over" if name in self.bounded else "about" for name, _ in others}
        return [(name, f": {word[name]} {seconds / least:.1f} times" if least else "") for name, seconds in others]


def _asked(pattern: Pattern) -> list[str]:
    """Which pairs the pattern was asked about one by one, where there are such."""
    if pattern.tries_all:
        return ["tried     every pair, since the pattern names no intervals"]
    return ["tried     the pairs that one side of & names, since the other names no intervals"] if pattern.asks else []


def choose(problem: Problem, executor: str | None = None) -> Plan:
    """The plan for a problem; kept by the query layout, so that all layers of a model share it.

    Raises:
        InputError: a layout that lacks what the attention reads, an unknown executor,
            or one that refuses when asked for by name.
    """
    sizes = (problem.heads, problem.key_heads, problem.d, problem.e, problem.dtype)
    key = ("plan", problem.attention, *sizes, problem.dropout is not None, executor)

    def chosen() -> _Chosen:
        on_host = problem.on_host
        with on_host.naming_once():
            return _choose(on_host, executor)

    return Plan(*problem.kept_for_steps(key, chosen), problem)


def _choose(problem: Problem, executor: str | None) -> _Chosen:
    check(problem)
    if executor is not None and executor not in EXECUTORS:
        raise InputError(f"there is no executor {executor!r}: {nearest(executor, EXECUTORS)}")
    reasons = {name: module.why_not(problem) for name, module in EXECUTORS.items()}
    refusals = {name: reason for name, reason in reasons.items() if reason is not None}
    source = costs.of_class(problem.device.type)
    if executor is not None:
        if executor in refusals:
            raise InputError(f"the executor {executor!r} refuses {problem.attention.text}: {refusals[executor]}")
        return executor, refusals, {executor: _seconds(executor, problem)}, frozenset(), source
    seconds, bounded = _estimates(problem, [name for name in EXECUTORS if name not in refusals])
    if not seconds:
        raise InputError(f"every executor refuses {problem.attention.text}: {'; '.join(refusals.values())}")
    if problem.device.type == "cpu" and len(seconds) > 1 and min(seconds.values()) >= calibration.WORTH:
        ours = calibration.current(EXECUTORS)
        seconds = {name: ours.factor(name) * each for name, each in seconds.items()}
        source = ours.source
        while (first := min(seconds, key=seconds.__getitem__)) in bounded:
            # On this machine it may be the quickest.
            bounded.remove(first)
            seconds[first] = ours.factor(first) * _seconds(first, problem)
    return min(seconds, key=seconds.__getitem__), refusals, seconds, frozenset(bounded), source


def _estimates(problem: Problem, names: list[str]) -> tuple[dict[str, float], set[str]]:
    """Seconds of these executors, and which of them are bounds: what cannot be the quickest is not looked at more closely."""
    device, least = problem.device.type, math.inf
    seconds = dict.fromkeys(names, 0.0)
    bounded = set()
    counted = problem.union == Edges()

    def effort(name: str) -> tuple[bool, float]:
        # Of edges, `edges` need only count them; others cut up a batch to tell their work.
        return counted and name != "edges", getattr(EXECUTORS[name], "CUTTING", 0.0)

    for name in sorted(names, key=effort):
        bound = costs.least(name, device)
        if bound <= least < math.inf and hasattr(EXECUTORS[name], "at_least"):
            certain = costs.seconds(name, EXECUTORS[name].at_least(problem), device)
            bound = max(bound, certain + effort(name)[1] * problem.layout.total)
        if bound > least:
            bounded.add(name)
        seconds[name] = bound if bound > least else _seconds(name, problem)
        least = min(least, seconds[name])
    return seconds, bounded


def _seconds(executor: str, problem: Problem) -> float:
    return costs.seconds(executor, EXECUTORS[executor].work(problem), problem.device.type)


def check(problem: Problem) -> None:
    """Whether the sets have what the attention reads.

    Raises:
        InputError: a layout that lacks it, or patterns for another number of heads.
    """
    attention = problem.attention
    for part in attention.parts:
        lacking = part.needs(problem.layout, problem.key_layout)
        if lacking is not None:
            raise InputError(lacking)
    if len(attention.patterns) not in (1, problem.heads):
        raise InputError(
            f"there are {len(attention.patterns)} patterns, expected one, or one for each of {problem.heads} heads"
        )


def check_adapter(adapter: Adapter, layout: Layout, key_layout: Layout, executor: str | None = None) -> None:
    """Whether the sets have what the adapter reads; its calls check what its attention reads.

    Raises:
        InputError: layouts that lack it, or an executor that is asked for where the adapter needs none.
    """
    lacking = adapter.needs(layout, key_layout)
    if lacking is not None:
        raise InputError(lacking)
    if executor is not None and adapter.own is not None:
        raise InputError(
            f"the executor {executor!r} was asked for, expected none: {adapter.text} computes its {adapter.own} itself"
        )


@dataclass(frozen=True)
class OwnPlan:
    """What an adapter will compute by itself: the same numbers as those of a `Plan`."""

    executor: str
    pairs: int
    flops: int
    bytes: int
    memory: int

    def __str__(self) -> str:
        lines = [
            f"by itself in {self.executor}",
            f"pairs     {self.pairs:,}",
            f"FLOPs     {self.flops:,} forward",
            f"bytes     {self.bytes:,} in and out",
            f"memory    {self.memory:,} bytes more at the peak of training",
        ]
        return "\n".join(lines)


def _own_plan(adapter: Adapter, own: Own, layout: Layout, heads: int, d: int, dtype: torch.dtype) -> OwnPlan:
    held = 4 * layout.total * heads * d * dtype.itemsize
    # Scores, weights, their gradients, and whole numbers that tell which pairs may attend.
    return OwnPlan(adapter.own or "", own.pairs * heads, own.pairs * heads * 4 * d, held, 2 * held + 32 * own.at_once)


@dataclass(frozen=True)
class AdapterPlan:
    """What will run for an adapter: the plan of each call that it makes.

    `str(plan)` is a report: the adapter, then the report of each call.
    """

    text: str
    plans: dict[str, Plan | OwnPlan]

    @property
    def executor(self) -> str:
        """The executor of each call."""
        return ", ".join(f"{name}: {plan.executor}" for name, plan in self.plans.items())

    @property
    def pairs(self) -> int:
        """Allowed pairs, summed over the heads and the calls."""
        return sum(plan.pairs for plan in self.plans.values())

    @property
    def flops(self) -> int:
        """Floating-point operations of the forward passes on allowed pairs."""
        return sum(plan.flops for plan in self.plans.values())

    @property
    def bytes(self) -> int:
        """Bytes of the inputs and the outputs of all calls."""
        return sum(plan.bytes for plan in self.plans.values())

    @property
    def memory(self) -> int:
        """Bytes at the peak of training, above the inputs: at most those of all calls together."""
        return sum(plan.memory for plan in self.plans.values())

    def __str__(self) -> str:
        return "\n\n".join([self.text, *(f"{name}\n{plan}" for name, plan in self.plans.items())])


def plan_adapter(adapter: Adapter, layout: Layout, key_layout: Layout | None = None, **options: Any) -> AdapterPlan:
    """What `attend` would do with an adapter; see `plan`."""
    keys = layout if key_layout is None else key_layout
    check_adapter(adapter, layout, keys, options["executor"])
    plans: dict[str, Plan | OwnPlan] = {}
    for call in adapter.calls(layout, keys):
        if isinstance(call, Own):
            plans[call.name] = _own_plan(adapter, call, layout, *(options[name] for name in ("heads", "d", "dtype")))
        else:
            plans[call.name] = plan(call.attention, call.layout, key_layout=call.key_layout, **options)
    return AdapterPlan(adapter.text, plans)


@overload
def plan(
    attention: Attention,
    layout: Layout,
    *,
    heads: int = ...,
    d: int = ...,
    key_layout: Layout | None = ...,
    dropout: float = ...,
    executor: str | None = ...,
    dtype: torch.dtype = ...,
) -> Plan: ...


@overload
def plan(
    attention: Adapter,
    layout: Layout,
    *,
    heads: int = ...,
    d: int = ...,
    key_layout: Layout | None = ...,
    dropout: float = ...,
    executor: str | None = ...,
    dtype: torch.dtype = ...,
) -> AdapterPlan: ...


def plan(
    attention: Attention | Adapter,
    layout: Layout,
    *,
    heads: int = 1,
    d: int = 64,
    key_layout: Layout | None = None,
    dropout: float = 0.0,
    executor: str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Plan | AdapterPlan:
    """What `attend` would do for sets laid out like this, before anything runs.

    Args:
        attention: the specification, or an adapter, which has a plan for each call that it makes.
        layout: of the queries.
        heads: number of heads, the keys' too. d: width of queries, keys and values.
        key_layout: of the keys, where they belong to other sets.
        dropout: probability on the weights. executor: a name, to ask for it and no other. dtype: of the vectors.

    Raises:
        InputError: as `attend`.

    >>> from regard import Layout
    >>> from regard.attention.spec.patterns import Window
    >>> print(plan(Attention(pattern=Window(64, 16)), Layout.of_lengths([8000]), heads=4, d=64).executor)
    fused
    """
    check_attention(attention)
    if not isinstance(layout, Layout):
        raise InputError(
            f"layout is of type {type(layout).__name__}, expected a Layout, such as Layout.of_lengths([2, 3])"
        )
    if isinstance(attention, Adapter):
        options = {"heads": heads, "d": d, "dropout": dropout, "executor": executor, "dtype": dtype}
        return plan_adapter(attention, layout, key_layout, **options)
    drop = Dropout(dropout) if dropout else None
    ours = layout.in_order()
    theirs = ours if key_layout is None or key_layout is layout else key_layout.in_order()
    problem = Problem(attention.for_heads(heads), ours, theirs, heads, heads, d, d, dtype, drop)
    return choose(problem, executor)
