"""The catalogue that drives the conformance suite: what is attended, by how many heads, over what kind of sets.

The four axes (score, pattern, normalizer, bias) are covered pair by pair: any two values of two axes meet in some case.
What goes beyond the axes (grouped heads, other widths, other keys, coordinates) has cases of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product

import torch
from torch import Tensor

from regard.attention.adapters.axes import Axes
from regard.attention.adapters.base import Adapter
from regard.attention.adapters.compressive import Compressive
from regard.attention.adapters.globals import Globals
from regard.attention.adapters.linformer import Linformer
from regard.attention.adapters.memory_compressed import MemoryCompressed
from regard.attention.adapters.nystrom import Nystrom
from regard.attention.adapters.remember import Remember
from regard.attention.adapters.segments import Segments
from regard.attention.dropout import Dropout
from regard.attention.planning import EXECUTORS
from regard.attention.problem import USUAL, Problem, TileSizes
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import (
    T5,
    ALiBi,
    EdgeBias,
    EdgeVectors,
    Gaussian,
    Quadratic,
    Shaw,
    ShortestPath,
    TransformerXL,
)
from regard.attention.spec.feature_maps import Elu, Favor
from regard.attention.spec.normalizers import Relu, Sigmoid, Softmax, Sum
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
    RandomBlocks,
    Stride,
    Window,
)
from regard.attention.spec.scores import Additive, Dot, EdgeDot, Kernel, Mixture, Separable, Synthesized
from regard.sets import Layout

# Every number is compared on a batch that crosses the usual tiles of 64 rows; properties of sets are checked on a smaller one.
MIXED = (7, 0, 63, 1, 2, 130, 6)
SHORT = (7, 0, 63, 1, 2, 7, 6)
BRIEF = (9, 0, 20, 1, 2)
# The least that the executors take: tiles of 8 rows by one or two vectors of keys, several units, parts and pieces, and caches of
# two slots, so that a set of 20 crosses boundaries of every kind.
SMALL = TileSizes(
    rows=8,
    keys=8,
    scores=1 << 15,
    most_scores=1 << 16,
    listed=2,
    padding=40,
    most_padding=80,
    linear=16,
    block=16,
    slots=0,
    units=8,
    near=1,
    part=1 << 9,
    at_once=1000,
)
# Single sets. Of few numbers, errors in float32 are a matter of luck and have a wider budget; float64 hides nothing.
FEW = ((0,), (1,), (2,), (7,))
TINY = (((0,), USUAL), ((1,), SMALL), ((2,), USUAL))
EDGE_WIDTH = 2


@dataclass(frozen=True)
class Inputs:
    """What one call of `attend` gets."""

    layout: Layout
    key_layout: Layout
    q: Tensor
    k: Tensor
    v: Tensor
    parameters: dict[str, Tensor]

    @property
    def leaves(self) -> dict[str, Tensor]:
        return {"q": self.q, "k": self.k, "v": self.v, **self.parameters}

    def but(self, **leaves: Tensor) -> "Inputs":
        """The same with other tensors, each a leaf of its own."""
        new = {name: leaves.get(name, leaf).detach().clone().requires_grad_() for name, leaf in self.leaves.items()}
        q, k, v = (new.pop(name) for name in "qkv")
        return Inputs(self.layout, self.key_layout, q, k, v, new)


@dataclass(frozen=True)
class Case:
    """One entry of the catalogue.

    `cross` gives the keys sets of their own, some of them empty; `continued` lets each set's queries come after three keys.
    """

    attention: Attention | Adapter
    heads: int = 4
    key_heads: int = 4
    d: int = 8
    e: int = 8
    coords: int = 0
    cross: bool = False
    continued: bool = False

    def __str__(self) -> str:
        widths = f"h{self.heads}g{self.key_heads}d{self.d}e{self.e}"
        more = [name for name in ("cross", "continued") if getattr(self, name)]
        return " ".join([repr(self.attention).removeprefix("Attention"), widths, *more])

    @cached_property
    def has_edges(self) -> bool:
        return self.attention.reads_edges

    @cached_property
    def has_order(self) -> bool:
        """Whether the place of a vector in its set matters."""
        bias = self.attention.bias
        by_order = isinstance(bias, T5 | TransformerXL) or (isinstance(bias, ALiBi | Shaw) and not bias.coordinates)
        # Of several shortest paths the one with the smallest rows is taken.
        by_order = by_order or self.attention.score.placed or (isinstance(bias, ShortestPath) and bias.edges > 0)
        return by_order or not all(isinstance(pattern, Everyone | Edges) for pattern in self.attention.patterns)

    def layouts(self, sizes: Sequence[int]) -> tuple[Layout, Layout]:
        generator = torch.Generator().manual_seed(len(sizes) + sum(sizes))
        layout = self._layout(Layout.of_lengths(sizes), generator)
        if self.cross:
            others = (*sizes[1:], sizes[0]) if len(sizes) > 1 else (sizes[0] + 2,)
            return layout, self._layout(Layout.of_lengths(others), generator)
        if self.continued:
            three = torch.full((len(sizes),), 3)
            return Layout(layout.offsets, starts=three), Layout.of_lengths(layout.lengths + three)
        return layout, layout

    def _layout(self, layout: Layout, generator: torch.Generator) -> Layout:
        coords = edges = edge_values = None
        if self.coords:
            coords = torch.randint(-3, 4, (layout.total, self.coords), generator=generator).double()
        if self.has_edges:
            same = layout.set_of_row[:, None] == layout.set_of_row
            some = same & (torch.rand(same.shape, generator=generator) < 0.3)
            edges = some.nonzero().T[:, torch.randperm(int(some.sum()), generator=generator)]
            edge_values = torch.randn(edges.shape[1], EDGE_WIDTH, generator=generator, dtype=torch.float64)
        return Layout(layout.offsets, coords, edges, edge_values)

    def problem(self, sizes: Sequence[int], dropout: Dropout | None = None, tiles: TileSizes = USUAL) -> Problem:
        """In float32."""
        attention, widths = self.attention.for_heads(self.heads), (self.heads, self.key_heads, self.d, self.e)
        return Problem(attention, *self.layouts(sizes), *widths, torch.float32, dropout, tiles)

    def inputs(self, sizes: Sequence[int], dtype: torch.dtype = torch.float64) -> Inputs:
        """The same numbers for every type, as far as it can hold them."""
        layout, key_layout = self.layouts(sizes)
        generator = torch.Generator().manual_seed(7)

        def leaf(*shape: int) -> Tensor:
            # Numbers that bfloat16 holds exactly, so that all types compute the same problem.
            x = torch.randn(shape, generator=generator, dtype=torch.float64).bfloat16()
            return x.to(dtype).requires_grad_()

        q = leaf(layout.total, self.heads, self.d)
        k = leaf(key_layout.total, self.key_heads, self.d)
        v = leaf(key_layout.total, self.key_heads, self.e)
        shapes = self.attention.parameters(self.heads, self.d, self.e)
        return Inputs(layout, key_layout, q, k, v, {name: leaf(*shape) for name, shape in shapes.items()})


SCORES = (Dot(), Dot(scale=1.0), Additive(), Additive(activation="leaky_relu"), Separable())
PATTERNS = (
    Everyone(),
    Causal(),
    Window(2, 1),
    Window(3, 3) | First(1),
    ~Window(1, 1),
    Edges(),
    Edges() & Causal(),
    (Window(2, 0), Edges(), ~Everyone(), First(2)),
)
NORMALIZERS = (Softmax(), Relu(), Sigmoid())
BIASES = (
    None,
    ALiBi(),
    Shaw(radius=2),
    Shaw(radius=2, keys=False),
    EdgeBias(width=EDGE_WIDTH),
    T5(buckets=8, max_distance=20),
    TransformerXL(width=6),
)


BY_ORDER = (ALiBi(), Shaw(radius=4), T5(buckets=6, max_distance=9, bidirectional=False), TransformerXL())


def _pairwise(*axes: Sequence[object]) -> list[tuple]:
    """Few tuples in which any two values of two axes meet: the best at each step, which is the same every time."""
    numbers = [range(len(axis)) for axis in axes]
    missing = {(a, i, b, j) for a, b in combinations(range(len(axes)), 2) for i in numbers[a] for j in numbers[b]}

    def meets(row: tuple[int, ...]) -> set[tuple[int, int, int, int]]:
        return {(a, row[a], b, row[b]) for a, b in combinations(range(len(row)), 2)} & missing

    chosen = []
    while missing:
        row = max(product(*numbers), key=lambda row: len(meets(row)))
        missing -= meets(row)
        chosen.append(tuple(axis[n] for axis, n in zip(axes, row, strict=True)))
    return chosen


def _beyond_the_axes() -> list[Case]:
    plain = Attention()
    shaw = Attention(bias=Shaw(radius=2))
    additive = Attention(score=Additive())
    cases = [Case(attention, key_heads=2) for attention in (plain, shaw, additive)]
    cases += [Case(Attention(score=Separable(), pattern=Edges()), key_heads=1)]
    cases += [Case(attention, e=5) for attention in (plain, Attention(pattern=Causal()), shaw, additive)]
    cases += [Case(Attention(pattern=Window(2, 2)), key_heads=2, e=12)]
    cases += [Case(attention, cross=True) for attention in (plain, shaw, additive, Attention(normalizer=Sigmoid()))]
    cases += [Case(Attention(pattern=pattern), cross=True) for pattern in (Causal(), Window(1, 2) | First(1))]
    cases += [Case(Attention(pattern=pattern), continued=True) for pattern in (Causal(), Window(2, 0), ~First(2))]
    cases += [Case(Attention(pattern=Causal(), bias=bias), continued=True) for bias in BY_ORDER]
    cases += [Case(Attention(bias=ALiBi(coordinates=True)), coords=n) for n in (1, 2)]
    cases += [Case(Attention(bias=Shaw(radius=2, coordinates=n)), coords=n, e=6) for n in (1, 2)]
    cases += [Case(Attention(bias=Shaw(radius=2, coordinates=2)), coords=2, cross=True)]
    quadratic = Attention(bias=Quadratic())
    cases += [Case(quadratic, key_heads=1, coords=2, e=5), Case(quadratic, coords=2, cross=True)]
    cases += [Case(Attention(Additive(), Near(1), Relu(), Quadratic(3)), coords=3)]
    cases += [Case(Attention(bias=Gaussian()), coords=4), Case(Attention(bias=Gaussian(1)), coords=2, cross=True)]
    cases += [Case(Attention(Additive(), Window(3, 3), Relu(), Gaussian(1)), coords=2)]
    cases += [Case(Attention(pattern=(Window(2, 1), Near(2), Everyone(), ~Causal()), bias=Quadratic(1)), coords=1)]
    bigbird = Window(1, 1) | First(1) | RandomBlocks(2, size=2, seed=5)
    by_order = (Dilated(2, 1, 3) | First(1), Stride(3) & Causal(), Blocks(4), bigbird, Blocks(5, shift=2))
    cases += [Case(Attention(pattern=pattern)) for pattern in by_order]
    cases += [Case(Attention(pattern=pattern), cross=True) for pattern in by_order]
    cases += [Case(Attention(pattern=pattern), continued=True) for pattern in by_order]
    fixed = Causal() & (Blocks(5) | BlockEnds(5, 2))
    cases += [Case(Attention(pattern=fixed)), Case(Attention(pattern=(Blocks(4), Blocks(4, shift=1), fixed, Causal())))]
    by_place = (Near(1), AlongAxis(0) | AlongAxis(1))
    cases += [Case(Attention(score=Additive(), pattern=pattern), coords=2) for pattern in by_place]
    cases += [Case(Attention(pattern=(Causal(), Everyone()), bias=ALiBi()), heads=2, key_heads=1, d=6, e=3)]
    return cases


def _of_their_own() -> list[Case]:
    """Linear attention, whose score and normalizer go with each other alone, and scores by place."""
    linear = [Attention(score=Kernel(phi), normalizer=Sum()) for phi in (Elu(), Favor(features=12, seed=3))]
    causal = [replace(attention, pattern=Causal()) for attention in linear]
    cases = [Case(attention) for attention in (*linear, *causal)]
    cases += [Case(attention, key_heads=2, e=5) for attention in (linear[0], *causal)]
    cases += [Case(attention, cross=True) for attention in (*linear, causal[0])]
    cases += [Case(causal[0], continued=True), Case(linear[0], continued=True)]
    cases += [
        Case(replace(linear[0], pattern=p)) for p in (Window(2, 1), (Window(2, 0), Edges(), ~Everyone(), First(2)))
    ]
    kinds = ("dense", "random", "factorized", "factorized_dense")
    placed = {kind: Attention(score=Synthesized(places=140, kind=kind)) for kind in kinds}
    cases += [Case(attention, d=4) for attention in placed.values()]
    cases += [
        Case(replace(attention, pattern=Causal(), normalizer=Relu()), continued=True) for attention in placed.values()
    ]
    cases += [Case(replace(placed["dense"], bias=Shaw(radius=2)), key_heads=2, cross=True)]
    mixed = Mixture((Synthesized(140, "random"), Dot()))
    cases += [Case(Attention(mixed), d=4), Case(Attention(mixed, Causal(), bias=ALiBi()), key_heads=2, continued=True)]
    several = Mixture((Additive(), Dot(1.0), EdgeDot(EDGE_WIDTH), Synthesized(140, "factorized_dense", rank=12)))
    cases += [Case(Attention(several, (Window(2, 1), Edges(), Causal(), Everyone()), Relu()), e=5)]
    cases += [Case(Attention(Mixture((Separable(), Dot())), normalizer=Sigmoid()), key_heads=2, cross=True)]
    return cases


def _by_edges() -> list[Case]:
    """Scores and a bias that read the values of edges, along edges and over all pairs."""
    additive = Additive("leaky_relu", edges=EDGE_WIDTH)
    cases = [Case(Attention(score, Edges())) for score in (additive, EdgeDot(EDGE_WIDTH), Separable(edges=EDGE_WIDTH))]
    cases += [Case(Attention(pattern=Edges(), bias=EdgeVectors(EDGE_WIDTH)), d=4, e=4)]
    cases += [Case(Attention(additive, ~Causal(), Relu(), Shaw(2)), key_heads=2, e=5)]
    cases += [Case(Attention(bias=ShortestPath(3, edges=EDGE_WIDTH)), key_heads=2)]
    cases += [Case(Attention(Additive(), (Edges(), Everyone()), Relu(), ShortestPath(1)), heads=2, key_heads=2)]
    cases += [Case(Attention(EdgeDot(EDGE_WIDTH, clip=0.5), Everyone() | Edges(), Sigmoid(), ALiBi()))]
    cases += [
        Case(
            Attention(Separable(edges=EDGE_WIDTH), (Edges(), Everyone()), bias=EdgeBias(EDGE_WIDTH)),
            heads=2,
            key_heads=1,
        )
    ]
    cases += [Case(Attention(EdgeDot(EDGE_WIDTH), Edges(), bias=EdgeVectors(EDGE_WIDTH)), key_heads=2, d=6, e=6)]
    return cases


CATALOGUE = [
    *(Case(Attention(score=s, pattern=p, normalizer=n, bias=b)) for s, p, n, b in _pairwise(SCORES, PATTERNS, NORMALIZERS, BIASES)),
    *_beyond_the_axes(),
    *_of_their_own(),
    *_by_edges(),
]  # fmt: skip


# What looks back only, over keys of any kind.
BACK = [
    Attention(pattern=Causal()),
    Attention(score=Dot(scale=1.0), pattern=Causal(), bias=T5(buckets=8, max_distance=20)),
    Attention(pattern=Window(4, 0), bias=ALiBi()),
    Attention(pattern=(Causal(), Window(2, 0), Window(0, 0), First(1) & Causal()), bias=Shaw(3)),
    Attention(pattern=Stride(3) & Causal(), normalizer=Sigmoid()),
    Attention(score=Additive(), pattern=Dilated(3, 0, 2)),
    Attention(score=Separable(), pattern=Blocks(5) & Causal(), normalizer=Relu(), bias=TransformerXL(width=6)),
    Attention(score=Synthesized(200), pattern=Causal()),
    Attention(Kernel(), Causal(), Sum()),
    Attention(Kernel(Favor(12, seed=3)), Causal(), Sum()),
    Attention(Kernel(Elu()), Window(6, 0), Sum()),
]

AXES = [
    Axes(),
    Axes(combine="stack"),
    Axes(Attention(pattern=Causal(), bias=ALiBi()), combine="stack"),
    Axes(Attention(pattern=Window(9, 2) | First(2), bias=Shaw(3))),
    Axes(Attention(score=Additive(), pattern=(Causal(), Everyone(), Window(3, 0), Dilated(2, 2, 2))), combine="stack"),
    Axes(Attention(normalizer=Sigmoid(), bias=Shaw(2, coordinates=2))),
    Axes(Attention(pattern=Near(2.0), bias=T5(buckets=8, max_distance=20), normalizer=Relu())),
    Axes(Attention(Kernel(), Causal(), Sum())),
    Axes(Attention(Synthesized(200, "factorized"), bias=TransformerXL(width=6)), combine="stack"),
]

# What reduces the keys of MIXED sets; those of fewer vectors than it makes of them are among them.
REDUCED = [
    Case(Linformer(longest=140, k=5), d=4, e=5, key_heads=2),
    Case(Linformer(longest=140, k=3, share="none"), d=4, e=5, key_heads=2),
    Case(Linformer(Attention(Additive(), normalizer=Sigmoid()), longest=130, k=8, share="values"), d=4),
    Case(Linformer(Attention(Kernel(), normalizer=Sum()), longest=150, k=4), cross=True),
    Case(Linformer(longest=150, k=4), continued=True),
    Case(MemoryCompressed(), d=4, e=5, key_heads=2),
    Case(MemoryCompressed(Attention(pattern=Causal(), bias=ALiBi()), rate=4), d=4, key_heads=1),
    Case(
        MemoryCompressed(Attention(Additive(), (Causal(), Everyone(), Window(6, 3), First(4)), Relu(), Shaw(3)), rate=2)
    ),
    Case(MemoryCompressed(Attention(Kernel(), Causal(), Sum())), cross=True),
    Case(MemoryCompressed(Attention(pattern=Window(9, 0)), rate=5), continued=True),
    Case(Nystrom(landmarks=2, iterations=3), d=4, e=5, key_heads=2),
    Case(Nystrom(Attention(Additive()), landmarks=5, kernel=3), key_heads=2),
    Case(Nystrom(landmarks=6), cross=True),
    Case(Nystrom(landmarks=4, iterations=0), continued=True),
]

ADAPTED = [
    *(Case(adapter, coords=2, d=4, e=5, key_heads=2 if n % 2 else 4) for n, adapter in enumerate(AXES)),
    *(Case(Remember(attention), e=5) for attention in BACK),
    *REDUCED,
    Case(Segments(memory=3), e=5),
    Case(Globals(Attention(pattern=Window(3, 1), bias=Shaw(2)), first=2), e=5),
    Case(Compressive(by="mean")),
]


def computed(cases: Iterable[Case], dropout: float = 0.0) -> list[tuple[str, Case]]:
    """The executors that do not refuse a case, with each of the cases."""
    pairs = []
    for case in cases:
        problem = case.problem(SHORT, Dropout(dropout) if dropout else None)
        pairs += [(name, case) for name, module in EXECUTORS.items() if module.why_not(problem) is None]
    return pairs
