"""The same meaning on a GPU: every executor against the float64 reference on the CPU, over the whole catalogue."""

import pytest
import torch
from torch import Tensor

from regard.attention.attend import attend
from regard.attention.dropout import Dropout
from regard.attention.plan import EXECUTORS
from regard.attention.spec.attention import Attention
from regard.errors import InputError

from .catalogue import CATALOGUE, MIXED, Case, Inputs
from .checks import Run, drops_like_the_meaning, equals_the_meaning

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")


def elsewhere(name: str, device: str) -> Run:
    """An executor whose inputs are taken to a device, and whose output is brought back."""

    def run(attention: Attention, x: Inputs, dropout: Dropout | None) -> Tensor:
        layout = x.layout.to(device)
        key_layout = layout if x.key_layout is x.layout else x.key_layout.to(device)
        q, k, v = (each.to(device) for each in (x.q, x.k, x.v))
        parameters = {key: each.to(device) for key, each in x.parameters.items()}
        out = attend(attention, q, k, v, layout, key_layout, parameters, dropout=dropout, executor=name)
        assert out.device.type == device
        return out.cpu()

    return run


def check(name: str, case: Case, device: str) -> None:
    torch._dynamo.reset()  # Each case may be compiled anew, and torch allows a function only so many times.
    run, refusals = elsewhere(name, device), []
    for compare in (lambda: equals_the_meaning(run, case, MIXED), lambda: drops_like_the_meaning(run, case)):
        try:
            compare()
        except InputError as refusal:
            refusals.append(str(refusal))
    if len(refusals) == 2:
        pytest.skip(refusals[0])


@needs_gpu
@pytest.mark.parametrize("case", CATALOGUE, ids=str)
@pytest.mark.parametrize("name", EXECUTORS)
def test_an_executor_on_a_gpu_equals_the_reference(name: str, case: Case) -> None:
    check(name, case, "cuda")


@pytest.mark.parametrize("name", EXECUTORS)
def test_taking_inputs_elsewhere_changes_nothing_on_the_cpu(name: str) -> None:
    check(name, CATALOGUE[0], "cpu")
