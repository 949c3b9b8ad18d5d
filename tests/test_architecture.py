"""Imports go one way, and what needs no torch loads none."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import regard
import regard.attention

PACKAGE = Path(regard.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# Each layer may import itself and every layer before it; `data` stands aside of the line.
LINE = [
    "errors",
    "files",
    "kernels",
    "sets",
    "attention",
    "layers",
    "decoding",
    "vectors",
    "models",
    "tasks",
    "train",
    "recipes",
    "inspector",
    "speaker",
    "cli",
]
MAY_IMPORT = {layer: set(LINE[: n + 1]) for n, layer in enumerate(LINE)}
MAY_IMPORT["data"] = {"data", "errors", "files"}
# Word vectors are made of text. Configurations name the type of what readers learned; training, recipes and commands read data.
for layer in ("vectors", "models", "tasks", "train", "recipes", "inspector", "speaker", "cli"):
    MAY_IMPORT[layer].add("data")
# A batch is where examples become sets.
EXCEPTIONS = {"regard.data.batch": {"sets"}}

# Importing these must not cost a user a second: what they need of the heavy libraries is loaded where it is used.
LIGHT = [
    *(
        "regard",
        "regard.errors",
        "regard.attention",
        "regard.data.examples",
        "regard.data.encoding",
        "regard.data.reader",
        "regard.data.registry",
        "regard.data.image",
    ),
    *(
        f"regard.attention.spec.{name}"
        for name in ("attention", "biases", "feature_maps", "normalizers", "patterns", "scores")
    ),
    *("regard.data.text", "regard.data.speech", "regard.data.graph", "regard.models.pieces"),
    *("regard.vectors.corpus", "regard.vectors.files", "regard.vectors.scoring"),
    *(
        "regard.models.encoder",
        "regard.models.encoder_decoder",
        "regard.models.recurrent_decoder",
        "regard.models.conformer",
        "regard.models.graph",
    ),
    *("regard.layers.registry", "regard.train.kinds", "regard.train.earlier"),
    *("regard.tasks.configs", "regard.train.experiment", "regard.recipes", "regard.cli"),
]
HEAVY = [
    *("torch", "lightning", "torchmetrics", "torchdata", "tensorboard", "matplotlib", "numba", "llvmlite"),
    *("sklearn", "scipy", "PIL", "soundfile", "soxr", "kaldi_native_fbank", "rdkit", "tokenizers"),
]


def name_of(path: Path) -> str:
    parts = ("regard", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(part for part in parts if part != "__init__")


def imports(path: Path) -> set[str]:
    """Full names of the modules of `regard` that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    short = {f"regard.{name}": f"{home}.{name}" for name, home in regard._HOME.items()}
    short |= {
        f"regard.attention.{name}": f"{getattr(regard.attention, name).__module__}.{name}"
        for name in regard.attention.__all__
    }
    return {short.get(name, name) for name in found if name.startswith("regard.") and name != "regard.__version__"}


