"""The command itself: help, errors in one sentence, exit statuses, and what it does not load."""

import os
import subprocess
import sys

import pytest

from regard.cli import COMMANDS, main
from regard.recipes import RECIPES

MEMORY = "this takes more memory than there is, expected smaller sets, --training.batch_vectors or model"
NEVER_FOR_HELP = [
    *(
        "torch",
        "lightning",
        "torchmetrics",
        "numba",
        "scipy",
        "sklearn",
        "matplotlib",
        "PIL",
        "soundfile",
        "tokenizers",
    ),
    *("urllib.request", "docstring_parser"),
]
HEAVY = ["numpy", "torch", "lightning", "jsonargparse", "rich"]


def refused(arguments, capsys):
    """The sentence that bad input gets."""
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("regard: ")
    assert err.count("\n") == 1
    return err.removeprefix("regard: ").rstrip("\n")


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_help_names_every_command_and_loads_nothing(arguments):
    script = f"""
import sys
from regard.cli import main
status = main({arguments!r})
loaded = set({HEAVY!r}) & set(sys.modules)
sys.exit(f"loaded {{loaded}}" if loaded else status)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in COMMANDS:
        assert f"\n  {command}" in done.stdout


HELP = [*((command,) for command in COMMANDS), *(("train", name) for name in RECIPES)]


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_every_help_loads_nothing_heavy(arguments):
    """Help is answered from the options alone: no library of tensors, training, readers or pictures is loaded for it."""
    script = f"""
import sys
from regard.cli import main
try:
    main([*{arguments!r}, "--help"])
except SystemExit as end:
    loaded = {{"regard.models.model", *{NEVER_FOR_HELP!r}}} & set(sys.modules)
    sys.exit(f"loaded {{loaded}}" if loaded else end.code)
sys.exit("did not answer")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: regard {arguments[0]}")


