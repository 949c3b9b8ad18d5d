"""The reference is written from the docstrings as they are, and says what a reader needs to call something."""

import ast

import pytest

from benchmarks import reference


@pytest.mark.parametrize("name", reference.PAGES)
def test_the_reference_is_current(name):
    found = (reference.FOLDER / f"{name}.md").read_text()
    assert found == reference.page(name), f"run `make tables` to write docs/reference/{name}.md"


def test_every_module_of_a_page_is_there_once():
    modules = [module for page in reference.PAGES.values() for module in page]
    assert len(modules) == len(set(modules)) > 80


def test_a_signature_sections_and_examples():
    source = '''
class Made(Base):
    """A thing.

    Args:
        width: of it, and a line
            that goes on.

    >>> Made(1)
    Made(1)
    """

    def __init__(self, width: int, name: str = "a") -> None: ...
'''
    (node,) = ast.parse(source).body
    assert list(reference._of(node, "regard.made", 3)) == [
        "### `regard.made.Made`",
        "```text\nclass Made(width: int, name: str='a')\n```",
        "A thing.\n\n**Args**\n\n- width: of it, and a line\n  that goes on.\n\n```pycon\n>>> Made(1)\nMade(1)\n```",
    ]
