"""How the arguments of `train` become experiments, before anything is trained."""

import dataclasses

import pytest

from regard.cli import main
from regard.cli import train as command
from regard.models.encoder import Encoder
from regard.models.pieces import Front, Positions
from regard.recipes import RECIPES, recipe
from regard.train import from_yaml, to_yaml

PLACES = "expected one of none, sinusoidal, learned, rotary, floater, degree: did you mean 'rotary'?"
CHARACTERS = "did you mean '--model.front.characters'?"
POOLS = "mean, sum, max, statistics, attention, multi_head, attentive_statistics, first"
SUCH_AS = "expected an option and its values such as model.width=64,128"
AN_ATTENTION = "expected such as 'Attention(pattern=Window(64, 16))'"
TWICE = "the run 'width=8' twice, expected each run once"
ALONE = "one experiment, expected neither --sweep nor --seeds with it"


@pytest.fixture
def trained(monkeypatch, tmp_path):
    """What would be trained: (folder, experiment, resume) for each run."""
    calls = []
    monkeypatch.setattr(
        "regard.train.fit", lambda *given, resume: calls.append((*reversed(given), resume)), raising=False
    )
    monkeypatch.chdir(tmp_path)
    return calls


def refused(capsys, *arguments):
    assert main(["train", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err.removeprefix("regard: ").rstrip("\n")


def printed(capsys, *arguments):
    assert main(["train", *arguments, "--print_config"]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("name", RECIPES)
def test_the_printed_configuration_is_read_back_the_same(name, tmp_path, capsys, trained):
    changes = ["--model.width", "48", "--optimizer.betas", "[0.8, 0.9]", "--data.path", "somewhere"]
    changes += ["--model.maxout", "48"] if name == "translation-recurrent" else []  # whose scores are made by the table
    text = printed(capsys, name, *changes)
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert printed(capsys, "--config", str(file)) == text
    assert main(["train", "--config", str(file)]) == 0
    assert main(["train", name, *changes]) == 0
    (first, one, _), (second, two, _) = trained
    assert one == two == from_yaml(text)
    assert one.model.width == 48
    assert one.optimizer.betas == (0.8, 0.9)
    assert str(first) == str(second) == f"runs/{name}-1"


def test_without_options_it_is_the_recipe(trained):
    assert main(["train", "digits"]) == 0
    assert trained[0][1] == recipe("digits").experiment()


def test_options_change_a_configuration_that_is_read(tmp_path, capsys, trained):
    (tmp_path / "mine.yaml").write_text(printed(capsys, "digits", "--model.layers", "7"))
    assert main(["train", "--config", "mine.yaml", "--model.width", "16"]) == 0
    experiment = trained[0][1]
    assert (experiment.model.layers, experiment.model.width) == (7, 16)


def test_a_section_becomes_another_type_and_keeps_what_both_have(trained):
    assert main(["train", "citation", "--model.type", "Encoder", "--model.feed_forward", "32"]) == 0
    before, after = recipe("citation").experiment().model, trained[0][1].model
    assert after == Encoder(
        width=before.width,
        layers=before.layers,
        heads=before.heads,
        mixer=before.mixer,
        attention=before.attention,
        dropout=before.dropout,
        feed_forward=32,
    )


def test_a_sweep_makes_a_run_for_each_combination_and_seed(trained):
    attentions = "Attention(pattern=Window(4, 4)),Attention(pattern=Causal())"
    arguments = ["--sweep", f"model.attention={attentions}", "--sweep", "model.layers=1,2", "--seeds", "2"]
    assert main(["train", "digits", *arguments, "--training.seed", "5"]) == 0
    assert [str(folder) for folder, _, _ in trained][:3] == [
        "runs/digits-1/attention=Attention-pattern-Window-4-4,layers=1,seed=5",
        "runs/digits-1/attention=Attention-pattern-Window-4-4,layers=1,seed=6",
        "runs/digits-1/attention=Attention-pattern-Window-4-4,layers=2,seed=5",
    ]
    found = [(e.model.attention, e.model.layers, e.training.seed) for _, e, _ in trained]
    assert len(set(found)) == 8
    assert found[0] == ("Attention(pattern=Window(4, 4))", 1, 5)
    assert found[-1] == ("Attention(pattern=Causal())", 2, 6)
    alike = dataclasses.replace(trained[1][1].training, seed=5)
    assert alike == trained[0][1].training


def test_a_group_goes_by_its_type_alone_and_by_its_options(trained):
    arguments = ["--model.positions", "rotary", "--model.positions.longest=9", "--model.front.step", "2"]
    assert main(["train", "tagging", *arguments]) == 0
    assert main(["train", "tagging", "--sweep", "model.positions=none,learned", "--model.positions.longest", "9"]) == 0
    models = [experiment.model for _, experiment, _ in trained]
    assert [model.positions for model in models] == [Positions(name, 9) for name in ("rotary", "none", "learned")]
    before = recipe("tagging").experiment().model.front
    assert models[0].front == dataclasses.replace(before, step=2)
    assert str(trained[1][0]).endswith("positions=none")


def test_a_sweep_may_change_types(trained):
    assert main(["train", "citation", "--sweep", "model.type=Encoder,GraphNetwork"]) == 0
    assert [type(e.model).__name__ for _, e, _ in trained] == ["Encoder", "GraphNetwork"]


def test_the_next_free_folder_is_taken(trained, tmp_path):
    (tmp_path / "runs" / "digits-1").mkdir(parents=True)
    assert main(["train", "digits"]) == 0
    assert str(trained[0][0]) == "runs/digits-2"


def test_several_processes_are_told_where_to_write(trained, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "needs --folder" in refused(capsys, "digits")
    assert main(["train", "digits", "--folder", "mine"]) == 0
    assert str(trained[0][0]) == "mine"


def test_resume_takes_the_experiment_of_the_run(trained, tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").write_text(printed(capsys, "tagging", "--model.layers", "4"))
    assert main(["train", "--resume", "mine"]) == 0
    folder, experiment, resume = trained[0]
    assert (str(folder), experiment.model.layers, resume) == ("mine", 4, True)
    capsys.readouterr()
    for more in (["tagging"], ["--model.layers", "4"], ["--seeds=2"]):
        assert "no other option" in refused(capsys, "--resume", "mine", *more)


def test_a_training_that_begins_with_a_run_has_its_model(trained, tmp_path, capsys):
    tagger = dataclasses.replace(
        recipe("tagging").experiment(), model=Encoder(width=8, heads=2, layers=1, front=Front(vectors="words.bin"))
    )
    (tmp_path / "tagger").mkdir()
    (tmp_path / "tagger" / "config.yaml").write_text(to_yaml(tagger))
    start = ["--training.start", "tagger"]
    assert main(["train", "sentiment", *start, "--model.dropout", "0.5"]) == 0
    experiment = trained[0][1]
    # The vectors that the run began with are in its weights.
    assert experiment.model == dataclasses.replace(tagger.model, dropout=0.5, front=Front())
    assert experiment.data == recipe("sentiment").experiment().data
    assert experiment.training.start == "tagger"
    # A configuration says its model itself.
    capsys.readouterr()
    (tmp_path / "mine.yaml").write_text(printed(capsys, "sentiment", "--model.width", "16"))
    assert main(["train", "--config", "mine.yaml", *start]) == 0
    assert trained[1][1].model.width == 16
    capsys.readouterr()
    (tmp_path / "mine.yaml").write_text(printed(capsys, "sentiment", *start, "--model.layers", "3"))
    assert main(["train", "--config", "mine.yaml"]) == 0
    assert trained[2][1].model == dataclasses.replace(tagger.model, layers=3, front=Front())
    capsys.readouterr()
    assert "training.start is 'nowhere', and nowhere/config.yaml is missing" in refused(
        capsys, "sentiment", "--training.start", "nowhere"
    )


def test_an_interrupted_training_says_how_to_go_on(monkeypatch, capsys, tmp_path):
    def interrupted(*given, resume):
        raise KeyboardInterrupt

    monkeypatch.setattr("regard.train.fit", interrupted, raising=False)
    assert main(["train", "digits", "--folder", str(tmp_path / "mine")]) == 130
    assert f"`regard train --resume {tmp_path / 'mine'}`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], f"train needs a recipe, expected one of {', '.join(RECIPES)}, or --config FILE"),
        (["taging"], "there is no recipe 'taging': did you mean 'tagging'?"),
        (["digits", "tagging"], "train got 'digits' and 'tagging', expected one recipe"),
        (["digits", "--model.widht", "5"], "train digits has no option '--model.widht': did you mean '--model.width'?"),
        (["digits", "--model.wid", "5"], "train digits has no option '--model.wid': did you mean '--model.width'?"),
        (["digits", "--model.width"], "--model.width has no value, expected a whole number"),
        (["digits", "--data.path", "--folder", "x"], "--data.path has no value, expected a text or null"),
        (["digits", "--data.path", ""], "--data.path has no value, expected a text or null"),
        (["--resume", ""], "--resume has no value, expected one after it"),
        (["digits", "--zzz"], "train digits has no option '--zzz'; regard train digits --help lists them"),
        (["digits", "--training.precision", "16"], "--training.precision is '16', expected one of 32, bf16-mixed"),
        (["digits", "--data.type", "Digit"], "data.type is 'Digit', which is not known: did you mean 'Digits'?"),
        (["digits", "--model.width", "0"], "model.width is 0, expected at least 1"),
        (["digits", "--model.dropout", "2"], "model.dropout is 2.0, expected at least 0 and less than 1"),
        (["digits", "--model.longest", "9"], "--model.longest is now --model.positions.longest"),
        (["tagging", "--model.characters", "9"], "--model.characters is now --model.front.characters"),
        (["tagging", "--sweep", "model.neighbors=1,2"], "--model.neighbors is now --model.mixing.neighbors"),
        (["citation", "--model.type", "GraphAttentionNetwork"], "model.type 'GraphAttentionNetwork' is now 'GraphNetwork'"),
        (["tagging", "--model.positions", "rotry"], f"--model.positions.type is 'rotry', {PLACES}"),
        (["tagging", "--model.front.charcters", "9"], f"train tagging has no option '--model.front.charcters': {CHARACTERS}"),
        (["tagging", "--model.front.step", "0"], "model.front.step is 0, expected at least 1"),
        (["citation", "--model.layers", "0"], "model.layers is 0, expected at least 1 and less than 10,001"),
        (["digits", "--task.label_smoothing", "3"], "task.label_smoothing is 3.0, expected at least 0 and less than 1"),
        (["digits", "--training.seed", "-1"], "training.seed is -1, expected at least 0 and less than 4,294,967,296"),
        (["digits", "--model.width", "5.5"], "--model.width is '5.5', expected a whole number"),
        (["digits", "--data.color", "blue"], "--data.color is 'blue', expected true or false"),
        (["digits", "--optimizer.betas", "[1]"], "--optimizer.betas is '[1]', expected a list in brackets of a number, a number"),
        (["digits", "--task.pool", "meen"], f"--task.pool is 'meen', expected one of {POOLS}: did you mean 'mean'?"),
        (["digits", "--training.epochs", "0"], "training.epochs is 0, expected at least 1"),
        (["digits", "--seeds", "0"], "--seeds is 0, expected at least 1"),
        (["digits", "--sweep", "model.width="], f"--sweep is 'model.width=', {SUCH_AS}"),
        (["digits", "--sweep", "model.widht=1,2"], "train digits has no option '--model.widht': did you mean '--model.width'?"),
        (["digits", "--sweep", "model.width=8,x"], "--model.width is 'x', expected a whole number"),
        (["digits", "--sweep", "model.width=8,9"], "model.width is 9, expected a multiple of the 4 heads"),
        (["citation", "--sweep", "model.heads=8,9"], "model.width is 64, expected a multiple of the 9 heads"),
        (["digits", "--sweep", "model.attention=Attention(),Dot()"], f"the model's attention is 'Dot()', {AN_ATTENTION}"),
        (["digits", "--sweep", "model.width=8,8"], f"--sweep and --seeds ask for {TWICE}"),
        (["digits", "--seeds", "2", "--print_config"], f"--print_config shows {ALONE}"),
        (["--resume", "nowhere"], "nowhere/config.yaml is missing or cannot be read, expected a run directory that training made"),
    ],
)  # fmt: skip
def test_bad_arguments_are_refused_before_anything_runs(arguments, sentence, capsys, trained):
    assert refused(capsys, *arguments) == sentence
    assert trained == []


def test_a_section_is_no_option(capsys):
    assert refused(capsys, "digits", "--model", "5").startswith(
        "train digits has no option '--model': did you mean '--"
    )


def test_the_type_of_a_section_is_suggested(capsys):
    assert "did you mean 'PerSetNumber'" in refused(capsys, "digits", "--task.type", "PerSetNumbr")


def test_a_configuration_of_another_recipe_is_refused(capsys, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(printed(capsys, "digits"))
    assert "is for the recipe 'digits'" in refused(capsys, "tagging", "--config", str(file))
    assert "cannot be read" in refused(capsys, "--config", str(tmp_path / "absent.yaml"))


def test_help_of_a_recipe_explains_its_options(capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "digits", "--help"])
    assert end.value.code == 0
    out = capsys.readouterr().out
    assert "--model.feed_forward" in out
    assert "hidden width of the feed-forward networks" in out
    assert "--data CONFIG" not in out
    assert command.__doc__


@pytest.mark.parametrize("name", ["0560", "1e5", "yes", "null", "2024-01-01", "1_000", "12:30", "-7", "~"])
def test_names_that_look_like_numbers_stay_texts(name, capsys):
    for given in (f"[{name}]", f"['{name}']", f'["{name}"]'):
        assert main(["train", "speaker", "--print_config", "--data.unseen", given, f"--data.column={name}"]) == 0
        data = from_yaml(capsys.readouterr().out).data
        assert (data.unseen, data.column) == ((name,), name)


def test_a_path_may_look_like_anything_but_null(capsys):
    for given, path in (("#1", "#1"), ("0560", "0560"), ("[a", "[a"), ("&a", "&a"), ("null", None), ("~", None)):
        assert main(["train", "tagging", "--print_config", f"--data.path={given}"]) == 0
        assert from_yaml(capsys.readouterr().out).data.path == path


@pytest.mark.parametrize("names", ["0560", "[0560", "{a: 1}", "[[a]]", "#1", "*a", "[" * 5000, "!!int 3"])
def test_what_is_no_list_of_names_is_refused(names, capsys):
    assert main(["train", "speaker", "--print_config", "--data.unseen", names]) == 2
    assert "expected a list in brackets of a text or null, such as [a, b]" in capsys.readouterr().err


def test_labels_with_weights_stay_as_they_are_written(tmp_path, capsys):
    given = "{0560: 2, yes: 0.5, 1e5: 1}"
    assert main(["train", "tagging", "--print_config", "--task.class_weights", given]) == 0
    text = capsys.readouterr().out
    assert from_yaml(text).task.class_weights == {"0560": 2.0, "yes": 0.5, "1e5": 1.0}
    (tmp_path / "c.yaml").write_text(text.replace("'0560'", "0560").replace("'yes'", "yes"))
    assert main(["train", "--config", str(tmp_path / "c.yaml"), "--print_config"]) == 0
    assert capsys.readouterr().out == text


def test_numbers_are_decimal_on_the_command_line_too(capsys):
    assert main(["train", "tagging", "--print_config", "--training.seed", "010", "--training.clip", "010"]) == 0
    training = from_yaml(capsys.readouterr().out).training
    assert (training.seed, training.clip) == (10, 10.0)
    for option in ("--training.seed", "--training.clip"):
        assert main(["train", "tagging", "--print_config", option, "1:30"]) == 2
        assert f"{option} is '1:30', expected a" in capsys.readouterr().err
