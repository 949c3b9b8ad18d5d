"""Which executor serves which attention: asks every executor about every combination, and writes `docs/support.md`.

python -m benchmarks.support
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, replace
from functools import cache
from itertools import product
from pathlib import Path
from types import ModuleType

import torch

from regard.attention.dropout import Dropout
from regard.attention.pairs.drawing import grid
from regard.attention.planning import EXECUTORS, check
from regard.attention.problem import Problem
from regard.attention.spec import biases, normalizers, patterns, scores
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import T5, ALiBi, Bias, EdgeBias, EdgeVectors, Gaussian, Shaw, TransformerXL
from regard.attention.spec.feature_maps import Elu, Favor
from regard.attention.spec.normalizers import Normalizer, Relu, Sigmoid, Softmax, Sum
from regard.attention.spec.patterns import (
    AlongAxis,
    BlockEnds,
    Blocks,
    Causal,
    Dilated,
    Edges,
    Everyone,
    First,
    Near,
    Pattern,
    RandomBlocks,
    Stride,
    Window,
)
from regard.attention.spec.scores import Additive, Dot, EdgeDot, Kernel, Mixture, Score, Separable, Synthesized
from regard.attention.spec.text_form import names_of
from regard.errors import InputError
from regard.sets import Layout

__all__ = ["BIASES", "NORMALIZERS", "PATTERNS", "SCORES", "legal", "main", "page", "problem", "sets"]

PAGE = Path(__file__).parent.parent / "docs" / "support.md"
HEADS, WIDTH, PLACES = 4, 32, 8192

SCORES: dict[str, Score] = {
    "`Dot`": Dot(),
    "`Additive`": Additive(),
    "`Additive('leaky_relu')`": Additive("leaky_relu"),
    "`Separable`": Separable(),
    "`Additive(edges=m)`": Additive("leaky_relu", edges=2),
    "`Separable(edges=m)`": Separable(edges=2),
    "`EdgeDot`": EdgeDot(2),
    "`Kernel(Elu())`": Kernel(Elu()),
    "`Kernel(Favor())`": Kernel(Favor()),
    **{
        f"`Synthesized` {kind}": Synthesized(PLACES, kind)
        for kind in ("dense", "random", "factorized", "factorized_dense")
    },
    "`Mixture`": Mixture((Dot(), Synthesized(PLACES, "random"))),
}
NORMALIZERS: dict[str, Normalizer] = {"`Softmax`": Softmax(), "`Relu`": Relu(), "`Sigmoid`": Sigmoid(), "`Sum`": Sum()}
PATTERNS: dict[str, Pattern | tuple[Pattern, ...]] = {
    "`Everyone`": Everyone(),
    "`Causal`": Causal(),
    "`Window`": Window(8, 8),
    "`Dilated`": Dilated(4, 4, 3),
    "`Stride`": Stride(64) & Window(512, 512),
    "`First`": First(2),
    "`Blocks`": Blocks(16),
    "`BlockEnds`": BlockEnds(16, 1),
    "`RandomBlocks`": RandomBlocks(2, 8),
    "`Edges`": Edges(),
    "`Near`": Near(2),
    "`AlongAxis`": AlongAxis(1),
    "`&`": Edges() & Causal(),
    "`|`": Window(4, 4) | First(1),
    "`~`": ~Window(4, 4),
    "one per head": (Window(8, 0), Causal(), Edges(), First(1)),
}
BIASES: dict[str, Bias | None] = {
    "no bias": None,
    "`ALiBi`": ALiBi(),
    "`ALiBi(coordinates=True)`": ALiBi(coordinates=True),
    "`T5`": T5(),
    "`Shaw`": Shaw(4),
    "`Shaw(values=False)`": Shaw(4, values=False),
    "`TransformerXL`": TransformerXL(),
    "`EdgeBias`": EdgeBias(2),
    "`EdgeVectors`": EdgeVectors(2),
    "`Gaussian`": Gaussian(1),
}
_INTRODUCTION = """\
Every combination of a score, a normalizer, a pattern and a bias that has a meaning is computed by at least one executor whose
memory does not grow with n x n. `make tables` writes this page by asking the executors themselves, about sets that have
coordinates and edges; `regard plan` asks the same about sets like yours, and says which executor is the fastest.

