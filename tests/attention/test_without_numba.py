"""Attention where Numba is not installed: what needs no kernel computes the same, the rest says so."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from regard import Layout, attend
from regard.attention.dropout import Dropout
from regard.attention.vocabulary import parse
from regard.layers import dropout

SIZES = (70, 0, 3, 130)
CASES = [
    ("dense", "Attention(pattern=Causal())"),
    ("blocks", "Attention(pattern=Window(9, 4), bias=ALiBi())"),
    ("blocks", "Attention(score=Additive(), normalizer=Sigmoid())"),
    ("edges", "Attention(pattern=Window(9, 4))"),
    ("edges", "Attention(score=Separable(), pattern=Window(9, 4), normalizer=Relu())"),
    ("kernelized", "Attention(score=Kernel(), normalizer=Sum(), pattern=Causal())"),
    ("kernelized", "Attention(score=Kernel(), normalizer=Sum())"),
]

BLOCKED = """
import importlib, pathlib, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("numba", "llvmlite"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
"""


def passes(executor: str | None, text: str, dropout: Dropout | None = None) -> list[torch.Tensor]:
    """The output and the gradients of queries, keys, values and parameters."""
    generator, attention = torch.Generator().manual_seed(0), parse(text)
    x = [torch.randn(sum(SIZES), 4, 6, generator=generator).requires_grad_() for _ in range(3)]
    shapes = attention.parameters(4, 6, 6)
    learned = {name: torch.randn(shape, generator=generator).requires_grad_() for name, shape in shapes.items()}
    layout = Layout.of_lengths(SIZES)
    out = attend(attention, *x, layout, parameters=learned, dropout=dropout, executor=executor)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), [*x, *learned.values()])]


def dropped() -> list[torch.Tensor]:
    """Dropout of vectors and its gradient, of few numbers and of many."""
    found = []
    for n in (5, 1000):
        torch.manual_seed(7)
        x = torch.linspace(1, 2, n).view(-1, 5).requires_grad_()
        y = dropout.dropout(x, 0.3)
        found += [y.detach(), *torch.autograd.grad(y.sum(), x)]
    return found


def blocked(code: str) -> str:
    """What a process prints that cannot import Numba."""
    command = [sys.executable, "-c", BLOCKED + code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_computes_what_kernels_do(tmp_path: Path):
    blocked(f"""
import torch
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_without_numba import *
found = [passes(*case) for case in CASES] + [passes("edges", CASES[3][1], Dropout(0.3, 5)), passes(None, CASES[0][1]), dropped()]
torch.save(found, {str(tmp_path / "found")!r})
""")
    *found, ours = torch.load(tmp_path / "found")
    cases = [(executor, text, None) for executor, text in CASES] + [
        ("edges", CASES[3][1], Dropout(0.3, 5)),
        (None, CASES[0][1], None),
    ]
    for case, values in zip(cases, found, strict=True):
        for here, there in zip(passes(*case), values, strict=True):
            torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)
    assert all(torch.equal(here, there) for here, there in zip(dropped(), ours, strict=True))


@pytest.mark.parametrize("executor", ["fused", "additive"])
def test_executors_of_kernels_refuse(executor: str):
    said = blocked(f"""
from regard import Attention, Layout, plan
from regard.attention.spec.scores import Additive, Dot
from regard.errors import InputError
score = Additive() if {executor!r} == "additive" else Dot()
try:
    plan(Attention(score=score), Layout.of_lengths([9]), executor={executor!r})
except InputError as error:
    print(error)
""")
    assert said.endswith(": its kernels need Numba, which is not installed\n")


def test_everything_but_kernels_can_be_imported():
    said = blocked("""
import regard
home = pathlib.Path(regard.__file__).parent
compiled = {f"attention.executors.linear.{name}" for name in ("causal", "features", "long", "tiles")}
compiled |= {f"attention.executors.edges.{name}" for name in ("autograd", "compressed", "tables")}
compiled |= {f"attention.executors.fused.{name}" for name in ("autograd", "lone", "units", "weights")} | {"layers.depthwise"}
for path in sorted([*(home / "attention").rglob("*.py"), *(home / "layers").rglob("*.py"), *(home / "vectors").rglob("*.py")]):
    name = ".".join(path.relative_to(home).with_suffix("").parts)
    if not name.endswith("__init__") and not name.endswith("kernels") and name not in compiled:
        importlib.import_module(f"regard.{name}")
for name in ("kernels.hashing", "kernels.threads", "models.encoder", "models.conformer", "train.fitting", "cli"):
    importlib.import_module(f"regard.{name}")
print(sorted(name for name in ("numba", "llvmlite") if name in sys.modules))
""")
    assert said == "[]\n"
