"""`regard generate`: a text goes on by a seed, and what cannot go on is refused before anything is printed."""

import re

import pytest

from regard.cli import main
from regard.errors import InputError
from regard.train import Run
from regard.train.generating import generate

TEXT = "the cat sat on the mat, the dog sat on the cat.\n" * 40
SMALL = ["--data.window", "32", "--model.width", "16", "--model.heads", "2", "--model.layers", "1"]
SMALL += [
    "--model.feed_forward",
    "16",
    "--training.epochs",
    "8",
    "--optimizer.warm_up",
    "10",
    "--training.batch_vectors",
    "128",
]
LINEAR = "Attention(score=Kernel(), pattern=Causal(), normalizer=Sum())"


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate")
    (folder / "cats.txt").write_text(TEXT)
    for name, options in (("softmax", []), ("linear", ["--model.attention", LINEAR])):
        data = ["--data.path", str(folder / "cats.txt"), "--training.progress", "false"]
        assert main(["train", "characters", "--folder", str(folder / name), *data, *SMALL, *options]) == 0
    learned = ["--model.positions.type", "learned", "--model.positions.longest", "32", "--training.epochs", "1"]
    assert main(["train", "characters", "--folder", str(folder / "learned"), *data, *SMALL, *learned]) == 0
    return folder


def printed(capsys, *arguments):
    status = main(["generate", *map(str, arguments)])
    return status, *capsys.readouterr()


@pytest.mark.parametrize("name", ["softmax", "linear"])
def test_a_text_goes_on_by_its_seed(runs, name, capsys):
    asked = [runs / name, "--prompt", "the c", "--length", "60"]
    status, text, error = printed(capsys, *asked)
    assert (status, error) == (0, "")
    assert text.startswith("the c")
    assert len(text) == len("the c") + 60 + 1
    assert set(text) <= set(TEXT)
    assert printed(capsys, *asked)[1] == text
    assert printed(capsys, *asked, "--seed", "1")[1] != text


def test_without_chance_it_writes_what_it_learned(runs, capsys):
    """A text so regular is known after a few epochs; the same comes from Python, for several prompts as for one."""
    for options in (["--temperature", "0"], ["--top-k", "1"], ["--top-p", "0"]):
        assert printed(capsys, runs / "softmax", "--prompt", "the dog s", "--length", "8", *options)[1].startswith(
            "the dog sat"
        )
    run = Run.open(runs / "softmax")
    prompts = ["the c", "dog", "on the mat, "]
    together = generate(run, prompts, 20, temperature=0.0)
    assert together == [generate(run, [prompt], 20, temperature=0.0)[0] for prompt in prompts]


def test_each_text_has_its_own_seed(runs):
    run = Run.open(runs / "softmax")
    together = generate(run, ["the c", "the c"], 40, temperature=1.5, seed=5)
    assert together == [generate(run, ["the c"], 40, temperature=1.5, seed=seed)[0] for seed in (5, 6)]
    assert together[0] != together[1]


def test_characters_are_told_one_by_one(runs):
    steps = []
    texts = generate(
        Run.open(runs / "linear"), ["the", "dog s"], 12, told=lambda n, character: steps.append((n, character))
    )
    assert ["".join(character for n, character in steps if n == b) for b in range(2)] == texts
    assert [n for n, _ in steps[:4]] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "the", "--length", "0"], "generate has --length 0, expected at least 1"),
        (["--prompt", "the", "--length", "-3"], "generate has --length -3, expected at least 1"),
        (["--prompt", "the", "--length", "many"], "--length is 'many', expected"),
        (["--prompt", ""], "--prompt"),
        ([], "generate is not told --prompt"),
        (["--prompt", "the", "--out", "a.png"], "--out was given and"),
        (["--prompt", "the", "a.png"], "generate got 'a.png', expected no operand but RUN"),
        (
            ["--prompt", "the Käse §"],
            "the prompt has 'K', 'ä', '§', which the training part lacks, expected some of its",
        ),
        (["--prompt", "the", "--temperature", "-1"], "generate has --temperature -1.0, expected at least 0"),
        (["--prompt", "the", "--temperature", "nan"], "--temperature is 'nan', expected a number"),
        (["--prompt", "the", "--top-k", "0"], "generate has --top-k 0, expected at least 1"),
        (["--prompt", "the", "--top-p", "2"], "generate has --top-p 2.0, expected at most 1"),
        (["--prompt", "the", "--seed", "-1"], "generate has --seed -1, expected at least 0"),
    ],
)
def test_bad_options_are_refused(runs, options, message, capsys):
    status, text, error = printed(capsys, runs / "softmax", *options)
    assert (status, text) == (2, "")
    assert message in error
    assert error.count("\n") == 1


def test_learned_positions_end(runs, capsys):
    """32 places: of 5 + 28 characters the last is not fed."""
    assert printed(capsys, runs / "learned", "--prompt", "the c", "--length", "28")[0] == 0
    status, text, error = printed(capsys, runs / "learned", "--prompt", "the c", "--length", "29")
    assert (status, text) == (2, "")
    assert "the prompt has 5 characters and 29 are to come, expected at most 33 together" in error


def test_a_run_of_another_task_is_refused(tmp_path, capsys):
    lines = "".join(
        f"{label} {'good' if label == 'yes' else 'bad'} film {n}\n" for n in range(20) for label in ("yes", "no")
    )
    (tmp_path / "a.txt").write_text(lines)
    small = ["--model.width", "8", "--model.heads", "1", "--training.epochs", "1", "--training.progress", "false"]
    assert (
        main(["train", "sentiment", "--folder", str(tmp_path / "run"), "--data.path", str(tmp_path / "a.txt"), *small])
        == 0
    )
    capsys.readouterr()
    status, text, error = printed(capsys, tmp_path / "run", "--prompt", "good")
    assert (status, text) == (2, "")
    assert "is a run of the task PerSetLabel, expected one of NextToken" in error


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    status, text, error = printed(capsys, tmp_path / "nothing", "--prompt", "good")
    assert (status, text) == (2, "")
    assert "nothing" in error


def test_one_prompt_alone_is_no_list(runs):
    with pytest.raises(InputError, match=re.escape("prompts are 'the', expected a list of them")):
        generate(Run.open(runs / "softmax"), "the", 5)
    with pytest.raises(InputError, match="the prompt is empty"):
        generate(Run.open(runs / "softmax"), ["the", ""], 5)


def test_evaluation_predictions_and_comparison_speak_of_nats(runs, capsys):
    for name in ("softmax", "linear"):
        evaluation = Run.open(runs / name).evaluate()
        assert evaluation["monitor"] == ["nats", "min"]
        assert evaluation["metrics"]["nats"] == pytest.approx(evaluation["metrics"]["loss"], abs=1e-5)
        assert evaluation["metrics"]["nats"] < evaluation["baseline"]["nats"]
    capsys.readouterr()
    assert main(["compare", str(runs / "softmax"), str(runs / "linear")]) == 0
    assert "nats" in capsys.readouterr().out
    assert main(["predict", str(runs / "softmax"), "--text", "the c"]) == 0
    assert '"next"' in capsys.readouterr().out
