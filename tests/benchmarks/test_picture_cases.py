"""The trainings of pictures that are measured can be made, and end by their minutes."""

from types import SimpleNamespace
from typing import Any

from benchmarks.picture_cases import PICTURE_CASES, both_precisions
from benchmarks.train import CASES, with_options
from regard.recipes import RECIPES


def test_every_variant_is_an_experiment() -> None:
    for name, case in PICTURE_CASES.items():
        assert CASES[name] is case
        for variant, options in case.variants.items():
            recipe = options.get("recipe", case.recipe or name)
            changes = {option: value for option, value in options.items() if option != "recipe"}
            training = with_options(RECIPES[recipe].experiment(), changes).training
            assert f"{training.minutes:.0f} minutes" in variant, (name, variant)
            assert training.epochs > 1


def test_of_boxes_the_precision_of_each_label_is_told(tmp_path: Any) -> None:
    (tmp_path / "evaluation.json").write_text(
        '{"metrics": {"map": 0.25, "map_50": 0.5}, "labels": {"red": {"average_precision_50": 0.5}}}'
    )
    run: Any = SimpleNamespace(folder=tmp_path)
    assert both_precisions(run) == {"mAP@[.5:.95]": 0.25, "AP@.5, red": 0.5}
