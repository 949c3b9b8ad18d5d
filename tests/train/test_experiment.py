"""An experiment and its text form say the same, and text can name nothing but the project's own types."""

import subprocess
import sys
from dataclasses import replace
from importlib import import_module

import pytest
import tiny
import torch

from regard.errors import InputError
from regard.train import Experiment, Optimizer, Training, from_yaml, to_yaml
from regard.train.kinds import KINDS, kind
from regard.train.learner import parameter_groups, rate

TEXT = to_yaml(tiny.experiment())
TEXT_OF_SOUNDS = (
    "recipe: x\ndata:\n  type: Sounds\n  unseen: NAMES\nmodel: {type: Encoder}\ntask: {type: PerSetLabel}\n"
)


@pytest.mark.parametrize("target", tiny.TASKS)
def test_yaml_and_back(target):
    before = tiny.experiment(target, precision="bf16-mixed", patience=3)
    before = replace(before, optimizer=Optimizer(learning_rate=3e-5, betas=(0.8, 0.9), schedule="constant"))
    assert from_yaml(to_yaml(before)) == before


OURS = [
    (section, name)
    for section, known in KINDS.items()
    for name, entry in known.items()
    if entry.module.startswith("regard.")
]


@pytest.mark.parametrize(("section", "name"), OURS)
def test_every_name_of_the_registry_has_options_with_defaults_and_a_text_form(section, name):
    """`LogMelFolder` alone has no data of its own, and names a folder."""
    options = kind(section, name)(*(["folder"] if name == "LogMelFolder" else []))
    before = replace(tiny.experiment(), **{section: options})
    assert from_yaml(to_yaml(before)) == before
    module, _, maker = KINDS[section][name].makes.partition(":")
    assert bool(module) == (section in ("model", "task"))
    if module:
        assert callable(getattr(import_module(module), maker))


def test_options_of_the_registry_are_read_without_torch():
    script = "import sys; from regard.train.kinds import kind\n"
    script += f"for name in {OURS!r}: kind(*name)\nassert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_left_out_takes_its_default():
    short = from_yaml("recipe: x\ndata: {type: Tiny}\nmodel: {type: Encoder}\ntask: {type: PerSetLabel, pool: max}\n")
    assert short.training == Training()
    assert short.task.pool == "max"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("recipe: tiny", "recipe: [", "c.yaml is no YAML"),
        ("recipe: tiny", "recipe: 3", "c.yaml has recipe 3, expected a name"),
        ("training:", "trainings:", "unknown section 'trainings': did you mean 'training'"),
        ("layers: 1", "layer: 1", "no option model.layer: did you mean 'layers'"),
        ("layers: 1", "layers: many", "model.layers"),
        ("type: Encoder", "type: Encode", "has model.type 'Encode', which is not known: did you mean 'Encoder'"),
        ("type: Encoder", "type: torch.nn.Linear", "has model.type 'torch.nn.Linear', which is not known"),
        ("  type: Encoder\n", "", r"no model.type, expected one of .*Encoder"),
        ("epochs: 3", "epochs: 0", "training.epochs is 0, expected at least 1"),
        ("learning_rate: 0.01", "learning_rate: -1", "optimizer.learning_rate is -1.0, expected at least 0"),
        ("pool: mean", "pool: men", "task.pool"),
    ],
)
def test_bad_text_is_refused_in_one_sentence(old, new, sentence):
    assert old in TEXT
    with pytest.raises(InputError, match=sentence) as refusal:
        from_yaml(TEXT.replace(old, new), "c.yaml")
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["", "3", "[1, 2]", "model: 3", "!!python/object/apply:os.system ['touch never']"])
def test_other_text_is_refused(text):
    with pytest.raises(InputError):
        from_yaml(text)


def test_values_may_be_written_as_people_write_them():
    text = TEXT.replace("precision: '32'", "precision: 32").replace("learning_rate: 0.01", "learning_rate: 1e-2")
    assert from_yaml(text.replace("clip: 1.0", "clip: 1")) == tiny.experiment()


def test_reading_an_experiment_loads_no_torch():
    script = "import sys; from regard.train import from_yaml, Experiment; assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_rate_rises_stays_and_falls():
    options = Optimizer(warm_up=4)
    rates = [rate(options, step, 20) for step in range(21)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1
    assert rates[12] == pytest.approx(0.5)
    assert rates[20] == pytest.approx(0)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rate(Optimizer(warm_up=0, schedule="constant"), 10_000, 20) == 1
    assert rate(Optimizer(warm_up=50), 49, 20) == 1, "a warm-up longer than the training"


def test_only_matrices_decay():
    module = torch.nn.Sequential(torch.nn.Embedding(5, 4), torch.nn.Linear(4, 4), torch.nn.LayerNorm(4))
    decayed, spared = parameter_groups(module, Optimizer(weight_decay=0.1))
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0)
    assert [id(p) for p in decayed["params"]] == [id(module[1].weight)]
    assert len(spared["params"]) == 4
    with_tables, _ = parameter_groups(module, Optimizer(decay_embeddings=True))
    assert len(with_tables["params"]) == 2