@pytest.mark.skipif(not hasattr(os, "wait4"), reason="needs the processor time of a child")
def test_help_of_a_recipe_takes_little_processor_time():
    """At most 2 s, several times what it takes, so that only something that ought not to be loaded is caught."""
    process = subprocess.Popen(
        [sys.executable, "-m", "regard.cli", "train", "tagging", "--help"], stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert usage.ru_utime + usage.ru_stime < 2


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("regard 0.")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["evalute"], "there is no command 'evalute': did you mean 'evaluate'?"),
        (["--versoin"], "there is no option '--versoin': did you mean '--version'?"),
        (["plan", "Causal()", "--lenght", "4"], "plan has no option '--lenght': did you mean '--length'?"),
        (["plan", "Causal()"], "plan is not told length; regard plan --help says what it takes"),
        (["plan", "Causal()", "--length"], "--length has no value, expected a whole number"),
        (["plan", "Causal()", "--length", "long"], "--length is 'long', expected a whole number"),
        (["plan", "Causal()", "--length", "-4"], "--length is -4, expected at least 0"),
        (["plan", "Causal()", "--length", "4", "--heads", "3"], "--width is 512, expected a multiple of the 3 heads"),
        (
            ["plan", "Dot()", "--length", "4"],
            "SPEC is 'Dot()', expected a pattern or an Attention, alone or in an adapter",
        ),
        (
            ["plan", "Causal()", "--length", "4", "--dtype", "float23"],
            "--dtype is 'float23', expected one of float32, bfloat16, float64: did you mean 'float32'?",
        ),
        (
            ["explain", "a", "b", "c"],
            "explain got 'c', one operand too many; regard explain --help says what it takes",
        ),
        (["plan", "Causal()", "--executor", "--length", "4"], "--executor has no value, expected a text"),
        (
            ["plan", "Causal()", "--length", str(10**20)],
            f"--sets, --length and --degree make {10**20:,} vectors in 1 sets and 0 edges, expected at most 2,000,000 of each",
        ),
        (
            ["plan", "Causal()", "--length", "4", "--heads", "9999", "--width", "9999"],
            "--heads is 9,999, expected at most 1,024",
        ),
        (
            ["plan", "Causal()", "--length", "4", "--dropout", "1"],
            "--dropout is 1.0, expected at least 0 and less than 1",
        ),
        (["plan", "AlongAxis(1000000)", "--length", "4"], "AlongAxis has k 1000000, expected at most 1,023"),
        (
            ["plan", "AlongAxis(1000)", "--length", "9999"],
            "Attention(pattern=AlongAxis(k=1000)) reads 1,001 coordinates of each of 9,999 vectors, "
            "expected at most 2,000,000 numbers together",
        ),
        (["plan", "Attention(bias=Shaw(-3))", "--length", "4"], "Shaw has radius -3, expected at least 0"),
        (
            ["plan", "Stride(2)", "--length", "1000000"],
            "a pattern names 500,000,000,000 pairs of a query and a key one by one, expected at most 134,217,728: "
            "shorter sets, or a pattern of whole stretches of keys",
        ),
        (
            ["plan", "RandomBlocks(5000, 1)", "--length", "100000", "--heads", "1"],
            "a pattern names 4,000,000,000 pairs of a query and a key one by one, expected at most 134,217,728: "
            "shorter sets, or a pattern of whole stretches of keys",
        ),
        (["data", "gte"], "data does not know 'gte': did you mean 'get'?"),
        (["data", "list", "digist"], "there is no data set 'digist': did you mean 'digits'?"),
        (["evaluate", "nowhere"], "nowhere holds no config.yaml, expected the folder of a run, or a folder of runs"),
        (
            ["predict", "nowhere", "x", "--show", "2"],
            "--show draws examples of the test part, expected no INPUT with it",
        ),
        (["explain", "nowhere"], "explain got the run 'nowhere' without an INPUT, expected one to run it on"),
        (
            ["explain", "--head", "1"],
            "the example has one set, layer and head, expected RUN and INPUT to choose others",
        ),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refused(arguments, capsys) == sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spec",
    [
        *("RandomBlocks(1000000, 1)", "AlongAxis(1000)", "Axes(axes=1000)", "Near(1e12)", "First(1099511627776)"),
        *("Dilated(1099511627776, 1099511627776, 1099511627776)", "Window(1099511627776, 0)", "Blocks(1099511627776)"),
        *("Attention(bias=Shaw(1000000000))", "Attention(bias=T5(65536, 1000000000))", "~Stride(1099511627776)"),
        *("Attention(Kernel(Favor(1048576)), normalizer=Sum())", "Attention(Synthesized(1099511627776, 'random'))"),
    ],
)
def test_a_plan_with_huge_numbers_ends(spec, capsys):
    assert main(["plan", spec, "--length", "300", "--heads", "2", "--width", "16"]) == 0
    assert "executor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (OSError(28, "No space left on device", "runs/x"), 2, "regard: runs/x: No space left on device\n"),
        (MemoryError(), 2, f"regard: {MEMORY}\n"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), 2, f"regard: {MEMORY}\n"),
        (KeyboardInterrupt(), 130, "regard: interrupted\n"),
    ],
)
def test_failures_of_the_machine_are_told_in_one_sentence(error, status, sentence, capsys, monkeypatch):
    import regard.cli.recipes

    def fail(arguments):
        raise error

    monkeypatch.setattr(regard.cli.recipes, "run", fail)
    assert main(["recipes"]) == status
    assert capsys.readouterr().err == sentence


def test_a_reader_that_goes_away_is_no_error():
    """`regard data list | head -1`, with more output than a pipe holds, so that writing must fail."""
    script = "import sys; from regard.cli import main; sys.exit(max(main(['data', 'list']) for _ in range(100)))"
    done = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    done.stdout.readline()
    done.stdout.close()
    assert done.stderr.read() == ""
    done.stderr.close()
    assert done.wait() == 0


@pytest.mark.parametrize(
    "arguments",
    [
        *(["-m", "regard.cli", "--help"], ["-m", "regard.cli", "--version"], ["-m", "regard.cli", "data", "list"]),
        *(["-m", "regard.cli", "plan", "--help"], ["-u", "-m", "regard.cli", "data", "list"]),
    ],
    ids=" ".join,
)
def test_output_that_cannot_be_written_is_told_in_one_sentence(arguments, monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    command = [sys.executable, *arguments]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.stderr == "regard: standard output cannot be written: No space left on device\n"
    assert done.returncode == 2


def test_an_error_after_output_that_cannot_be_written_keeps_its_status(monkeypatch):
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    script = "import sys; from regard.cli import main; print('begun'); sys.exit(main(['dta']))"
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=full, check=False)
    assert done.returncode == 2


