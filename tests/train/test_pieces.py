"""What is frozen stays as it was to the last bit, and each block learns at the rate that its depth says."""

from dataclasses import replace

import pytest
import tiny
import torch
from processes import in_processes

from regard.data.encoding import WORD, Encoding, Grid, Labels
from regard.errors import InputError
from regard.models.conformer import Conformer
from regard.models.encoder import Encoder
from regard.models.graph import GraphNetwork
from regard.models.pieces import Front, Positions
from regard.train import Optimizer, Run, fit
from regard.train.card import read_facts
from regard.train.checkpoints import newest
from regard.train.kinds import build
from regard.train.learner import parameter_groups
from regard.train.pieces import depths, freeze, named_parameters

FRAMES = Encoding(Labels(("a", "b")), width=4)
WORDS = Encoding(Labels(("a", "b")), {WORD: ("<unknown>", "x")}, characters=("<unknown>", "x"))
PICTURE = Encoding(Labels(("a", "b")), width=4, grid=Grid(2, (2, 2)))
MODELS = {
    "words": (Encoder(8, 3, 2, 8, front=Front(characters=4, ngrams=2, buckets=4, class_vector=True)), WORDS),
    "a picture": (Encoder(8, 3, 2, 8, positions=Positions("learned"), front=Front(step=2)), PICTURE),
    "floater": (Encoder(8, 3, 2, 8, positions=Positions("floater")), FRAMES),
    "post-norm": (Encoder(8, 3, 2, 8, norm="post", mixer="lstm+attention"), FRAMES),
    "no blocks": (Encoder(8, 0, 2, 8), FRAMES),
    "Conformer": (Conformer(8, 3, 2, 8, join="all"), FRAMES),
    "graph": (GraphNetwork(8, 3, 2), FRAMES),
}


def made(name):
    options, encoding = MODELS[name]
    model = build(options, encoding)
    return model, torch.nn.ModuleDict({"head": torch.nn.Linear(model.width, 2)})


@pytest.mark.parametrize("name", MODELS)
def test_blocks_lie_between_what_comes_before_and_what_follows(name):
    model, _ = made(name)
    depth, blocks = depths(model)
    assert blocks == MODELS[name][0].layers
    assert set(depth) == {name for name, _ in model.named_parameters()}
    for parameter, distance in depth.items():
        numbers = [int(word) for word in parameter.split(".") if word.isdecimal()]
        if parameter.startswith(("stack.blocks.", "stack.layers.")):
            assert distance == blocks - numbers[0]
        else:
            assert distance == (0 if parameter.startswith("stack.norm") else blocks + 1)


def rates(options, name="words"):
    model, task = made(name)
    groups = parameter_groups(torch.nn.ModuleList([model, task]), options, model)
    by_id = {id(parameter): group for group in groups for parameter in group["params"]}
    return {
        key: by_id[id(parameter)] for key, parameter in named_parameters(model, task).items() if id(parameter) in by_id
    }


def test_rates_fall_by_one_factor_from_block_to_block():
    groups = rates(Optimizer(learning_rate=1.0, layer_decay=0.5, weight_decay=0.1))
    for name, rate in {
        "task.head.weight": 1.0,
        "stack.norm.weight": 1.0,
        "stack.blocks.2.feed_forward.out.weight": 0.5,
        "stack.blocks.1.norm_mixer.bias": 0.25,
        "stack.blocks.0.mixer.project.weight": 0.125,
        "front.embed.tables.0.weight": 0.0625,
        "front.characters.join.weight": 0.0625,
    }.items():
        assert groups[name]["lr"] == rate, name
    assert groups["stack.blocks.0.mixer.project.weight"]["weight_decay"] == 0.1
    assert groups["stack.blocks.1.norm_mixer.bias"]["weight_decay"] == 0
    assert groups["front.embed.tables.0.weight"]["weight_decay"] == 0
    assert {group["lr"] for group in rates(Optimizer(learning_rate=0.3)).values()} == {0.3}


@pytest.mark.parametrize(
    ("pieces", "frozen"),
    [
        ("front.embed", ("front.embed.",)),
        ("stack.blocks.1 + task.head", ("stack.blocks.1.", "task.head.")),
        ("stack.norm.bias", ("stack.norm.bias",)),
        ("0", ("front.", "class_vector.")),
        ("2", ("front.", "class_vector.", "stack.blocks.0.", "stack.blocks.1.")),
        ("", ()),
    ],
)
def test_names_and_numbers_of_blocks_freeze_what_they_name(pieces, frozen):
    model, task = made("words")
    count = freeze(model, task, pieces)
    parameters = named_parameters(model, task)
    names = {name for name, parameter in parameters.items() if not parameter.requires_grad}
    assert names == {name for name in parameters if frozen and name.startswith(frozen)}
    assert count == sum(parameters[name].numel() for name in names)


