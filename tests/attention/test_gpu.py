"""The same meaning on a GPU: every executor against the float64 reference on the CPU, over the whole catalogue."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from regard.attention import costs
from regard.attention.call import compute
from regard.attention.dropout import Dropout
from regard.attention.planning import EXECUTORS, choose
from regard.attention.problem import USUAL, Problem, Tensors, TileSizes
from regard.attention.spec.attention import Attention
from regard.errors import InputError
from regard.sets import Layout

from .catalogue import BRIEF, CATALOGUE, MIXED, SMALL, Case, Inputs
from .checks import Run, drops_like_the_meaning, equals_the_meaning


def elsewhere(name: str, device: str, tiles: TileSizes = USUAL) -> Run:
    """An executor whose inputs are taken to a device, and whose output is brought back."""

    def run(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
        layout = x.layout.to(device)
        key_layout = layout if x.key_layout is x.layout else x.key_layout.to(device)
        q, k, v = (each.to(device) for each in (x.q, x.k, x.v))
        tensors = Tensors(q, k, v, {key: each.to(device) for key, each in x.parameters.items()})
        out = compute(attention, tensors, layout, key_layout, dropout, name, tiles)
        assert out.device.type == device
        return out.cpu()

    return run


# What is compared of each case: the usual tiles cross at 64 and 128 rows, small ones at 8.
COMPARED = [
    *((equals_the_meaning, (MIXED,), tiles) for tiles in (USUAL, SMALL)),
    *((drops_like_the_meaning, (), tiles) for tiles in (USUAL, SMALL)),
]


def check(name: str, case: Case, device: str) -> int:
    """How many comparisons were made; none where the executor refuses all."""
    torch._dynamo.reset()  # Each case may be compiled anew, and torch allows a function only so many times.
    made = 0
    for compare, sizes, tiles in COMPARED:
        try:
            compare(elsewhere(name, device, tiles), case, *sizes)
        except InputError:
            continue
        made += 1
    return made


# Each executor's share of the catalogue at least; the kernels of some are for the CPU.
SERVED = {"dense": 1.0, "blocks": 1.0, "edges": 1.0, "fused": 0.0, "additive": 0.0, "kernelized": 0.06, "flex": 0.05}
# Slices of the catalogue, which processes share.
SLICES = 8


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("slice_", range(SLICES))
@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_on_a_gpu_equals_the_reference(name: str, slice_: int) -> None:
    for case in CATALOGUE[slice_::SLICES]:
        check(name, case, "cuda")


@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_refuses_no_more_on_a_gpu_than_it_did(name: str) -> None:
    """What is decided of vectors on a GPU is decided on the CPU, so that none is needed here."""
    plain = [case.problem(BRIEF) for case in CATALOGUE if isinstance(case.attention, Attention)]
    serves = [EXECUTORS[name].why_not(replace(problem, where=torch.device("cuda"))) is None for problem in plain]
    assert sum(serves) >= SERVED[name] * len(plain)


def test_a_plan_for_a_gpu_is_made_on_the_cpu_with_its_own_constants():
    """Of sets of many lengths a GPU makes one rectangle, a CPU several; what is slower anyway is not even cut up."""
    layout = Layout.of_lengths([3 + n * 7 % 40 for n in range(64)])
    here = Problem(Attention().for_heads(8), layout, layout, 8, 8, 64, 64, torch.float32)
    there = replace(here, where=torch.device("cuda"))
    rectangles = [EXECUTORS["dense"].work(problem)["rectangles"] for problem in (here, there)]
    assert rectangles[0] > rectangles[1] == 1
    chosen = choose(there)
    assert chosen.executor == "dense"
    assert chosen.seconds["dense"] == costs.seconds("dense", EXECUTORS["dense"].work(there), "cuda")
    assert chosen.seconds["blocks"] == costs.least("blocks", "cuda") > chosen.seconds["dense"]
    assert not any("tile" in str(key) for key in layout.derived)


def test_a_layout_that_was_moved_is_read_where_it_came_from():
    """The device `meta` holds no numbers, so whatever was read there would fail."""
    layout = Layout.of_lengths([2, 0, 5])
    moved = layout.to("meta")
    assert moved.host is layout
    assert layout.host is layout
    assert (moved.total, moved.longest, moved.sets) == (7, 5, 3)
    problem = Problem(Attention().for_heads(2), moved, moved, 2, 2, 4, 4, torch.float32)
    assert problem.pairs == 2 * (4 + 25)
    assert problem.reach == 4
    assert problem.dense_pairs == 29
    assert problem.on_host.device.type == "meta"
    assert problem.on_host.layout is layout


@pytest.mark.parametrize("name", EXECUTORS)
def test_taking_inputs_elsewhere_changes_nothing_on_the_cpu(name: str) -> None:
    """Of the cases that an executor serves here, the first; `flex` serves none."""
    assert name == "flex" or any(check(name, case, "cpu") == (2 if name == "kernelized" else 4) for case in CATALOGUE)
