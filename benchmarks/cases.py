"""The cases of the attention benchmark: what is computed, next to which peers, and what is expected of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from benchmarks.graphs import tolokers
from benchmarks.measure import Contestant
from regard.attention.adapters.linear_state import LinearState
from regard.attention.dropout import Dropout
from regard.attention.planning import Plan, choose
from regard.attention.problem import Problem
from regard.attention.spec.attention import Attention
from regard.attention.spec.scores import Kernel
from regard.attention.verb import attend
from regard.attention.vocabulary import parse
from regard.layers.attention import Attend
from regard.sets import Layout

__all__ = ["CASES", "Case", "Floor", "Inputs", "ours"]

# Backward is this many forward passes.
BACKWARD = 2.5
# How many projections each kind of layer has.
_MATRICES = {"qkv": 3, "pair": 2, "one": 1}


@dataclass(frozen=True)
class Floor:
    """What is expected of a case.

    Args:
        than: "G" (a share of the matrix rate), "MB" (peak memory), "error" (against float64, as a multiple of the peer's),
            the name of a peer, or the name of another case.
        factor: for "G" and peers at least so much (peer's time divided by ours), for the others at most.
        slack: milliseconds by which ours may be slower than the peer in any case.
    """

    than: str
    factor: float
    slack: float = 0.0


@dataclass(frozen=True)
class Inputs:
    """What one call gets: `values` are a layer's vectors, `queries` the layout of q where the keys' is another."""

    layout: Layout
    q: Tensor
    k: Tensor
    v: Tensor
    parameters: dict[str, Tensor]
    values: Tensor | None = None
    queries: Layout | None = None

    def to(self, device: str) -> Inputs:
        """The same on a device, with gradients of their own."""

        def moved(x: Tensor) -> Tensor:
            return x.detach().to(device).requires_grad_(x.requires_grad)

        parameters = {name: moved(x) for name, x in self.parameters.items()}
        values = None if self.values is None else moved(self.values)
        queries = None if self.queries is None else self.queries.to(device)
        return Inputs(self.layout.to(device), moved(self.q), moved(self.k), moved(self.v), parameters, values, queries)


@dataclass(frozen=True)
class Case:
    """One measurement.

    Args:
        name: stands in results; a chart joins the cases of its `line`, the name without its length.
        group: what is selected, measured and written together.
        text: the attention.
        lengths: of the sets.
        backward: whether gradients are computed too.
        layer: which projections of the vectors belong to it: "" none, "qkv" to each of the three, "pair" one to queries and one to
            keys and values (GATv2), "one" for all three (GAT).
        peers: names in `benchmarks.peers.PEERS`. floors: what is expected.
        matrix: whether the matrix rate is its physical limit.
        step: whether it is one more vector, with a running state, behind a set of this length.
        lone: whether each set has one query alone.
        degree: how many random edges each vector has, on average. graph: whether the set and its edges are those of tolokers.
    """

    name: str
    group: str
    text: str
    lengths: Sequence[int]
    heads: int = 8
    d: int = 64
    dtype: torch.dtype = torch.float32
    dropout: float = 0.0
    backward: bool = True
    layer: str = ""
    peers: Sequence[str] = ()
    floors: Sequence[Floor] = ()
    matrix: bool = True
    line: str = ""
    degree: int = 0
    graph: bool = False
    step: bool = False
    lone: bool = False

    @cached_property
    def attention(self) -> Attention:
        attention: Attention = parse(self.text)
        return attention

    @property
    def total(self) -> int:
        return sum(self.lengths)

    def layout(self) -> Layout:
        """A new layout, with the same edges every time."""
        plain = Layout.of_lengths(self.lengths)
        if self.graph:
            return Layout(plain.offsets, edges=tolokers()[1])
        if not self.degree:
            return plain
        generator = torch.Generator().manual_seed(0)
        query = torch.randint(self.total, (self.total * self.degree,), generator=generator)
        owner = plain.set_of_row[query]
        place = (torch.rand(len(query), generator=generator) * plain.lengths[owner]).long()
        codes = (query * self.total + plain.offsets[owner] + place).unique()
        edges = torch.stack([codes // self.total, codes % self.total])
        values = torch.randn(len(codes), 2, generator=generator)
        return Layout(plain.offsets, None, edges, values)

    def queries(self) -> Layout | None:
        """The layout of queries, None where it is that of keys."""
        return Layout.of_lengths([min(n, 1) for n in self.lengths]) if self.lone else None

    def problem(self, layout: Layout | None = None) -> Problem:
        layout = self.layout() if layout is None else layout
        queries = self.queries()
        drop = Dropout(self.dropout) if self.dropout else None
        return Problem(
            self.attention.for_heads(self.heads),
            layout if queries is None else queries.to(layout.device),
            layout,
            self.heads,
            self.heads,
            self.d,
            self.d,
            self.dtype,
            drop,
        )

    def plan(self, layout: Layout | None = None) -> Plan:
        return choose(self.problem(layout))

    def flops(self) -> float:
        """Floating-point operations on allowed pairs: 2 d for a score and 2 e for its part of the sum; backward 2.5 times as many.

        A kernel's score and sum are products with a matrix of features instead, once for each key and each query.
        """
        problem = self.problem()
        if isinstance(self.attention.score, Kernel):
            forward = self.total * self.heads * 4.0 * self.attention.score.phi.width(self.d) * self.d
        else:
            forward = problem.pairs * 2.0 * (self.d + self.d)
        if self.layer:
            forward += self.total * 2.0 * _MATRICES[self.layer] * (self.heads * self.d) ** 2
        return forward * (1 + BACKWARD if self.backward else 1)

    def gathered(self) -> float:
        """Bytes of the keys and values that the allowed pairs read; backward 2.5 times as many."""
        return self.problem().pairs * (self.d + self.d) * self.dtype.itemsize * (1 + BACKWARD if self.backward else 1)

    def inputs(self, seed: int = 0) -> Inputs:
        """Normal numbers, the same every time."""
        generator = torch.Generator().manual_seed(seed)

        def leaf(*shape: int, scale: float = 1.0) -> Tensor:
            x = torch.randn(shape, generator=generator) * scale
            return x.to(self.dtype).requires_grad_(self.backward)

        layout, queries = self.layout(), self.queries()
        q = leaf(self.total if queries is None else queries.total, self.heads, self.d)
        k, v = (leaf(self.total, self.heads, self.d) for _ in range(2))
        shapes = self.attention.parameters(self.heads, self.d)
        parameters = {name: leaf(*shape, scale=0.1) for name, shape in shapes.items()}
        values = leaf(self.total, self.heads * self.d) if self.layer else None
        return Inputs(layout, q, k, v, parameters, values, queries)


def ours(case: Case, inputs: Inputs, executor: str | None = None, fresh: bool = False) -> Contestant:
    """The case by `attend`, or by a layer where projections belong to it.

    Args:
        fresh: every run has a layout of its own, as the first layer of a model finds it.
    """
    if case.step:
        return _step(case, inputs)
    if case.layer:
        return _layer(case, inputs)
    drop = Dropout(case.dropout, seed=1) if case.dropout else None
    x, layout = inputs, inputs.layout

    def forward() -> Tensor:
        of = Layout(layout.offsets, layout.coords, layout.edges, layout.edge_values) if fresh else layout
        queries, keys = (of, None) if x.queries is None else (x.queries, of)
        return attend(case.attention, x.q, x.k, x.v, queries, keys, x.parameters, dropout=drop, executor=executor)

    return Contestant(forward, [x.q, x.k, x.v, *x.parameters.values()] if case.backward else ())


def _step(case: Case, inputs: Inputs) -> Contestant:
    empty = LinearState.empty(case.attention, 1, case.heads, case.d, case.d)
    state = empty.after(inputs.k, inputs.v, inputs.layout)
    q, k, v = (x[-1:] for x in (inputs.q, inputs.k, inputs.v))
    return Contestant(lambda: state.step(q, k, v)[0])


def _layer(case: Case, inputs: Inputs) -> Contestant:
    """Projections to q, k and v, and attention; the peers' layers have no projection behind it either."""
    torch.manual_seed(0)
    assert inputs.values is not None, "a case of a layer has its vectors"
    values = inputs.values
    number = _MATRICES[case.layer]
    project = nn.Linear(values.shape[1], number * values.shape[1])
    inside = Attend(case.attention, case.heads, case.d, dropout=case.dropout)

    def forward() -> Tensor:
        projected = project(values).unflatten(-1, (number, case.heads, case.d))
        q, k, v = (projected[:, min(place, number - 1)] for place in range(3))
        return inside(q, k, v, inputs.layout)

    return Contestant(forward, [values, *project.parameters(), *inside.parameters()])


def _windows() -> list[Case]:
    text, group = "Attention(pattern=Window(128, 128))", "window"
    limit = {4096: 0.45, 16384: 0.45, 65536: 0.38}
    peers: dict[int, tuple[str, ...]] = {4096: ("SDPA, mask", "local-attention"), 16384: ("local-attention",)}
    against = {4096: (Floor("SDPA, mask", 8), Floor("local-attention", 1.9))}
    lines = "window ±128"
    cases = [
        Case(
            f"{lines}, {n:,}",
            group,
            text,
            (n,),
            peers=peers.get(n, ()),
            floors=(Floor("G", limit[n]), *against.get(n, ())),
            line=lines,
        )
        for n in limit
    ]
    cases += [Case(f"{lines}, 1,024", group, text, (1024,), peers=("SDPA, mask", "local-attention"), line=lines)]
    n, plain = 4096, f"{lines}, 4,096"
    cases += [
        Case(
            f"{lines}, {n:,}, forward",
            group,
            text,
            (n,),
            backward=False,
            # The mask of FlexAttention is derived from n x n booleans.
            peers=("FlexAttention",) if n <= 16384 else (),
            floors=(Floor("G", 0.55), *((Floor("FlexAttention", 1.0),) if n == 4096 else ())),
            line=f"{lines}, forward",
        )
        for n in (4096, 16384, 65536)
    ]
    cases += [Case(f"{plain}, dropout 0.1", group, text, (n,), dropout=0.1, floors=(Floor(plain, 1.6),))]
    for bias in ("T5()", "ALiBi()"):
        biased = f"Attention(pattern=Window(128, 128), bias={bias})"
        cases.append(Case(f"{plain}, {bias}", group, biased, (n,), floors=(Floor(plain, 1.6),)))
    return cases


def _everyone() -> list[Case]:
    """As many sets as make 4,096 vectors."""
    return [
        Case(
            f"everyone, {4096 // n} x {n:,}",
            "everyone",
            "Attention()",
            (n,) * (4096 // n),
            peers=("SDPA",),
            floors=(Floor("SDPA", 1 / 1.05, slack=0.06),),
            line="everyone",
        )
        for n in (128, 256, 512, 1024, 2048, 4096)
    ]


def _bfloat16() -> list[Case]:
    return [
        Case(
            f"everyone, {n:,}, bfloat16, forward",
            "bfloat16",
            "Attention()",
            (n,),
            dtype=torch.bfloat16,
            backward=False,
            peers=("SDPA",),
            floors=(Floor("SDPA", 2), Floor("error", 2)),
            line="everyone, bfloat16, forward",
        )
        for n in (1024, 2048, 4096)
    ]


def _additive() -> list[Case]:
    def case(n: int, **more: object) -> Case:
        text = "Attention(score=Additive())"
        return Case(f"additive, {n:,}", "additive", text, (n,), heads=1, matrix=False, line="additive", **more)  # type: ignore[arg-type]

    return [
        case(256, peers=("eager",)),
        case(1024, peers=("eager",), floors=(Floor("eager", 14),)),
        case(4096),
        case(8192, floors=(Floor("MB", 200),)),
    ]


def _kernelized() -> list[Case]:
    linear, performer = "linear-attention-transformer", "performer-pytorch"
    cases = []
    for pattern, behind, floor in (("", "", 100), (", pattern=Causal()", ", causal", 50)):
        text = f"Attention(score=Kernel(Elu()), normalizer=Sum(){pattern})"
        line = f"kernelized, elu + 1{behind}"
        for n in (4096, 16384, 65536):
            floors = (Floor("SDPA, one head", floor), Floor(linear, 2)) if n == 65536 else ()
            name = f"{line}, {n:,}"
            cases.append(
                Case(name, "kernelized", text, (n,), peers=("SDPA, one head", linear), floors=floors, line=line)
            )
        text = f"Attention(score=Kernel(Favor(features=266)), normalizer=Sum(){pattern})"
        name = f"kernelized, favor{behind}, 4,096"
        cases.append(Case(name, "kernelized", text, (4096,), peers=(performer,)))
    return cases


def _generation() -> list[Case]:
    """One more vector behind so many others."""
    text, line = "Attention(score=Kernel(Elu()), normalizer=Sum(), pattern=Causal())", "one more vector behind"
    plain = Case(f"{line} 64", "generation", text, (64,), backward=False, peers=("SDPA, keys kept",), matrix=False)
    plain = replace(plain, line=line, step=True)
    others = [replace(plain, name=f"{line} {n:,}", lengths=(n,)) for n in (1024, 16384, 65536)]
    return [plain, *(replace(case, floors=(Floor(plain.name, 1.25),)) for case in others)]


def _sparse() -> list[Case]:
    n, group = 4096, "sparse"
    big_bird = "Window(96, 96) | First(64) | RandomBlocks(3, 64)"
    patterns = (
        ("Window(128, 128)", "Longformer"),
        ("Window(128, 128) | First(4)", "Longformer"),
        (big_bird, "BigBird"),
    )
    return [
        Case(f"layer, {text}, {n:,}", group, f"Attention(pattern={text})", (n,), layer="qkv", peers=(peer,))
        for text, peer in patterns
    ] + [
        Case(f"{text}, {n:,}", group, f"Attention(pattern={text})", (n,), peers=("SDPA, mask",))
        for text in (patterns[1][0], big_bird)
    ]


def _graphs() -> list[Case]:
    """Layers on tolokers, 11,758 nodes and 1,038,000 directed edges, and on random graphs of 16,384 nodes."""
    layers = (
        ("Dot()", "qkv", 4, 32, "TransformerConv", 16),
        ("Separable()", "one", 8, 8, "GATConv", 7),
        ("Additive('leaky_relu')", "pair", 8, 8, "GATv2Conv", 8),
    )
    cases = []
    for score, layer, heads, d, peer, floor in layers:
        text = f"Attention(score={score}, pattern=Edges())"
        plain = Case(f"tolokers, {peer} {heads} x {d}", "graphs", text, (11758,), heads=heads, d=d)
        plain = replace(plain, layer=layer, peers=(peer,), matrix=False)
        cases.append(replace(plain, floors=(Floor(peer, floor),), graph=True))
        if peer == "GATConv":
            line = f"random graph, {peer} {heads} x {d}"
            cases += [
                replace(plain, name=f"{line}, edges {16384 * n:,}", lengths=(16384,), degree=n, line=line)
                for n in (4, 16, 64)
            ]
    return cases


CASES = [
    case
    for make in (_windows, _everyone, _bfloat16, _additive, _kernelized, _generation, _sparse, _graphs)
    for case in make()
]
