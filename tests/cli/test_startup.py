"""What a command loads: nothing heavy before it is needed."""

import json
import subprocess
import sys

import pytest

from regard.cli import main


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    options = ["--training.epochs", "1", "--training.progress", "false", "--model.layers", "1", "--folder", str(folder)]
    assert main(["train", "digits", *options]) == 0
    return folder


def loaded_by(*arguments):
    """The modules that a process of its own has loaded when it has run a command."""
    script = f"""
import json, sys
from regard.cli import main
assert main({list(map(str, arguments))!r}) == 0
print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", [["predict", "0"], ["explain", "0"], ["evaluate"]], ids=lambda words: words[0])
def test_opening_a_run_loads_no_compiler_and_nothing_of_training(digits, command):
    loaded = loaded_by(command[0], digits, *command[1:])
    assert "torch" in loaded
    metrics = {"torchmetrics", "matplotlib"} if command[0] != "evaluate" else set()
    assert loaded & ({"torch._dynamo", "torch._inductor", "lightning", "sklearn", "tensorboard"} | metrics) == set()


def test_recurrent_and_graph_layers_are_imported_without_a_compiler():
    script = """
import sys
import regard.layers.recurrent, regard.layers.gcn, regard.layers.chebyshev, regard.layers.mixers, regard.layers.graph_attention
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
