"""Shapes in signatures are there, are true, and cost nothing in production; `tests.shaped` is what checks them."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys

import jaxtyping
import pytest
import torch

from tests.shaped import FILES, KINDS, ROOT, annotations, is_shape, load, module_of

# Tests that call most of the signatures, quickly.
RUN = [
    *("tests/test_sets.py", "tests/test_whole.py"),
    *(f"tests/attention/test_{name}.py" for name in ("meaning", "biases", "drawing", "features", "remember", "room")),
    *(f"tests/attention/test_{name}.py" for name in ("edge_values", "shortest_paths")),
    *(
        f"tests/layers/test_{name}.py"
        for name in ("layers", "dropout", "positions_floater", "graph_convolutions", "convolution2d", "like_torch")
    ),
    *(f"tests/layers/test_{name}.py" for name in ("graph_transformer", "spectral", "stem2d", "patch_stem", "overlaps")),
    *(
        f"tests/layers/test_{name}.py"
        for name in ("globals", "induced", "reversible", "gatv2", "degrees", "pooled_attention", "resized2d")
    ),
    *(f"tests/attention/test_{name}.py" for name in ("lsh", "routing", "sinkhorn", "reduce")),
    "tests/models/test_compressive.py",
    "tests/decoding",
]


def test_shapes_hold_where_tests_run():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.shaped", "-p", "no:cacheprovider", *RUN]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    passed, called = (re.search(text, done.stdout) for text in (r"(\d+) passed", r"(\d+) of (\d+) signatures"))
    assert passed is not None
    assert called is not None
    assert int(passed[1]) > 200
    # The others are those of abstract methods and of what no test in RUN needs.
    assert int(called[1]) > 0.75 * int(called[2])


HEAD = """from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from jaxtyping import Float

"""


def loaded(folder, name, text, monkeypatch):
    """A module with this text, loaded with its shapes checked."""
    monkeypatch.syspath_prepend(folder)
    path = folder / f"{name}.py"
    path.write_text(HEAD + text)
    load([path], folder)
    return importlib.import_module(name)


def test_a_wrong_shape_is_caught(tmp_path, monkeypatch):
    text = """
def twice(x: Float[Tensor, "t d"]) -> Float[Tensor, "t d"]:
    return torch.cat([x, x])

def joined(x: Float[Tensor, "t d"], y: Float[Tensor, "t e"]) -> Float[Tensor, "t d+e"]:
    return torch.cat([x, y], 1)

@dataclass
class Pair:
    left: Float[Tensor, " t"]
    right: Float[Tensor, " t"]

    def swapped(self) -> tuple[Float[Tensor, "t 2"], Pair]:
        return torch.stack([self.left, self.right]), Pair(self.right, self.left)
"""
    module, x = loaded(tmp_path, "wrong_shapes", text, monkeypatch), torch.ones(3, 2)
    assert module.joined(x, torch.ones(3, 1)).shape == (3, 3)
    for call in (
        lambda: module.twice(x),
        lambda: module.joined(x, torch.ones(2, 1)),
        lambda: module.joined(x, x.long()),
        lambda: module.Pair(x[:, 0], x[0]),
        lambda: module.Pair(x[:, 0], x[:, 1]).swapped(),
    ):
        with pytest.raises(jaxtyping.TypeCheckError):
            call()


def test_a_shape_that_cannot_be_evaluated_is_caught(tmp_path, monkeypatch):
    text = 'def unknown(x: Float[Tensor, "t"], y: Float[Missing, "t"]) -> None: ...'
    with pytest.raises(
        AssertionError, match=r"shapes that cannot be evaluated: \[\('unknown_names', 'unknown', 'y'\)\]"
    ):
        loaded(tmp_path, "unknown_names", text, monkeypatch)


def test_production_imports_no_checker():
    script = f"""
import importlib, sys
sys.modules.update(jaxtyping=None, beartype=None)
for name in {[module_of(path) for path in FILES]!r}:
    importlib.import_module(name)
import torch
from regard.layers.attention import SelfAttention
from regard.sets import VectorSets
assert SelfAttention(4, 2)(VectorSets.pack([torch.ones(3, 4), torch.ones(1, 4)])).values.shape == (4, 4)
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_public_tensors_have_shapes(path):
    bare = {
        function
        for function, _, annotation in annotations(ast.parse(path.read_text()))
        if is_public(function) and has_bare_tensor(annotation)
    }
    assert bare == set(), f"expected one of {KINDS} around each tensor"


def is_public(function: str) -> bool:
    return all(not name.startswith("_") or name.startswith("__") for name in function.split("."))


def has_bare_tensor(annotation: ast.AST) -> bool:
    if is_shape(annotation):
        return False
    if isinstance(annotation, ast.Name | ast.Constant) and ast.unparse(annotation).strip("'\"") == "Tensor":
        return True
    return any(map(has_bare_tensor, ast.iter_child_nodes(annotation)))


def test_a_bare_tensor_is_seen():
    for text, bare in (
        ('Float[Tensor, "t d"] | None', False),
        ("tuple[Float[Tensor, ' t'], int]", False),
        ("tuple[Float[Tensor, ' t'], Tensor]", True),
        ("Mapping[str, 'Tensor']", True),
        ("Tensor | None", True),
    ):
        assert has_bare_tensor(ast.parse(text, mode="eval").body) == bare