@pytest.mark.parametrize(
    ("pieces", "sentence"),
    [
        ("front.embedding", "names 'front.embedding', which is no piece of the model: did you mean 'front.embed'"),
        ("stack.block.0", r"names 'stack\.block\.0', .*: did you mean 'stack\.blocks\.0'"),
        ("stack.blocks.3", r"names 'stack\.blocks\.3', .*: did you mean 'stack\.blocks\.[012]'"),
        ("stack.blocks.0.mix", r"names 'stack\.blocks\.0\.mix', .*: did you mean 'stack\.blocks\.0\.mixer'"),
        ("embd", r"names 'embd', .*: did you mean 'front\.embed'"),
        ("xyz", r"known are class_vector, front, stack, task\.head$"),
        ("4", "freeze is 4, expected at most 3, the number of the model's blocks"),
        ("front+class_vector+stack+task", "leaves nothing to train"),
    ],
)
def test_what_cannot_be_frozen_is_refused_in_one_sentence(pieces, sentence):
    with pytest.raises(InputError, match=sentence):
        freeze(*made("words"), pieces)


@pytest.mark.parametrize("decay", [0.0, -0.5, 1.5])
def test_a_decay_that_is_none_is_refused(decay):
    with pytest.raises(InputError, match=r"optimizer\.layer_decay is .*, expected more than 0 and at most 1"):
        Optimizer(layer_decay=decay)


def experiment(**optimizer):
    plain = tiny.experiment(epochs=1, precision="bf16-mixed", keep="last")
    return replace(plain, optimizer=replace(plain.optimizer, **optimizer))


def ended_as(folder):
    run = Run.open(folder)
    return named_parameters(run.model, run.task)


def begun_as(folder):
    """The weights that a training begins with."""
    return ended_as(fit(experiment(learning_rate=0.0), folder / "begun"))


def test_frozen_pieces_are_left_as_they_were(tmp_path):
    frozen = experiment(freeze="front.embed+stack.norm", layer_decay=0.9)
    folder = fit(frozen, tmp_path / "run")
    before, after = begun_as(tmp_path), ended_as(folder)
    same = {name for name in before if torch.equal(before[name], after[name])}
    assert same == {
        "front.embed.linear.weight",
        "front.embed.linear.bias",
        "stack.norm.weight",
        "stack.norm.bias",
    } & set(before)
    _, state = newest(folder / "checkpoints")
    assert len(state["optimizer_states"][0]["state"]) == len(before) - len(same), "frozen weights have no moments"
    assert read_facts(folder)["frozen"] == sum(before[name].numel() for name in same)


def several(folder):
    fit(experiment(freeze="0", layer_decay=0.5), folder)


def test_several_processes_freeze_alike(tmp_path):
    assert in_processes(2, several, tmp_path / "run") == [0, 0]
    before, after = begun_as(tmp_path), ended_as(tmp_path / "run")
    assert {name for name in before if torch.equal(before[name], after[name])} == {
        name for name in before if name.startswith("front.embed.")
    }


def test_pieces_decay_as_they_are_named_and_vectors_do_not():
    options = Optimizer(
        weight_decay=0.1, weight_decays={"stack.blocks": 0.2, "task.head": 0.0, "stack.blocks.1.mixer": 0.3}
    )
    model, task = made("words")
    groups = parameter_groups(torch.nn.ModuleList([model, task]), options, model, task)
    by_id = {id(parameter): group["weight_decay"] for group in groups for parameter in group["params"]}
    decays = {name: by_id[id(parameter)] for name, parameter in named_parameters(model, task).items()}
    for name, decay in {
        "task.head.weight": 0.0,
        "front.characters.join.weight": 0.1,
        "stack.blocks.0.mixer.project.weight": 0.2,
        "stack.blocks.1.mixer.project.weight": 0.3,
        "stack.blocks.1.feed_forward.out.weight": 0.2,
        "stack.blocks.1.mixer.project.bias": 0.0,
    }.items():
        assert decays[name] == decay, name


def test_decays_of_what_is_not_there_are_refused(tmp_path):
    sentence = (
        r"^optimizer\.weight_decays names 'stack\.block', which is no piece of the model: did you mean 'stack\.blocks'"
    )
    with pytest.raises(InputError, match=sentence):
        fit(experiment(weight_decays={"stack.block": 0.1}), tmp_path / "run")
    with pytest.raises(InputError, match=r"^optimizer\.weight_decays has 'x': -1.0, expected a finite number"):
        Optimizer(weight_decays={"x": -1.0})
