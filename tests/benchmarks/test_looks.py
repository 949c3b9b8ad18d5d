"""The page of looks at published data is what the command prints."""

import os

import pytest

from benchmarks import looks
from regard.data.registry import DATASETS, locate
from regard.errors import InputError


def here(name: str) -> bool:
    try:
        return locate(name).is_dir()
    except InputError:
        return False


@pytest.mark.rare
@pytest.mark.skipif("REGARD_DATA" not in os.environ, reason="REGARD_DATA names no folder of published data")
@pytest.mark.parametrize("name", DATASETS)
def test_the_page_of_looks_is_current(name, capsys):
    section = f"$ regard data look {name}\n"
    if not here(name):
        pytest.skip(f"{name} is not here")
    if section not in looks.PAGE.read_text():
        with pytest.raises(InputError, match="expected data of a recipe"):
            looks.look(name)
        return
    assert section + looks.look(name) + "\n```" in looks.PAGE.read_text(), "run `make tables` to write docs/looks.md"
