"""Programs as on a processor with narrower vectors: what they then compute with, and that the kernels' results are the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from llvmlite import binding

from benchmarks import conformance, narrow

_CODE = """
import json, torch
from regard.attention import costs
from regard.attention.verb import attend
from regard.attention.spec.attention import Attention
from regard.attention.spec.patterns import Window
from regard.attention.spec.scores import Additive
from regard.kernels.simd import processor
from regard.sets import Layout
layout = Layout.of_lengths([61, 1, 0, 30])
errors = {}
for name, attention in {
    "fused": Attention(pattern=Window(9, 4)), "additive": Attention(score=Additive()), "edges": Attention(),
}.items():
    drawn = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(92, 2, 13, generator=drawn).requires_grad_() for _ in range(3))
    parameters = {n: torch.randn(s, generator=drawn) for n, s in attention.parameters(2, 13).items()}
    def both(executor, dtype):
        x = [each.detach().to(dtype).requires_grad_() for each in (q, k, v)]
        out = attend(attention, *x, layout, parameters={n: p.to(dtype) for n, p in parameters.items()}, executor=executor)
        return out.double(), *(g.double() for g in torch.autograd.grad(out.square().sum(), x))
    ours, true = both(name, torch.float32), both("blocks", torch.float64)
    errors[name] = max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, true))
print(json.dumps([costs.processor_class(), processor.lanes(32), processor.ROWS, processor.PAIRS, errors]))
"""


@pytest.mark.rare
@pytest.mark.skipif(torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"), reason="not an x86 with AVX2")
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (narrow.environment("avx2"), ["avx2", 8, 4, False]),
        ({"NUMBA_CPU_NAME": "generic"}, ["other", 4, 4, False]),
    ],
    ids=["avx2", "generic"],
)
def test_kernels_honor_a_narrower_class_and_are_as_exact(
    settings: dict[str, str], expected: list[object], tmp_path: Path
) -> None:
    environment = os.environ | settings | {"NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", _CODE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    *computed, errors = json.loads(done.stdout)
    assert computed == expected
    assert set(errors) == {"fused", "additive", "edges"}
    assert max(errors.values()) < 5e-6


def test_the_environment_names_no_wider_instructions() -> None:
    features = narrow.environment("avx2")["NUMBA_CPU_FEATURES"].split(",")
    assert not [each for each in features if each.startswith("+avx512")]
    host = {name for name, there in binding.get_host_cpu_features().items() if there}
    kept = {each[1:] for each in features if each.startswith("+")}
    assert kept == {name for name in host if not name.startswith(("avx512", "amx", "avx10"))}


def test_another_class_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert narrow.main(["avx1024", "-c", "0"]) == 2
    assert "the class is 'avx1024', expected one of avx2" in capsys.readouterr().err
    assert narrow.main(["avx2"]) == 2


def test_the_suite_of_the_narrower_class_takes_the_executors_with_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def ensure(stamp: Path, command: list[str]) -> None:
        assert stamp.name == "conformance-avx2"
        commands.append(command)

    monkeypatch.setattr(conformance, "ensure", ensure)
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX512")
    assert conformance.main(["avx2"]) == 0
    (command,) = commands
    assert command[1:4] == ["-m", "benchmarks.narrow", "avx2"]
    assert "tests/attention/test_conformance.py" in command
    for name in ("fused", "additive", "edges", "kernelized"):
        assert name in command[-1]


def test_a_processor_that_is_no_wider_needs_no_second_suite(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: "AVX2")
    monkeypatch.setattr(conformance, "ensure", None)
    assert conformance.main(["avx2"]) == 0
    assert "left out, because this processor has no AVX-512" in capsys.readouterr().out
    assert conformance.main(["sse2"]) == 2
    assert "there is no class 'sse2', expected avx2 or nothing" in capsys.readouterr().err