def test_a_closed_standard_output_is_no_error():
    script = (
        "import os, sys; os.close(1); sys.stdout = None; from regard.cli import main; sys.exit(main(['--version']))"
    )
    done = subprocess.run([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_options_and_operands_stand_in_any_order(capsys):
    assert main(["plan", "--length", "3", "Causal()", "--width=16", "--heads", "2"]) == 0
    assert "2 heads of 8" in capsys.readouterr().out


def test_plan_reports_each_call_of_an_adapter(capsys):
    assert main(["plan", "Axes(Attention(pattern=Causal()))", "--length", "9", "--heads", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "Axes(attention=Attention(pattern=Causal()))\n\naxis 0\nAttention(pattern=Causal())\nexecutor"
    )
    assert out.count("pairs     18 ") == 2


def test_plan_draws_the_pattern(capsys):
    assert main(["plan", "Window(1, 0)", "--length", "3"]) == 0
    assert capsys.readouterr().out.endswith("██····\n████··\n··████\n")


def test_plan_shows_every_stretch_of_a_long_pattern_that_allows_anything(capsys):
    assert main(["plan", "Window(1, 0)", "--length", "5000"]) == 0
    picture = capsys.readouterr().out.splitlines()[-32:]
    assert all(line[2 * n] == "░" for n, line in enumerate(picture))
    assert picture[0][4:] == "·" * 60


def test_plan_draws_the_heads_that_differ(capsys):
    assert main(["plan", "(Causal(), Window(0, 0), Causal())", "--length", "2", "--heads", "3", "--width", "12"]) == 0
    out = capsys.readouterr().out
    assert "Causal() of 2 heads, queries down, keys across\n██··\n████\n" in out
    assert "Window(left=0, right=0) of head 1, queries down, keys across\n██··\n··██\n" in out
    assert main(["plan", "RandomBlocks(1, 2)", "--length", "8", "--heads", "6", "--width", "12"]) == 0
    out = capsys.readouterr().out
    assert out.count("queries down") == 4
    assert out.endswith("and 2 patterns of other heads\n")


def test_plan_lays_vectors_onto_a_grid_where_coordinates_are_asked_for(capsys):
    assert main(["plan", "Near(1)", "--length", "9", "--sets", "2", "--heads", "1"]) == 0
    assert "pairs     98 (60.49% of all)" in capsys.readouterr().out


def test_plan_of_edges_needs_some(capsys):
    assert "edges" in refused(["plan", "Edges()", "--length", "4"], capsys)
    assert main(["plan", "Edges()", "--length", "4", "--degree", "2", "--sets", "3", "--heads", "1"]) == 0
    assert "pairs     24 (50.00% of all)" in capsys.readouterr().out


def test_data_list_names_source_licence_and_checksums(capsys):
    assert main(["data", "list"]) == 0
    out = capsys.readouterr().out
    for word in ("ud-english-ewt", "CC BY-SA 4.0", "https://github.com/kimiyoung/planetoid", "sha-256"):
        assert word in out


def test_data_get_prints_the_folder(capsys):
    assert main(["data", "get", "digits"]) == 0
    assert "sklearn" in capsys.readouterr().out


def test_explain_without_a_run_shows_the_example(capsys):
    assert main(["explain", "--query", "0"]) == 0
    out = capsys.readouterr().out
    assert "0.3083" in out
    assert "weighted sum" in out


@pytest.mark.parametrize("command", ["speaker", "vectors"])
@pytest.mark.parametrize("width", [200, 90, 50])
def test_help_keeps_the_lines_of_its_description(command, width, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    with pytest.raises(SystemExit):
        main([command, "--help"])
    lines = capsys.readouterr().out.splitlines()
    uses = [line for line in lines if line.startswith(f"  regard {command} ")]
    assert len(uses) == {"speaker": 9, "vectors": 8}[command]
    assert all(line.count("regard ") == 1 for line in uses)
    first, last = lines.index(uses[0]), lines.index(uses[-1])
    assert max(map(len, lines[first : last + 4])) <= width
    assert lines[first - 1] == ""
    assert all(line.startswith("  ") for line in lines[first : last + 1])
    assert "" in lines[last : last + 4]
