"""The command that waits for a GPU: its steps run on a CPU at tiny sizes, and a step that hangs or fails is said to."""

import json
import re
from pathlib import Path

import pytest
import torch

from benchmarks import gpu
from benchmarks.gpu import STEPS, Step
from regard.errors import InputError

QUEUE = Path(gpu.__file__).parent / "gpu_queue.md"


def of(code: str) -> Step:
    return Step("some", "nothing", lambda device, quick, folder: ["-c", code], 60)


def test_the_queue_names_every_step_and_its_limit():
    listed = re.findall(r"^\| `(\w+)` \| (\d+) \|", QUEUE.read_text(), flags=re.MULTILINE)
    assert listed == [(step.name, str(step.seconds)) for step in STEPS]


def test_executors_are_timed_with_their_work():
    rows = gpu.time_executors("cpu", True)["rows"]
    assert {row["case"] for row in rows} == set(gpu.TIMED)
    assert all(row["ms"] > 0 and row["work"]["calls"] for row in rows)
    json.dumps(rows)


def test_a_compiled_encoder_is_the_same_and_compiled_once():
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    found = gpu.compile_an_encoder("cpu", True)
    assert found["largest difference"] < 1e-4
    assert len(set(found["graphs after each size"])) == 1


def test_what_becomes_of_a_step():
    assert gpu.run(of("print('fine')"), "cpu", True, 60)["passed"] is True
    failed = gpu.run(of("import sys; sys.exit('broken')"), "cpu", True, 60)
    assert (failed["passed"], failed["printed"]) == (False, ["broken"])
    late = gpu.run(of("import time; print('first', flush=True); time.sleep(60)"), "cpu", True, 2)
    assert late["passed"] is False
    assert late["printed"] == ["first", "", "stopped after 2 seconds"]
    assert gpu.run(of(""), "cpu", True, 0)["why"] == "the time was over"


def test_what_is_asked_for_and_not_there(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu.main([]) == 2
    assert "there is no CUDA device" in capsys.readouterr().err
    with pytest.raises(InputError, match="there is no step 'fast'"):
        gpu.main(["--device", "cpu", "--only", "fast"])


@pytest.mark.rare
def test_the_whole_command_on_a_cpu(capsys):
    assert gpu.main(["--device", "cpu", "--quick", "--only", "compiled,encoder"]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"compiled +passed", printed)
    assert re.search(r"encoder +left out", printed)
