"""What `regard bench` measures: an attention, or layers, and the same in torch's own operators or by an installed peer."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import elu, scaled_dot_product_attention

from regard.attention.adapters.remember import Remember
from regard.attention.adapters.states import begin
from regard.attention.dropout import Dropout
from regard.attention.pairs.pairs import Pairs
from regard.attention.planning import plan
from regard.attention.problem import Tensors
from regard.attention.spec.attention import Attention
from regard.attention.spec.normalizers import Sum
from regard.attention.spec.patterns import Causal, Window
from regard.attention.spec.scores import Additive, Kernel
from regard.attention.verb import attend
from regard.layers.attention import SelfAttention
from regard.layers.blocks import Block, FeedForward, Stack
from regard.sets import Layout, VectorSets

__all__ = ["CASES", "PEERS", "Case", "Posed", "measured"]

_REPEATS, _QUICK_REPEATS = 5, 3
# A sample lasts at least so long: quicker calls are repeated inside of it.
_SAMPLE_SECONDS = 0.02
# The backward pass counts as 2.5 forward passes.
_PASSES = 3.5
# Of a set that grows, before it begins anew.
_STEPS = 64
PEERS = {"local-attention": "local_attention"}
"""Peers that may be installed, and their modules."""


class Posed(NamedTuple):
    """A case with its tensors.

    Args:
        executor: what ours is computed by. ours: one call, forward and backward. others: by name, the same.
        flops: floating-point operations on allowed pairs, 0 where they are not counted.
    """

    executor: str
    ours: Callable[[], object]
    others: Mapping[str, Callable[[], object]]
    flops: float = 0.0


@dataclass(frozen=True)
class Case:
    """Something to measure.

    Args:
        name: as it stands in tables. pose: makes its tensors. quick: whether a quick look takes it.
    """

    name: str
    pose: Callable[[], Posed]
    quick: bool = True


def measured(case: Case, quick: bool = False) -> dict[str, Any]:
    """A row: milliseconds of ours and of the others, who take turns; the middle of several."""
    posed = case.pose()
    contestants = {"regard": posed.ours, **posed.others}
    calls: dict[str, int] = {}
    for name, call in contestants.items():
        # The first compiles, and derives what a layout keeps.
        call()
        calls[name] = math.ceil(_SAMPLE_SECONDS / _timed(call, 1))
    runs: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(_QUICK_REPEATS if quick else _REPEATS):
        for name, call in contestants.items():
            runs[name].append(_timed(call, calls[name]))
    ms = {name: 1e3 * statistics.median(each) for name, each in runs.items()}
    row: dict[str, Any] = {"case": case.name, "executor": posed.executor, "ms": _digits(ms.pop("regard"))}
    if posed.flops:
        row["GFLOP"] = _digits(posed.flops / 1e9)
    return row | {"others": {name: _digits(each) for name, each in ms.items()}}


def _timed(call: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def _digits(x: float) -> float:
    return float(f"{x:.4g}")


def _trained(forward: Callable[..., Tensor], leaves: Sequence[Tensor]) -> Callable[[], object]:
    """Forward and backward passes of a function of some tensors."""

    def call() -> object:
        out = forward(*leaves)
        return torch.autograd.grad(out, list(leaves), torch.ones_like(out))

    return call


def _drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def _by_set(x: Tensor, sets: int) -> Tensor:
    """`[s, h, n, d]` of `[t, h, d]`: sets of one length."""
    return x.unflatten(0, (sets, -1)).transpose(1, 2)


def _attention(
    attention: Attention, lengths: Sequence[int], peers: Sequence[str], heads: int = 8, d: int = 64
) -> Posed:
    """An attention on random vectors, forward and backward; the layout is that of all layers, and what it keeps is there."""
    layout = Layout.of_lengths(lengths)
    q, k, v = (_drawn(layout.total, heads, d, seed=n) for n in range(3))
    learned = {name: _drawn(*shape, seed=3) for name, shape in attention.parameters(heads, d).items()}
    parameters = list(learned.values())

    def forward(q: Tensor, k: Tensor, v: Tensor, *given: Tensor) -> Tensor:
        return attend(attention, q, k, v, layout, None, dict(zip(learned, given, strict=True)))

    planned = plan(attention, layout, heads=heads, d=d)
    flops = 0.0
    if isinstance(attention.score, Kernel):
        flops = _PASSES * layout.total * heads * 4 * d * d
    elif not learned:
        flops = _PASSES * planned.flops
    others = {name: _OTHERS[name](attention, layout, (q, k, v), parameters) for name in peers if _there(name)}
    return Posed(planned.executor, _trained(forward, [q, k, v, *parameters]), others, flops)


def _there(name: str) -> bool:
    return name not in PEERS or find_spec(PEERS[name]) is not None


def _sdpa(attention: Attention, layout: Layout, leaves: Sequence[Tensor], _: Sequence[Tensor]) -> Callable[[], object]:
    """On the very same tensors."""

    def forward(*leaves: Tensor) -> Tensor:
        q, k, v = (_by_set(x, layout.sets) for x in leaves)
        return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(0, 1)

    return _trained(forward, leaves)


def _sdpa_masked(
    attention: Attention, layout: Layout, leaves: Sequence[Tensor], _: Sequence[Tensor]
) -> Callable[[], object]:
    """With a mask of all pairs of one set."""
    rows = torch.arange(layout.total)
    heads = leaves[0].shape[1]
    mask = attention.for_heads(heads).allows(Pairs(layout, layout, rows[:, None], rows)).movedim(-1, 0)
    own = [_by_set(x, 1).detach().contiguous().requires_grad_() for x in leaves]
    return _trained(lambda q, k, v: scaled_dot_product_attention(q, k, v, mask), own)


def _sdpa_padded(
    attention: Attention, layout: Layout, leaves: Sequence[Tensor], _: Sequence[Tensor]
) -> Callable[[], object]:
    """On sets that are padded beforehand, which costs it nothing here."""
    padded = []
    for x in leaves:
        values, real = VectorSets(x.detach().flatten(1), layout).to_padded()
        padded.append(values.unflatten(-1, x.shape[1:]).transpose(1, 2).contiguous().requires_grad_())
    mask = real[:, None, None, :]
    return _trained(lambda q, k, v: scaled_dot_product_attention(q, k, v, mask), padded)


def _eager(
    attention: Attention, layout: Layout, leaves: Sequence[Tensor], learned: Sequence[Tensor]
) -> Callable[[], object]:
    """An additive score by its formula: tanh of a vector for each pair."""

    def forward(q: Tensor, k: Tensor, v: Tensor, weight: Tensor) -> Tensor:
        scores = torch.tanh(q[..., :, None, :] + k[..., None, :, :]) @ weight[:, None, :, None]
        return scores.squeeze(-1).softmax(-1) @ v

    own = [_by_set(x, layout.sets).detach().contiguous().requires_grad_() for x in leaves]
    return _trained(forward, [*own, *learned])


def _einsums(
    attention: Attention, layout: Layout, leaves: Sequence[Tensor], _: Sequence[Tensor]
) -> Callable[[], object]:
    """Linear attention of one set, written out."""

    def forward(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k = elu(q) + 1, elu(k) + 1
        sums = torch.einsum("uhf,uhe->hfe", k, v)
        return torch.einsum("thf,hfe->the", q, sums) / torch.einsum("thf,hf->th", q, k.sum(0))[..., None]

    return _trained(forward, leaves)


def _local_attention(
    attention: Attention, layout: Layout, leaves: Sequence[Tensor], _: Sequence[Tensor]
) -> Callable[[], object]:
    pattern: Any = attention.patterns[0]
    module = import_module(PEERS["local-attention"]).LocalAttention(
        pattern.left, look_backward=1, look_forward=1, exact_windowsize=True, dropout=0.0
    )
    return _trained(module, [_by_set(x, 1).detach().contiguous().requires_grad_() for x in leaves])


_Other = Callable[[Attention, Layout, Sequence[Tensor], Sequence[Tensor]], Callable[[], object]]
_OTHERS: dict[str, _Other] = {
    "SDPA": _sdpa,
    "SDPA, mask": _sdpa_masked,
    "SDPA, padded": _sdpa_padded,
    "eager": _eager,
    "einsums": _einsums,
    "local-attention": _local_attention,
}


def _verb(
    attention: Attention,
    tensors: Tensors,
    layout: Layout,
    key_layout: Layout | None = None,
    dropout: Dropout | None = None,
) -> Tensor:
    return attend(attention, tensors.q, tensors.k, tensors.v, layout, key_layout, tensors.parameters, dropout=dropout)


def _step(attention: Attention, keys: int, heads: int = 8, d: int = 64) -> Posed:
    """One more vector of a set that has so many: each call goes on from the one before, for some steps, and then anew."""
    q, k, v = (_drawn(keys + 1, heads, d, seed=n).detach() for n in range(3))
    last = Tensors(q[-1:], k[-1:], v[-1:], {})
    with torch.inference_mode():
        empty = begin(Remember(attention), sets=1, key_heads=heads, d=d)
        past = Tensors(q[:-1], k[:-1], v[:-1], {})
        states = [empty.attend(_verb, past, Layout.of_lengths([keys]))[1]]
        query, keys_kept, values_kept = (x.transpose(0, 1)[None].contiguous() for x in (last.q, k, v))

    @torch.inference_mode()
    def ours() -> object:
        one = Layout(torch.tensor([0, 1]), starts=torch.tensor([keys + len(states) - 1]))
        out, state = states[-1].attend(_verb, last, one)
        if len(states) == _STEPS:
            del states[1:]
        else:
            states.append(state)
        return out

    @torch.inference_mode()
    def theirs() -> object:
        return scaled_dot_product_attention(query, keys_kept, values_kept)

    return Posed("a state", ours, {"SDPA": theirs})


def _encoder(sets: int = 64, width: int = 256, layers: int = 4, heads: int = 8, hidden: int = 1024) -> Posed:
    """A training step of an encoder on sets as long as sentences, next to torch's on the same, padded beforehand."""
    lengths = [_SENTENCES[n % len(_SENTENCES)] for n in range(sets)]
    blocks = [Block(SelfAttention(width, heads), FeedForward(width, hidden), width) for _ in range(layers)]
    ours = Stack(blocks, width)
    layer = nn.TransformerEncoderLayer(width, heads, hidden, 0.0, batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
    given = VectorSets(_drawn(sum(lengths), width, seed=0).detach(), Layout.of_lengths(lengths))
    padded, real = given.to_padded()

    def ours_step() -> object:
        # Batches have layouts of their own, so that what is derived of one is part of a step.
        fresh = VectorSets(given.values, Layout(given.layout.offsets))
        return torch.autograd.grad(ours(fresh).values.square().sum(), list(ours.parameters()))

    def their_step() -> object:
        out = theirs(padded, src_key_padding_mask=~real)[real]
        return torch.autograd.grad(out.square().sum(), list(theirs.parameters()))

    return Posed("layers", ours_step, {"nn.TransformerEncoder": their_step})


_SENTENCES = [17, 9, 26, 13, 31, 8, 21, 12]
_LINEAR = Attention(score=Kernel(), normalizer=Sum())
_RUNNING = Attention(score=Kernel(), pattern=Causal(), normalizer=Sum())
CASES = (
    Case("everyone, 32 x 128", lambda: _attention(Attention(), [128] * 32, ["SDPA"])),
    Case("everyone, 4 x 1,024", lambda: _attention(Attention(), [1024] * 4, ["SDPA"])),
    Case("everyone, 1 x 4,096", lambda: _attention(Attention(), [4096], ["SDPA"]), quick=False),
    Case("sentences, 64 of 8 to 31", lambda: _attention(Attention(), _SENTENCES * 8, ["SDPA, padded"], d=32)),
    Case(
        "window ±128, 4,096",
        lambda: _attention(Attention(pattern=Window(128, 128)), [4096], ["SDPA, mask", "local-attention"]),
        quick=False,
    ),
    Case(
        "window ±128, 1,024",
        lambda: _attention(Attention(pattern=Window(128, 128)), [1024], ["SDPA, mask", "local-attention"]),
    ),
    Case(
        "additive, 1,024",
        lambda: _attention(Attention(score=Additive()), [1024], ["eager"], heads=1),
    ),
    Case("linear, 4,096", lambda: _attention(_LINEAR, [4096], ["einsums"])),
    Case("linear, 16,384", lambda: _attention(_LINEAR, [16384], ["einsums"]), quick=False),
    Case("one more vector behind 64, linear", lambda: _step(_RUNNING, 64)),
    Case("one more vector behind 1,024", lambda: _step(Attention(pattern=Causal()), 1024)),
    Case("encoder 256 x 4, a step of 64 sentences", _encoder),
)
"""In the order of tables."""
