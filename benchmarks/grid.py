"""The grid on which executors are measured for the cost model: small to large, every score, kind of pattern, bias and type."""

from __future__ import annotations

from dataclasses import replace

import torch

from benchmarks.cases import Case

__all__ = ["GRID", "sentences"]


def sentences(number: int, seed: int = 0) -> tuple[int, ...]:
    """Lengths like those of sentences: log-normal, 16 in the middle."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(int(x) for x in (torch.randn(number, generator=generator) * 0.7 + 2.8).exp().clamp(1, 200))


# Sets of different sizes: one short, many short, sentences, a few long, one long.
_SHAPES = {
    "one of 64": (64,),
    "64 sentences": sentences(64),
    "256 sentences": sentences(256, 1),
    "8 x 256": (256,) * 8,
    "mixed": (1000, 17, 400, 1, 300, 64, 64, 300),
    "one of 2,000": (2000,),
    "one of 4,096": (4096,),
}
_PATTERNS = (
    "Everyone()",
    "Causal()",
    "Window(16, 16)",
    "Window(128, 128)",
    "Window(96, 96) | First(64) | RandomBlocks(3, 64)",
)
_LARGE = ("Window(128, 128)", "Window(32, 32) | First(2)")
_GRAPHS = (("one of 2,000", 4), ("one of 4,096", 30), ("256 sentences", 5))


def _case(text: str, shape: str, **more: object) -> Case:
    name = f"{text.removeprefix('Attention')}, {shape}" + "".join(f", {key} {value}" for key, value in more.items())
    settings: dict[str, object] = {"heads": 4, "d": 32} | more
    return Case(name, "grid", text, _SHAPES[shape], **settings)  # type: ignore[arg-type]


def _grid() -> list[Case]:
    dot = [_case(f"Attention(pattern={pattern})", shape) for pattern in _PATTERNS for shape in _SHAPES]
    cases = list(dot)
    # Other widths, types, and dropout, on some of them.
    cases += [replace(case, name=f"{case.name}, 8 x 64", heads=8, d=64) for case in dot[::3]]
    cases += [replace(case, name=f"{case.name}, bfloat16", dtype=torch.bfloat16) for case in dot[1::4]]
    cases += [replace(case, name=f"{case.name}, dropout", dropout=0.1) for case in dot[2::5]]
    cases += [
        replace(
            _case(f"Attention(pattern={pattern})", "one of 64", heads=8, d=64), name=f"{pattern}, {n:,}", lengths=(n,)
        )
        for pattern in _LARGE
        for n in (8192, 16384)
    ]
    somewhere = ("64 sentences", "8 x 256", "one of 2,000")
    for bias in ("ALiBi()", "Shaw(8)", "T5()", "TransformerXL()"):
        for pattern in ("Everyone()", "Window(64, 64)"):
            cases += [_case(f"Attention(pattern={pattern}, bias={bias})", shape) for shape in somewhere]
    for normalizer in ("Relu()", "Sigmoid()"):
        cases += [_case(f"Attention(pattern=Window(64, 64), normalizer={normalizer})", shape) for shape in somewhere]
    for score in ("Additive()", "Additive('leaky_relu')", "Separable()"):
        for pattern in ("Everyone()", "Window(64, 64)"):
            cases += [_case(f"Attention(score={score}, pattern={pattern})", shape, heads=2) for shape in somewhere]
    cases += [_case("Attention(score=Additive())", shape, heads=1, d=64) for shape in ("one of 64", "one of 2,000")]
    # One query of each set is mostly a step, which has no way back.
    cases += [
        replace(_case("Attention()", shape, lone=True, heads=heads, d=d), backward=False)
        for shape in _SHAPES
        for heads, d in ((4, 32), (8, 64))
    ]
    for phi in ("Elu()", "Favor(features=64)"):
        for pattern in ("Everyone()", "Causal()"):
            text = f"Attention(score=Kernel({phi}), normalizer=Sum(), pattern={pattern})"
            cases += [_case(text, shape) for shape in ("one of 64", "256 sentences", "mixed", "one of 4,096")]
    for shape, degree in _GRAPHS:
        for score in ("Dot()", "Separable()", "Additive('leaky_relu')"):
            for heads, d in ((8, 8), (4, 32)):
                text = f"Attention(score={score}, pattern=Edges())"
                cases.append(_case(text, shape, heads=heads, d=d, degree=degree))
        text = "Attention(pattern=Edges(), bias=EdgeBias(2))"
        cases += [_case(text, shape, degree=degree), _case(text, shape, degree=degree, dropout=0.1)]
    return cases


GRID = _grid()
