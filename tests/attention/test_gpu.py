"""The same meaning on a GPU: every executor against the float64 reference on the CPU, over the whole catalogue."""

import pytest
import torch
from torch import Tensor

from regard.attention.call import compute
from regard.attention.dropout import Dropout
from regard.attention.plan import EXECUTORS
from regard.attention.problem import USUAL, Tensors, TileSizes
from regard.attention.spec.attention import Attention
from regard.errors import InputError

from .catalogue import CATALOGUE, MIXED, SMALL, Case, Inputs
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
SERVED = {"dense": 1.0, "blocks": 1.0, "edges": 1.0, "fused": 0.0, "additive": 0.0, "kernelized": 0.08, "flex": 0.05}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_on_a_gpu_equals_the_reference(name: str) -> None:
    made = [check(name, case, "cuda") for case in CATALOGUE]
    assert sum(n > 0 for n in made) >= SERVED[name] * len(CATALOGUE), "it refuses more than it did"


@pytest.mark.parametrize("name", EXECUTORS)
def test_taking_inputs_elsewhere_changes_nothing_on_the_cpu(name: str) -> None:
    """Of the cases that an executor serves here, the first; `flex` serves none."""
    assert name == "flex" or any(check(name, case, "cpu") == (2 if name == "kernelized" else 4) for case in CATALOGUE)
