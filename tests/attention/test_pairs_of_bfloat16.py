"""`fused` in bfloat16: what is rounded, where products take pairs of numbers and where the processor has no such products.

The bounds are counted, not tuned. Inputs are exact and sums are in float32; the output is rounded once, by 2^-8 of it at most, and
so is, where products take pairs, each weight. So no number of the output errs by more than 2^-7 of sum_j a_ij |v_j|.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from llvmlite import binding
from torch import Tensor

from regard.attention.dropout import Dropout
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import ALiBi
from regard.attention.spec.normalizers import Relu, Sigmoid, Softmax
from regard.attention.spec.patterns import Causal, Everyone, Window
from regard.attention.spec.scores import Dot
from regard.attention.verb import attend
from regard.kernels.simd import processor
from regard.sets import Layout

LENGTHS = (301, 0, 1, 2, 47)


def given(heads: int = 2, key_heads: int = 2, d: int = 64, e: int = 64) -> list[Tensor]:
    generator = torch.Generator().manual_seed(4)
    shapes = ((heads, d), (key_heads, d), (key_heads, e))
    return [torch.randn(sum(LENGTHS), *shape, generator=generator).bfloat16() for shape in shapes]


def holds(attention: Attention, x: list[Tensor], dropout: Dropout | None = None) -> None:
    layout = Layout.of_lengths(LENGTHS)
    out = attend(attention, *x, layout, dropout=dropout, executor="fused")
    q, k, v = (each.double() for each in x)
    true, size = (attend(attention, q, k, each, layout, dropout=dropout, executor="blocks") for each in (v, v.abs()))
    assert out.dtype == torch.bfloat16
    # Sums in float32 err by far less than what is rounded.
    assert ((out.double() - true).abs() <= 2**-7 * 1.01 * size + 1e-9).all()


@pytest.mark.parametrize("pattern", [Everyone(), Causal(), Window(11, 4), Window(0, 0)], ids=repr)
@pytest.mark.parametrize("normalizer", [Softmax(), Relu(), Sigmoid()], ids=repr)
def test_rounds_weights_and_outputs_alone(pattern, normalizer):
    """Windows begin and end at odd keys, in the middle of a pair."""
    holds(Attention(pattern=pattern, normalizer=normalizer), given())


@pytest.mark.parametrize(("d", "e"), [(1, 1), (7, 9), (33, 64), (128, 16)])
def test_odd_widths_and_shared_keys(d, e):
    holds(Attention(pattern=Window(30, 30)), given(4, 2, d, e))


def test_dropout_bias_and_a_negative_scale():
    holds(Attention(pattern=Causal(), bias=ALiBi()), given(), Dropout(0.3, seed=7))
    holds(Attention(score=Dot(-0.3)), given())


def test_vectors_that_are_not_contiguous():
    x = given(d=8, e=8)
    turned = [each.permute(2, 0, 1).contiguous().permute(1, 2, 0) for each in x]
    assert turned[0].stride(2) != 1
    layout = Layout.of_lengths(LENGTHS)
    found = [attend(Attention(), *each, layout, executor="fused") for each in (x, turned)]
    assert torch.equal(*found)


@pytest.mark.parametrize("bad", [torch.inf, torch.nan])
def test_what_is_not_finite_stays_in_its_set(bad):
    x, layout = given(), Layout.of_lengths(LENGTHS)
    before = attend(Attention(), *x, layout, executor="fused")
    spoilt = [each.clone() for each in x]
    for each in spoilt[1:]:
        each[300] = bad  # The last of an odd number of keys.
    after = attend(Attention(), *spoilt, layout, executor="fused")
    assert not after[:301].isfinite().any()
    assert torch.equal(before[301:], after[301:])


def test_the_gradients_go_with_the_output():
    x, layout = given(d=20, e=12), Layout.of_lengths(LENGTHS)
    found = []
    for dtype, name in ((torch.bfloat16, "fused"), (torch.float64, "blocks")):
        leaves = [each.to(dtype).requires_grad_() for each in x]
        out = attend(Attention(pattern=Window(20, 20)), *leaves, layout, executor=name)
        found.append(torch.autograd.grad(out.square().sum(), leaves))
    for ours, true in zip(*found, strict=True):
        # The gradient from above is the rounded output; it, the weights' part of it and the result are rounded once each.
        assert (ours.double() - true).abs().max() <= 3 * 2**-8 * true.abs().max()


def test_pairs_are_taken_where_the_processor_has_them():
    assert bool(binding.get_host_cpu_features().get("avx512bf16")) == processor.PAIRS


@pytest.mark.rare
@pytest.mark.skipif(not processor.PAIRS, reason="this processor has no products of pairs")
def test_other_processors_compute_in_float32(tmp_path: Path):
    """Compiled as for the same processor without such products: weights are not rounded, so that the bound halves."""
    code = """
import torch
from regard.attention.verb import attend
from regard.kernels.simd import processor
from regard.attention.spec.attention import Attention
from regard.sets import Layout
x = [torch.randn(61, 2, 13, generator=torch.Generator().manual_seed(n)).bfloat16() for n in range(3)]
layout = Layout.of_lengths([60, 1])
out = attend(Attention(), *x, layout, executor="fused").double()
true = attend(Attention(), *(each.double() for each in x), layout, executor="blocks")
print(processor.PAIRS, bool(((out - true).abs() <= 2**-8 * true.abs() + 1e-6).all()))
"""
    features = binding.get_host_cpu_features()
    features["avx512bf16"] = False
    environment = {**os.environ, "NUMBA_CPU_FEATURES": features.flatten(), "NUMBA_CACHE_DIR": str(tmp_path)}
    environment["NUMBA_CPU_NAME"] = binding.get_host_cpu_name()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["False", "True"]
