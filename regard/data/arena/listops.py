"""ListOps: nested operations on digits, drawn by the rules of Long Range Arena, written as published, read back and computed."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import NamedTuple

from regard.errors import InputError

__all__ = ["OPERATIONS", "SYMBOLS", "Tree", "draw_trees", "evaluate", "symbols_of", "with_parentheses"]

OPERATIONS: dict[str, Callable[[Sequence[int]], int]] = {
    "[MIN": min,
    "[MAX": max,
    # The median of an even number of digits is their middle, rounded down.
    "[MED": lambda digits: int(median(digits)),
    "[SM": lambda digits: sum(digits) % 10,
}
"""What each operation makes of its arguments, at least one: minimum, maximum, median rounded down, sum modulo 10."""

END = "]"
SYMBOLS = (*map(str, range(10)), *OPERATIONS, END)
"""The 15 symbols that remain where parentheses, which say nothing more, are left out."""

_DEEPEST = 10
_MOST_ARGUMENTS = 10
_OPERATION_RATE = 0.25
_BOUNDS = (500, 2000)


class Tree(NamedTuple):
    """A tree as its symbols without parentheses, and its value from 0 to 9."""

    symbols: tuple[str, ...]
    value: int


def draw_trees(seed: int) -> Iterator[Tree]:
    """Trees of 501 to 1,999 symbols, no two alike, without end; the seed decides all.

    A node at depth 1, ..., 9 is an operation with probability 1/4, and a digit otherwise or at depth 10. An operation is any of the
    four alike, and has from 2 to 10 arguments, any number alike; a digit is any of the ten. What has no such length is drawn
    again (Tay et al. 2021, and the generator they published, whose order of examples cannot be had again).

    >>> tree = next(draw_trees(0))
    >>> 500 < len(tree.symbols) < 2000, evaluate(" ".join(tree.symbols), "it") == tree.value
    (True, True)
    """
    generator = random.Random(seed)
    seen: set[bytes] = set()
    least, most = _BOUNDS
    while True:
        symbols: list[str] = []
        value = _grow(symbols, generator, 1)
        if not least < len(symbols) < most:
            continue
        key = hashlib.blake2b(" ".join(symbols).encode(), digest_size=16).digest()
        if key not in seen:
            seen.add(key)
            yield Tree(tuple(symbols), value)


def _grow(symbols: list[str], generator: random.Random, depth: int) -> int:
    """Append the symbols of a node and all below it; its value."""
    if depth == _DEEPEST or generator.random() > _OPERATION_RATE:
        digit = int(generator.random() * 10)
        symbols.append(SYMBOLS[digit])
        return digit
    count = 2 + int(generator.random() * (_MOST_ARGUMENTS - 1))
    operation = tuple(OPERATIONS)[int(generator.random() * len(OPERATIONS))]
    symbols.append(operation)
    arguments = [_grow(symbols, generator, depth + 1) for _ in range(count)]
    symbols.append(END)
    return OPERATIONS[operation](arguments)


def with_parentheses(symbols: Sequence[str]) -> str:
    """A tree as it is published: an operation takes its arguments one by one, and each step is in parentheses.

    >>> with_parentheses(["[MAX", "3", "[MIN", "4", "5", "]", "]"])
    '( ( ( [MAX 3 ) ( ( ( [MIN 4 ) 5 ) ] ) ) ] )'
    """
    # An open operation is its place among the words and the number of its arguments.
    words: list[str] = []
    opened: list[list[int]] = []
    for symbol in symbols:
        if symbol in OPERATIONS:
            opened.append([len(words), 0])
            words.append(symbol)
            continue
        if symbol == END:
            place, count = opened.pop()
            words[place] = "( " * (count + 1) + words[place]
        words.append(symbol)
        if symbol == END:
            words[-1] += " )"
        if opened:
            opened[-1][1] += 1
            words[-1] += " )"
    return " ".join(words)


def symbols_of(text: str) -> list[str]:
    """The symbols of a text without parentheses."""
    return text.replace("(", " ").replace(")", " ").split()


def evaluate(text: str, where: str) -> int:
    """The value of a tree, with the parentheses of the published files or without any.

    >>> evaluate("( ( ( [MAX 3 ) ( ( ( [MIN 4 ) 5 ) ] ) ) ] )", "line 2"), evaluate("[MED 2 7 4 9 ]", "line 3")
    (4, 5)
    >>> evaluate("[MAX 3 [MIN 4 5 ]", "line 4")
    Traceback (most recent call last):
    regard.errors.InputError: line 4 ends within [MAX, expected a ] for each operation

    Args:
        text: symbols with white space between them.
        where: begins the sentence of an error.

    Raises:
        InputError: an unknown symbol, an operation without an argument or without its end, more than one tree, or parentheses that
            are not those of the tree.
    """
    symbols = symbols_of(text)
    value = _value(symbols, where)
    if ("(" in text or ")" in text) and text.split() != with_parentheses(symbols).split():
        raise InputError(
            f"{where} has parentheses that do not fit its operations, expected those of the published form"
        )
    return value


def _value(symbols: Sequence[str], where: str) -> int:
    # The arguments of each operation that is open; at the bottom the tree itself.
    names, arguments = [""], [list[int]()]
    for place, symbol in enumerate(symbols, 1):
        if symbol in OPERATIONS:
            names.append(symbol)
            arguments.append([])
        elif symbol == END:
            if len(names) == 1:
                raise InputError(f"{where} has a ] at symbol {place} that ends no operation, expected one for each")
            name, found = names.pop(), arguments.pop()
            if not found:
                raise InputError(f"{where} has {name} without an argument at symbol {place}, expected at least one")
            arguments[-1].append(OPERATIONS[name](found))
        elif len(symbol) == 1 and symbol in "0123456789":
            arguments[-1].append(int(symbol))
        else:
            expected = f"expected one of {' '.join(SYMBOLS)}"
            raise InputError(f"{where} has {symbol[:20]!r} at symbol {place}, {expected}")
        if len(names) == 1 and len(arguments[0]) > 1:
            raise InputError(f"{where} goes on after its tree at symbol {place}, expected one tree")
    if len(names) > 1:
        raise InputError(f"{where} ends within {names[-1]}, expected a ] for each operation")
    if not arguments[0]:
        raise InputError(f"{where} is empty, expected a tree")
    return arguments[0][0]
