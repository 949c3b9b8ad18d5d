"""`additive`: additive scores on the CPU without a number for every pair and column, nor a tanh where exponentials will do.

    tanh(q + k) = m / (m + 2)        m = e^2q e^2k - 1

takes exponentials for each vector instead of each pair, cut off at e^80. One that is cut off meets at least e^-60 of a vector whose
exponents stay below 60, and tanh is 1 or -1 to the last digit; pairs of two vectors beyond are computed directly. Which pairs
these are depends on nothing but the pair, so that no key changes the digits of another. Scores come from kernels, all else from
plain operators; see `tiled.autodiff`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from regard.attention.costs import beside
from regard.attention.executors.tiled.autodiff import attend_in_tile_batches, cut, tile_batch_memory
from regard.attention.pairs.pairs import Pairs
from regard.attention.problem import Problem, Tensors
from regard.attention.spec.scores import Additive
from regard.kernels import MISSING, available
from regard.kernels.threads import share

__all__ = ["CUTTING", "at_least", "memory", "run", "why_not", "work"]

CUTTING = 1e-6
"""Seconds to cut up a row, about: looking at what may save less than that is no gain where batches change."""

# For each type, where exponents are cut off, and the size up to which those of a vector may meet any others.
_EXPONENTS = {torch.float32: (80.0, 60.0), torch.float64: (350.0, 300.0)}
# Bytes of a tile batch's scores, as a multiple of `TileSizes`. Going from torch's threads to the kernels' and back takes time, so
# tile batches are few.
_ROOM = 8
# What the kernels compute at once: columns, and keys.
_LANES, _KEYS = 16, 4


def why_not(problem: Problem) -> str | None:
    if not isinstance(problem.attention.score, Additive):
        return f"it computes the score Additive, not {problem.attention.score!r}"
    if problem.attention.score.edges:
        return f"its kernels read no values of edges, and {problem.attention.score!r} does"
    if problem.device.type != "cpu":
        return f"its kernels are for the CPU, and the vectors are on {problem.device}"
    if not available():
        return MISSING
    return None


def work(problem: Problem) -> dict[str, float]:
    batches = cut(problem, 1, _ROOM)
    pairs = batches.pairs * problem.heads
    score = problem.attention.score
    assert isinstance(score, Additive), "a plan refuses other scores"
    return {
        "calls": 1,
        "tile batches": len(batches.each),
        "pairs": pairs,
        "products": pairs * problem.e,
        score.activation: pairs * problem.d,
        "gathered": batches.gathered * problem.heads * (problem.d + problem.e),
        **beside(problem, pairs),
    }


def at_least(problem: Problem) -> dict[str, float]:
    """Work that is certain before anything is cut up: one tile batch, and the allowed pairs without those that fill it up."""
    score, pairs = problem.attention.score, problem.pairs
    assert isinstance(score, Additive), "a plan refuses other scores"
    certain = {"calls": 1, "tile batches": 1, "pairs": pairs, "products": pairs * problem.e}
    return certain | {score.activation: pairs * problem.d, **beside(problem, pairs)}


def memory(problem: Problem) -> int:
    return tile_batch_memory(problem, 1, _ROOM, held=1.5)


def run(problem: Problem, tensors: Tensors) -> Tensor:
    return attend_in_tile_batches(problem, tensors, _scores, 1, _ROOM)


def _scores(problem: Problem, q: Tensor, k: Tensor, pairs: Pairs, parameters: Mapping[str, Tensor]) -> Tensor:
    attention = problem.attention
    assert isinstance(attention.score, Additive), "a plan refuses other scores"
    s = _Tile.apply(attention.score, q, k, parameters["score_weight"])
    if attention.bias is None:
        return s
    return s + attention.bias_scale(problem.d) * attention.bias.tile_score_bias(q, pairs, parameters)


class _Tile(torch.autograd.Function):
    """`[c, h, rows, keys]` from q `[c, h, rows, d]`, k `[c, h, keys, d]` and w `[h, d]`."""

    @staticmethod
    def forward(ctx: Any, score: Additive, q: Tensor, k: Tensor, w: Tensor) -> Tensor:
        from regard.attention.executors.additive import kernels

        leaky = score.activation != "tanh"
        (c, h, rows, d), keys = q.shape, k.shape[2]
        if k.stride(0) == 0:
            k = k[:1]  # All tiles have the same keys.
        q, k, w = _even(q, 3, _LANES), _even(_even(k, 3, _LANES), 2, _KEYS), _even(w, 1, _LANES)
        exponentials = (q, q, k, k) if leaky else (*_exponentials(q), *_exponentials(k))
        s = q.new_empty(c, h, rows, k.shape[2])
        sizes = k.shape[0] * h, rows, k.shape[2], q.shape[3]
        _share(kernels.forward, c * h, leaky, s, *exponentials, w, h, *sizes, score.slope)
        large = None if leaky else _large(q, k)
        if large is not None:
            _share(kernels.mend, c * h, s, q, k, *large, w, h, *sizes)
        ctx.save_for_backward(*exponentials, w)
        ctx.large = None if large is None else (q, k, *large)
        ctx.score, ctx.keys, ctx.d = score, keys, d
        return s[..., :keys]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, above: Tensor) -> Any:
        from regard.attention.executors.additive import kernels

        (*exponentials, w), large = ctx.saved_tensors, ctx.large
        (c, h, rows, d), (tiles, _, keys, _) = exponentials[0].shape, exponentials[2].shape
        g, sizes = _even(above, 3, _KEYS), (tiles * h, rows, keys, d)
        d_q, d_k, d_w = (above.new_zeros(c, h, *size) for size in ((rows, d), (keys, d), (d,)))
        if large is not None:
            _share(kernels.mend_back, c * h, g, *large, d_q, d_k, d_w, *sizes)
            g = g.masked_fill(large[2].unsqueeze(-1) & large[3].unsqueeze(-2), 0)
        leaky = ctx.score.activation != "tanh"
        _share(kernels.backward, c * h, leaky, g, *exponentials, d_q, d_k, d_w, *sizes, ctx.score.slope)
        d_q, d_k = (x.mul_(w[:, None, :]) for x in (d_q, d_k))
        return None, d_q[..., : ctx.d], d_k[:, :, : ctx.keys, : ctx.d], d_w.sum(0)[:, : ctx.d]


def _share(kernel: Callable[..., None], tiles: int, *arguments: Any) -> None:
    share(kernel, range(tiles + 1), *(x.flatten().numpy() if isinstance(x, Tensor) else x for x in arguments))


def _exponentials(x: Tensor) -> tuple[Tensor, Tensor]:
    """a and low with a (1 + low) = e^2x."""
    most, _ = _EXPONENTS[x.dtype]
    exact = x.double().mul(2).clamp_(-most, most).exp_()
    a = exact.to(x.dtype)
    return a, (exact / a - 1).to(x.dtype)


def _large(q: Tensor, k: Tensor) -> tuple[Tensor, Tensor] | None:
    """`[c, h, rows]` and `[c, h, keys]`: which vectors have exponents that must not meet one another; None where none do."""
    _, tame = _EXPONENTS[q.dtype]
    # What is not tame, so that NaN counts as large.
    large = [~(2 * x.abs().amax(-1) <= tame) for x in (q, k)]
    return (large[0], large[1]) if all(bool(x.any()) for x in large) else None


def _even(x: Tensor, dim: int, step: int) -> Tensor:
    """Contiguous, with zeros behind, so that this dimension is a multiple of the step."""
    more = -x.shape[dim] % step
    return pad(x, [0, 0] * (x.dim() - 1 - dim) + [0, more]) if more else x.contiguous()