def test_sections_have_defaults():
    assert Experiment("x", None, None, None).optimizer == Optimizer()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("layers: 1", "layers: null", "c.yaml has model.layers: nothing, expected a whole number"),
        ("layers: 1", "layers: 1.5", "c.yaml has model.layers: 1.5, expected a whole number"),
        ("layers: 1", "layers: 1:30", "c.yaml has model.layers: 90, expected a whole number"),
        ("clip: 1.0", "clip: 1:30.5", "c.yaml has training.clip: 90.5, expected a number"),
        ("layers: 1", "layers: true", "c.yaml has model.layers: True, expected a whole number"),
        ("layers: 1", "layers: [1]", "c.yaml has model.layers: [1], expected a whole number"),
        ("layers: 1", "layers: 0x" + "f" * 9999, "c.yaml has model.layers: a number of many digits, expected a whole number"),
        ("dropout: 0.2", "dropout: null", "c.yaml has model.dropout: nothing, expected a number"),
        ("dropout: 0.2", "dropout: .nan", "model.dropout is nan, expected at least 0 and less than 1"),
        ("dropout: 0.2", "dropout: 2001-01-01", "expected a number"),
        ("clip: 1.0", "clip: 0x" + "f" * 9999, "c.yaml has training.clip: a number of many digits, expected a number"),
        ("norm: pre", "norm: {}", "c.yaml has model.norm: {}, expected one of pre, post"),
        ("progress: false", "progress: 0", "c.yaml has training.progress: 0, expected true or false"),
        ("progress: false", "progress: null", "c.yaml has training.progress: nothing, expected true or false"),
        ("path: null", "path: [a]", "c.yaml has data.path: ['a'], expected a text or null"),
        ("type: none", "type: null", "c.yaml has model.positions.type: nothing, expected one of none, sinusoidal"),
        ("type: Encoder", "type: [Encoder]", "c.yaml has model.type: ['Encoder'], expected a name"),
        ("layers: 1", "7: 1", "c.yaml has no option model.7: known are"),
        ("layers: 1", "[a]: 1", "c.yaml is no YAML"),
        ("layers: 1", "? 2001-99-99\n", "c.yaml is no YAML"),
        ("layers: 1", "layers: " + "[" * 20000, "c.yaml is nested too deeply, expected options inside sections"),
        ("layers: 1", "layers: " + "{a: " * 5000, "c.yaml is nested too deeply, expected options inside sections"),
        ("layers: 1", "layers: &a [*a]", "c.yaml has model.layers: [[[[[[[...]]]]]]], expected a whole number"),
        ("layers: 1", f"layers: '{'x' * 3_000_000}'", "characters, expected at most 1,048,576"),
        ("layers: 1", f"layers: '{'x' * 30_000}'", "...', expected a whole number"),
    ],
)  # fmt: skip
def test_a_value_of_another_type_is_refused_in_one_short_sentence(old, new, sentence):
    assert old in TEXT
    with pytest.raises(InputError) as refusal:
        from_yaml(TEXT.replace(old, new, 1), "c.yaml")
    assert sentence in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize(
    "text", ["0560", "1e5", "1_000", "0x1F", "12:30", "yes", "No", "2024-01-01", ".nan", "-.inf", "1.50"]
)
def test_a_text_is_taken_as_it_is_written(text):
    assert from_yaml(TEXT.replace("path: null", f"path: {text}", 1)).data.path == text
    assert from_yaml(TEXT.replace("start: ''", f"start: {text}")).training.start == text
    for names in (f"[{text}, null, a]", f"\n  - {text}\n  - null\n  - a"):
        speech = from_yaml(TEXT_OF_SOUNDS.replace("NAMES", names))
        assert speech.data.unseen == (text, "null", "a")
        assert from_yaml(to_yaml(speech)) == speech
    assert from_yaml(TEXT_OF_SOUNDS.replace("NAMES", "null")).data.unseen is None
    assert from_yaml(TEXT.replace("path: null", "path: ~", 1)).data.path is None


def test_a_bomb_of_aliases_is_refused():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [
        f"{n}: &{n} [{', '.join(['*' + before] * 9)}]" for before, n in zip("abcdefghi", "bcdefghij", strict=True)
    ]
    with pytest.raises(InputError, match=r"has no option data\.a"):
        from_yaml("recipe: x\ndata:\n  type: Tiny\n  " + "\n  ".join(lines))


@pytest.mark.parametrize(("text", "number"), [("010", 10), ("0x10", 16), ("1_000", 1000), ("+7", 7), ("0", 0)])
def test_whole_numbers_are_decimal_whatever_they_begin_with(text, number):
    assert from_yaml(TEXT.replace("seed: 0", f"seed: {text}")).training.seed == number
    assert from_yaml(TEXT.replace("clip: 1.0", f"clip: {text}")).training.clip == number


def test_numbers_that_yaml_takes_for_texts_are_numbers():
    text = TEXT.replace("learning_rate: 0.01", "learning_rate: 1e-2").replace("layers: 1", "layers: '1'")
    assert from_yaml(text) == tiny.experiment()
    assert type(from_yaml(TEXT.replace("clip: 1.0", "clip: 1")).training.clip) is float
