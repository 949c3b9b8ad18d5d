"""Recipes are complete, plain, and survive their text form."""

import dataclasses

import pytest

from regard import InputError
from regard.recipes import RECIPES, recipe
from regard.train import from_yaml, to_yaml
from regard.train.kinds import KINDS


@pytest.fixture(params=RECIPES)
def named(request):
    return RECIPES[request.param]


def test_a_recipe_is_an_experiment_of_plain_values(named):
    experiment = named.experiment()
    assert experiment.recipe == named.name
    assert experiment == named.experiment()
    for section in KINDS:
        assert dataclasses.is_dataclass(getattr(experiment, section))
    assert experiment.data.path is None


def test_its_text_form_means_the_same(named):
    experiment = named.experiment()
    assert from_yaml(to_yaml(experiment)) == experiment


def test_it_says_what_it_learns_and_how_to_use_own_data(named):
    assert named.purpose
    assert "Own data" in named.experiment.__doc__
    assert "--data.path" in named.experiment.__doc__
    assert "own:" in named.data


def test_its_attention_is_one(named):
    from regard.models.pieces import attention_of

    attention_of(getattr(named.experiment().model, "attention", "Attention()"))


def test_the_nearest_name_is_suggested():
    with pytest.raises(InputError, match="did you mean 'citation'"):
        recipe("citations")