def layer_of(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_imports_go_one_way(path):
    name = name_of(path)
    if name == "regard":
        return
    allowed = MAY_IMPORT[layer_of(name)] | EXCEPTIONS.get(name, set())
    for imported in imports(path):
        assert layer_of(imported) in allowed, f"{name} imports {imported}"


# What executors share.
TILED = "regard.attention.executors.tiled"


def test_executors_never_import_one_another():
    home = "regard.attention.executors"
    executors = {f"{home}.{path.stem}" for path in (PACKAGE / "attention" / "executors").iterdir()} - {
        TILED,
        f"{home}.__init__",
    }
    for path in MODULES:
        mine = next((each for each in executors if within(name_of(path), each)), None)
        if mine is None and not within(name_of(path), TILED):
            continue
        for imported in imports(path):
            others = [each for each in executors - {mine} if within(imported, each)]
            assert not others, f"{name_of(path)} imports {imported}"


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_no_module_imports_itself_by_way_of_others():
    """Lazy and type-only imports included: a circle means that two modules are one, or that a third is missing."""
    known = {name_of(path): path for path in MODULES}
    graph = {}
    for name, path in known.items():
        nearest = {imported if imported in known else imported.rpartition(".")[0] for imported in imports(path)}
        graph[name] = (nearest & known.keys()) - {name}
    assert [circle for circle in components(graph) if len(circle) > 1] == []


def components(graph: dict[str, set[str]]) -> list[set[str]]:
    """The sets of nodes that can reach one another."""
    reached = {}
    for start in graph:
        reached[start], ahead = set(), [start]
        while ahead:
            new = graph[ahead.pop()] - reached[start]
            reached[start] |= new
            ahead += new
    found: list[set[str]] = []
    for start, ends in reached.items():
        circle = {start} | {end for end in ends if start in reached[end]}
        if circle not in found:
            found.append(circle)
    return found


def test_a_circle_is_seen():
    assert {"a", "b"} in components({"a": {"b"}, "b": {"c", "a"}, "c": set()})


# Files over 400 lines, functions over 60 and signatures over 8 parameters, each with its reason. Kernels that Numba compiles are
# let off: they take arrays one by one, and a loop over tiles whose parts live in registers is not cut by the number of its lines.
KERNELS = {
    "regard.attention.executors.fused.weights",
    *(f"regard.attention.executors.linear.{name}" for name in ("causal", "features", "tiles")),
    *(name_of(path) for path in MODULES if path.stem.endswith("kernels") or "kernels" in path.parts),
}
LARGE = {
    "regard.attention.verb.attend": "the verb: its arguments are the whole of the interface",
    "regard.attention.torch_op._attend": "an operator of torch takes a flat list of arguments",
    "regard.attention.torch_op._attend_backward": "an operator of torch takes a flat list of arguments",
    "regard.attention.torch_op._fake_attend_backward": "an operator of torch takes a flat list of arguments",
    "regard.layers.floater._floater_backward": "an operator of torch takes a flat list of arguments",
}


def sizes(path: Path) -> Iterator[tuple[str, int, int]]:
    """`(name, lines, parameters)` of a file and of every function in it."""
    text, name = path.read_text(), name_of(path)
    yield name, text.count("\n"), 0
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
            parameters = len(names) - (names[:1] in (["self"], ["cls"]))
            yield f"{name}.{node.name}", (node.end_lineno or 0) - node.lineno + 1, parameters


@pytest.mark.parametrize("path", [path for path in MODULES if name_of(path) not in KERNELS], ids=name_of)
def test_files_functions_and_signatures_hold_one_idea(path):
    file = name_of(path)
    for name, lines, parameters in sizes(path):
        assert name in LARGE or lines <= (400 if name == file else 60), f"{name} has {lines} lines"
        assert name in LARGE or parameters <= 8, f"{name} takes {parameters} parameters"


def test_what_is_large_for_a_reason_is_there_and_large():
    found = {name: (lines, parameters) for path in MODULES for name, lines, parameters in sizes(path)}
    assert all(found[name][0] > 60 or found[name][1] > 8 for name in LARGE)


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_public_names_are_listed(path):
    body = ast.parse(path.read_text()).body
    if all(isinstance(node, ast.Expr) for node in body):
        return
    targets = [target for node in body if isinstance(node, ast.Assign) for target in node.targets]
    targets += [node.target for node in body if isinstance(node, ast.AnnAssign)]
    assert "__all__" in {target.id for target in targets if isinstance(target, ast.Name)}


def test_the_verbs_are_where_the_specification_is():
    from regard.attention import attend, attention_weights, plan

    assert (attend, attention_weights, plan) == (regard.attend, regard.attention_weights, regard.plan)
    with pytest.raises(ImportError, match=r"cannot import name 'atend' from 'regard\.attention'"):
        exec("from regard.attention import atend")


def test_light_modules_load_nothing_heavy():
    script = f"""
import importlib, sys
for module in {LIGHT!r}:
    importlib.import_module(module)
    loaded = set({HEAVY!r}) & set(sys.modules)
    if loaded:
        sys.exit(f"importing {{module}} loads {{sorted(loaded)}}")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_command_line_starts_without_numpy():
    script = "import sys, regard.cli; assert 'numpy' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
