"""`regard plan`: what would run an attention, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from regard.attention.adapters.base import Adapter
from regard.cli.options import parse, parser
from regard.errors import InputError

if TYPE_CHECKING:
    from regard.attention.spec.attention import Attention
    from regard.sets import Layout

__all__ = ["run"]

_MOST = 2_000_000  # vectors, sets or edges to be told about, as their places are in memory
_DRAWN = 4  # different patterns of heads
_NAMED = 1 << 27  # pairs that patterns name one by one, which take some seconds
_HEADS, _WIDTH = 1 << 10, 1 << 20

_DESCRIPTION = """What would run an attention: the executor, why not the others, pairs, operations and bytes.
SPEC is a pattern such as "Window(64, 16) | First(1)", or a whole "Attention(score=Additive(), pattern=Causal())"."""


def run(arguments: Sequence[str]) -> int:
    options = parser("plan", _DESCRIPTION)
    options.add_argument("spec", metavar="SPEC", help="the text form of a pattern or an Attention")
    options.add_argument("--length", type=int, required=True, help="vectors of each set")
    options.add_argument("--sets", type=int, default=1, help="how many sets of that length")
    options.add_argument("--heads", type=int, default=8, help="heads that share the width")
    options.add_argument("--width", type=int, default=512, help="width of the vectors, all heads together")
    options.add_argument("--degree", type=int, default=0, help="for Edges(): keys that each vector has an edge to")
    options.add_argument("--dropout", type=float, default=0.0, help="probability on the weights")
    options.add_argument(
        "--dtype", type=Literal["float32", "bfloat16", "float64"], default="float32", help="of vectors"
    )
    options.add_argument("--executor", help="ask for this executor by name: it runs or says why not")
    chosen = parse(options, arguments)
    _check(chosen)

    import torch

    from regard import Attention, plan
    from regard.attention.pairs.pairs import naming_at_most
    from regard.attention.planning import AdapterPlan
    from regard.attention.spec.patterns import Pattern
    from regard.attention.vocabulary import parse as parse_spec

    value = parse_spec(chosen.spec)
    attention = Attention(pattern=value) if isinstance(value, (Pattern, tuple)) else value
    if not isinstance(attention, Attention | Adapter):
        raise InputError(f"SPEC is {chosen.spec!r}, expected a pattern or an Attention, alone or in an adapter")
    vectors = chosen.sets * chosen.length
    numbers = attention.coordinates * vectors
    if numbers > _MOST:
        found = f"{attention.coordinates:,} coordinates of each of {vectors:,} vectors"
        raise InputError(f"{attention.text} reads {found}, expected at most {_MOST:,} numbers together")
    layout = _layout(chosen.sets, chosen.length, chosen.degree, attention.coordinates)
    with naming_at_most(_NAMED // _patterns(attention, chosen.heads)):
        report = plan(
            attention,
            layout,
            heads=chosen.heads,
            d=chosen.width // chosen.heads,
            dropout=chosen.dropout,
            executor=chosen.executor,
            dtype=getattr(torch, chosen.dtype),
        )
        print(report)
    if isinstance(report, AdapterPlan):
        return 0
    groups = report.problem.groups
    for pattern, heads in groups[:_DRAWN]:
        of = "" if len(groups) == 1 else f" of head {heads[0]}" if len(heads) == 1 else f" of {len(heads)} heads"
        print(f"\n{pattern!r}{of}, queries down, keys across")
        print(pattern.draw(layout))
    if len(groups) > _DRAWN:
        print(f"\nand {len(groups) - _DRAWN} patterns of other heads")
    return 0


def _check(chosen: Any) -> None:
    """Refuse sizes that are none, or that no plan is made for."""
    for name, lowest in {"length": 0, "sets": 0, "heads": 1, "width": 1, "degree": 0}.items():
        if chosen[name] < lowest:
            raise InputError(f"--{name} is {chosen[name]}, expected at least {lowest}")
    for name, most in {"heads": _HEADS, "width": _WIDTH}.items():
        if chosen[name] > most:
            raise InputError(f"--{name} is {chosen[name]:,}, expected at most {most:,}")
    if not 0 <= chosen.dropout < 1:
        raise InputError(f"--dropout is {chosen.dropout}, expected at least 0 and less than 1")
    vectors, edges = chosen.sets * chosen.length, chosen.sets * chosen.length * chosen.degree
    if max(vectors, chosen.sets, edges) > _MOST:
        raise InputError(
            f"--sets, --length and --degree make {vectors:,} vectors in {chosen.sets:,} sets and {edges:,} edges, "
            f"expected at most {_MOST:,} of each"
        )
    if chosen.width % chosen.heads:
        raise InputError(f"--width is {chosen.width}, expected a multiple of the {chosen.heads} heads")


def _patterns(attention: Attention | Adapter, heads: int) -> int:
    """How many patterns the heads have."""
    spec = attention.attention if isinstance(attention, Adapter) else attention
    return len(set(spec.for_heads(heads).patterns))


def _layout(sets: int, length: int, degree: int, coordinates: int) -> Layout:
    """Sets of that length; with a degree, each vector has an edge to itself and to those after it, around a ring.

    Vectors that are asked for coordinates lie on a grid as square as can be.
    """
    import torch

    from regard.attention.pairs.drawing import grid
    from regard.sets import Layout

    edges = None
    if degree:
        rows = torch.arange(sets * length).repeat_interleave(min(degree, length))
        step = torch.arange(min(degree, length)).repeat(sets * length)
        edges = torch.stack([rows, rows - rows % length + (rows + step) % length])
    coords = grid(length, coordinates).repeat(sets, 1) if coordinates else None
    return Layout(torch.arange(sets + 1) * length, coords, edges)