● serves on a CPU and on CUDA, and where it says CPU or CUDA there only. What is missing has no meaning: `Kernel` goes with
`Sum` and without a bias, and `Sum` with nothing else."""


def _completed(axis: Mapping[str, object], module: ModuleType, kind: type) -> Mapping[str, object]:
    """The values above, and each other one of the kind that needs no options."""
    others = {
        f"`{name}`": made for name, made in names_of(module, kind).items() if made not in map(type, axis.values())
    }
    usual = {name: made() for name, made in others.items() if all(_has_default(field) for field in fields(made))}
    return {**axis, **usual}


def _has_default(field: Field[object]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


AXES = (
    _completed(SCORES, scores, Score),
    _completed(NORMALIZERS, normalizers, Normalizer),
    _completed(PATTERNS, patterns, Pattern),
    _completed(BIASES, biases, Bias),
)


@dataclass(frozen=True)
class OnCuda(Problem):
    """A problem whose vectors are said to be on a GPU; no executor looks at them to say why it refuses."""

    @property
    def device(self) -> torch.device:
        return torch.device("cuda")


@cache
def sets(*lengths: int) -> Layout:
    """Sets that lack nothing: with coordinates, and with edges that carry values."""
    layout = Layout.of_lengths(lengths)
    rows = torch.arange(layout.total)
    first, length = layout.offsets[:-1][layout.set_of_row], layout.lengths[layout.set_of_row]
    keys = torch.stack([first + (rows - first + step) % length for step in (0, 1)], 1)
    far = keys != rows[:, None]
    far[:, 0] = True
    edges = torch.stack([rows[:, None].expand_as(keys)[far], keys[far]])
    coords = torch.cat([grid(length, 2) for length in lengths])
    return Layout(layout.offsets, coords, edges, torch.ones(edges.shape[1], 2))


def problem(attention: Attention, layout: Layout, key_layout: Layout | None = None) -> Problem:
    """The problem of some attention over these sets, as a model would pose it."""
    key_layout = layout if key_layout is None else key_layout
    return Problem(attention.for_heads(HEADS), layout, key_layout, HEADS, HEADS, WIDTH, WIDTH, torch.float32)


def _anywhere(posed: Problem) -> Problem:
    return posed


def _on_cuda(posed: Problem) -> Problem:
    return OnCuda(**{field.name: getattr(posed, field.name) for field in fields(Problem)})


Cell = tuple[str, str, str, str]


@cache
def legal() -> dict[Cell, Attention]:
    """Every combination that there is: names of score, normalizer, pattern and bias, and the attention."""
    cells = {}
    for names in product(*AXES):
        score, normalizer, pattern, bias = (axis[name] for axis, name in zip(AXES, names, strict=True))
        try:
            attention = Attention(score, pattern, normalizer, bias)  # type: ignore[arg-type]
            check(problem(attention, sets(12, 7)))
        except InputError:
            continue
        cells[names] = attention
    return cells


def _reasons(posed: Problem) -> dict[str, str | None]:
    return {name: module.why_not(posed) for name, module in EXECUTORS.items()}


@cache
def _answers() -> dict[Cell, tuple[str, ...]]:
    """For each legal cell and executor: a dot where it serves anywhere, CPU or CUDA where only there, else nothing."""
    words = {(True, True): "●", (True, False): "CPU", (False, True): "CUDA", (False, False): ""}
    answers = {}
    for names, attention in legal().items():
        posed = problem(attention, sets(12, 7))
        cpu, cuda = _reasons(posed), _reasons(_on_cuda(posed))
        answers[names] = tuple(words[cpu[name] is None, cuda[name] is None] for name in EXECUTORS)
    return answers


def _grouped(answers: Mapping[Cell, object], axis: int, cells: list[Cell]) -> Iterator[tuple[list[str], list[Cell]]]:
    """Names of one axis that make no difference to the rest, with what is left of the cells for one of them."""
    by_rest: dict[object, list[str]] = {}
    for name in AXES[axis]:
        mine = [cell for cell in cells if cell[axis] == name]
        if mine:
            rest = tuple((cell[:axis] + cell[axis + 1 :], answers[cell]) for cell in mine)
            by_rest.setdefault(rest, []).append(name)
    for names in by_rest.values():
        yield names, [cell for cell in cells if cell[axis] == names[0]]


def _rows(answers: Mapping[Cell, tuple[str, ...]]) -> list[list[str]]:
    """The table, with a row for each group of cells that share their answer."""
    rows = []
    for score_names, of_scores in _grouped(answers, 0, list(answers)):
        for normalizer_names, of_normalizers in _grouped(answers, 1, of_scores):
            for pattern_names, of_patterns in _grouped(answers, 2, of_normalizers):
                for bias_names, cells in _grouped(answers, 3, of_patterns):
                    said = [
                        _named(names, axis) for names, axis in zip((pattern_names, bias_names), (2, 3), strict=True)
                    ]
                    rows.append([", ".join(score_names), ", ".join(normalizer_names), *said, *answers[cells[0]]])
    return rows


def _named(names: list[str], axis: int) -> str:
    others = [name for name in AXES[axis] if name not in names]
    if not others:
        return "all"
    few = len(others) < len(names) and "no bias" not in others
    return f"all but {', '.join(others)}" if few else ", ".join(names)


def _table(head: list[str], rows: Iterable[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


# What an executor is asked about in addition to the table: the first of these that it serves.
USUAL = [
    Attention(score, pattern, normalizer)
    for pattern, (score, normalizer) in product(
        (Window(16, 16), Everyone()), ((Dot(), Softmax()), (Additive(), Softmax()), (Kernel(), Sum()))
    )
]


def _probed(name: str) -> dict[str, str | None]:
    """What one executor says of other things that a call may have."""
    asked = ((attention, place) for place in (_anywhere, _on_cuda) for attention in USUAL)
    attention, place = next(
        (attention, place)
        for attention, place in asked
        if EXECUTORS[name].why_not(place(problem(attention, sets(12, 7)))) is None
    )
    plain, long = problem(attention, sets(12, 7)), sets(30_000)
    continued = Layout(plain.layout.offsets, starts=torch.tensor([3, 3]))
    posed = {
        "dropout": replace(plain, dropout=Dropout(0.1)),
        "float64": replace(plain, dtype=torch.float64),
        "bfloat16": replace(plain, dtype=torch.bfloat16),
        "float16": replace(plain, dtype=torch.float16),
        "values of another width than the keys": replace(plain, e=WIDTH + 1),
        "heads that share keys": replace(plain, key_heads=HEADS // 2),
        "keys of other sets": replace(plain, key_layout=sets(9, 30)),
        "queries that continue a set": problem(replace(attention, pattern=Causal()), continued, sets(15, 10)),
        "a set of 30,000 vectors": replace(plain, layout=long, key_layout=long),
    }
    return {what: EXECUTORS[name].why_not(place(each)) for what, each in posed.items()}


def page() -> str:
    """What `docs/support.md` says."""
    names = [f"`{name}`" for name in EXECUTORS]
    refusals: dict[str, dict[str, None]] = {name: {} for name in EXECUTORS}
    for attention in legal().values():
        posed = problem(attention, sets(12, 7))
        for each in (posed, _on_cuda(posed)):
            for name, reason in _reasons(each).items():
                if reason is not None:
                    refusals[name][_general(reason, posed.attention)] = None
    probed = {name: _probed(name) for name in EXECUTORS}
    marks = [[what, *("●" if probed[name][what] is None else "" for name in EXECUTORS)] for what in probed["blocks"]]
    parts = [
        "# What runs what",
        _INTRODUCTION,
        _table(["score", "normalizer", "pattern", "bias", *names], _rows(_answers())),
        "## Other properties of a call",
        "For an attention that the executor computes, on a CPU if it runs there:",
        _table(["", *names], marks),
        "## Why not",
    ]
    for name in EXECUTORS:
        said = [*refusals[name], *(reason for reason in probed[name].values() if reason is not None)]
        lines = [f"- {reason}" for reason in dict.fromkeys(said)]
        parts.append(
            "\n".join(
                [
                    f"`{name}` refuses nothing." if not lines else f"`{name}` refuses with",
                    *([""] if lines else []),
                    *lines,
                ]
            )
        )
    return "\n\n".join(parts) + "\n"


def _general(reason: str, attention: Attention) -> str:
    """A refusal without what it says of one attention."""
    said = (attention.pattern, attention.score, attention.normalizer, attention.bias)
    for value in sorted(map(repr, said), key=len, reverse=True):
        reason = reason.replace(value, "...") if value != "None" else reason
    return reason


def main() -> int:
    """Write the page, if it is out of date."""
    text = page()
    if not PAGE.exists() or PAGE.read_text() != text:
        PAGE.write_text(text)
        print(f"wrote docs/{PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
