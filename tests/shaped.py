"""A pytest plugin under which the shapes in signatures are checked: `python -m pytest -p tests.shaped tests/layers`.

In production jaxtyping is not even imported: its names stand under `TYPE_CHECKING`, in annotations that nobody evaluates. Here they
are evaluated, by importing the modules as a type checker would. That is possible because type-only imports make no circles.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import beartype
import jaxtyping
import numba  # noqa: F401, like torch before anything could take it for a type checker
import pytest
import torch._dynamo

ROOT = Path(__file__).parent.parent
PACKAGES = (
    "regard/sets",
    "regard/layers",
    "regard/decoding",
    "regard/attention/spec",
    "regard/attention/pairs",
    "regard/attention/adapters",
)
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
FILES += [ROOT / "regard/attention" / f"{name}.py" for name in ("verb", "reference", "call")]
# What Numba takes apart is left as it is: it has no tensors.
FILES = [
    path for path in FILES if path.stem != "__init__" and not re.search(r"\bimport .*\bcompiled\b", path.read_text())
]

KINDS = ("Bool", "Float", "Int", "Num", "Shaped")
"""The names that give a tensor its shape: `Float[Tensor, "t h d"]`."""

# A whole number is a float too, as in PEP 484.
_checker = beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))
# (module, function, parameter or "return") of all annotations that the checker was given, and the functions that were called.
_seen: set[tuple[str, str, str]] = set()
_called: set[tuple[str, str]] = set()


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """What checks a signature; jaxtyping gives it a function that does nothing, with the annotations of the real one."""
    home = function.__module__, function.__qualname__
    _seen.update((*home, name) for name, annotation in function.__annotations__.items() if annotation is not Any)
    checked = _checker(function)

    @functools.wraps(checked)
    def noted(*args: Any, **options: Any) -> Any:
        _called.add(home)
        return checked(*args, **options)

    return noted


def module_of(path: Path, root: Path = ROOT) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)


def load(files: list[Path], root: Path = ROOT) -> None:
    """Import the modules of these files with every signature checked, and every shape in one of them read.

    Raises:
        AssertionError: a shape that was not: an annotation that cannot be evaluated checks nothing.
    """
    names = [module_of(path, root) for path in files]
    loaded = [name for name in names if name in sys.modules]
    assert not loaded, f"{loaded} were imported before their signatures could be read"
    jaxtyping.jaxtyped(typechecker=_checker)(module_of)(ROOT / "tests", ROOT)  # loads the rest of the two libraries
    # A class is not there yet while its own methods are decorated.
    later = {
        node.name for path in files for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef)
    }
    later -= set(vars(builtins))
    vars(builtins).update(dict.fromkeys(later, Any))
    # Where torch looks up the annotations of an operator.
    jaxtyping._decorator.Tensor = torch.Tensor
    typing.TYPE_CHECKING = True
    try:
        with jaxtyping.install_import_hook(names, f"{__name__}.check"):
            for name in names:
                importlib.import_module(name)
    finally:
        typing.TYPE_CHECKING = False
        for name in later:
            delattr(builtins, name)
    unread = {(module_of(path, root), *shape) for path in files for shape in shapes_in(path)} - _seen
    assert not unread, f"shapes that cannot be evaluated: {sorted(unread)}"


def shapes_in(path: Path) -> set[tuple[str, str]]:
    """(function, parameter or "return") of every annotation of a file that has a shape."""
    found = annotations(ast.parse(path.read_text()))
    return {(function, name) for function, name, annotation in found if any(map(is_shape, ast.walk(annotation)))}


def is_shape(node: ast.AST) -> bool:
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in KINDS


def annotations(tree: ast.Module | ast.ClassDef, within: str = "") -> Iterator[tuple[str, str, ast.expr]]:
    """(function, parameter or "return", annotation) of all functions and methods; a dataclass's fields are those of `__init__`."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            yield from annotations(node, f"{within}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            arguments = node.args
            for argument in (
                *arguments.posonlyargs,
                *arguments.args,
                *arguments.kwonlyargs,
                arguments.vararg,
                arguments.kwarg,
            ):
                if argument is not None and argument.annotation is not None:
                    yield f"{within}{node.name}", argument.arg, argument.annotation
            if node.returns is not None:
                yield f"{within}{node.name}", "return", node.returns
        elif isinstance(node, ast.AnnAssign) and isinstance(tree, ast.ClassDef) and _is_dataclass(tree):
            yield f"{within}__init__", ast.unparse(node.target), node.annotation


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


def pytest_configure(config: pytest.Config) -> None:
    load(FILES)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out tests of bad input, whose errors come from inside the functions that refuse it here, and of traced code."""
    left_out = [item for item in items if isinstance(item, pytest.Function) and _of_bad_input_or_traced(item)]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


def _of_bad_input_or_traced(item: pytest.Function) -> bool:
    return re.search(r"raises\(|torch\.compile|torch\.export", inspect.getsource(item.function)) is not None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    shaped = {(module_of(path), function) for path in FILES for function, _ in shapes_in(path)}
    terminalreporter.write_line(
        f"{len(shaped & _called)} of {len(shaped)} signatures with shapes were called; the others:"
    )
    terminalreporter.write_line(", ".join(sorted(f"{module}.{function}" for module, function in shaped - _called)))
