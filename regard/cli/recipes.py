"""`regard recipes`: what can be trained."""

from collections.abc import Sequence

from regard.cli.options import parse, parser
from regard.cli.table import print_table
from regard.recipes import RECIPES

__all__ = ["run"]


def run(arguments: Sequence[str]) -> int:
    parse(parser("recipes", "What can be trained, on what data, with which published number to compare."), arguments)
    rows = [(each.name, each.purpose, each.data, each.published) for each in RECIPES.values()]
    print_table(["recipe", "what it learns", "data", "published numbers"], rows)
    return 0
