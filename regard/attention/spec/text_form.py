"""The text form of values: the expression that makes one, read back through a whitelist of names."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import fields
from types import ModuleType
from typing import Any

from regard.attention.spec.pattern import And, Not, Or, Pattern
from regard.errors import InputError, nearest

__all__ = ["Names", "names_of", "read"]

# What each known name makes.
Names = Mapping[str, Callable[..., Any]]
# Longer texts would only be there to exhaust the parser.
_LONGEST_TEXT = 10_000
# What `&`, `|` and `~` make has no name of its own in the text form.
_OPERATORS = (And, Or, Not)


def names_of(module: ModuleType, kind: type) -> dict[str, type]:
    """The public values of a kind that a module offers, by name."""
    things = {name: getattr(module, name) for name in module.__all__}
    return {
        name: thing
        for name, thing in things.items()
        if isinstance(thing, type) and issubclass(thing, kind) and thing not in (kind, *_OPERATORS)
    }


def read(text: str, known: Names) -> Any:
    """The value that a text names.

    The text is a Python expression of known names, numbers, strings, booleans, None, tuples, `&`, `|` and `~`; nothing is
    evaluated, and anything else is refused.

    Raises:
        InputError: text that is no such expression.
    """
    if len(text) > _LONGEST_TEXT:
        raise InputError(f"the text of {len(text):,} characters is too long, expected at most {_LONGEST_TEXT:,}")
    try:
        return _build(ast.parse(text.strip(), mode="eval").body, text, known)
    except InputError:
        raise
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise InputError(
            f"the text {text!r} is no specification, expected such as 'Window(64, 16) | First(1)'"
        ) from error


def _build(node: ast.AST, text: str, known: Names) -> Any:
    match node:
        case ast.Constant(value=value) if value is None or isinstance(value, bool | int | float | str):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=value)) if isinstance(value, int | float):
            return -value
        case ast.Tuple(elts=parts):
            return tuple(_build(part, text, known) for part in parts)
        case ast.UnaryOp(op=ast.Invert(), operand=operand):
            return ~_pattern(operand, text, known)
        case ast.BinOp(left=a, op=ast.BitAnd(), right=b):
            return _pattern(a, text, known) & _pattern(b, text, known)
        case ast.BinOp(left=a, op=ast.BitOr(), right=b):
            return _pattern(a, text, known) | _pattern(b, text, known)
        case ast.Call(func=ast.Name(id=name), args=args, keywords=options):
            if name not in known:
                raise InputError(f"{name!r} in {text!r} is no part of an attention: {nearest(name, known)}")
            names = [option.arg for option in options if option.arg is not None]
            if len(set(names)) < len(options):
                raise InputError(f"{ast.unparse(node)!r} in {text!r} does not name each option once")
            values = [_build(arg, text, known) for arg in args]
            named = {name: _build(option.value, text, known) for name, option in zip(names, options, strict=True)}
            if isinstance(made := known[name], type):
                options_of = [each.name for each in fields(made)]
                for option in named:
                    if option not in options_of:
                        raise InputError(f"{name} in {text!r} has no option {option!r}: {nearest(option, options_of)}")
            try:
                return made(*values, **named)
            except TypeError as error:
                raise InputError(f"{ast.unparse(node)} in {text!r} has options that do not fit: {error}") from error
    raise InputError(
        f"{ast.unparse(node)!r} in {text!r} is no part of a specification, expected such as 'Window(64, 16)'"
    )


def _pattern(node: ast.AST, text: str, known: Names) -> Pattern:
    value = _build(node, text, known)
    if not isinstance(value, Pattern):
        raise InputError(
            f"{ast.unparse(node)!r} in {text!r} is no pattern, expected one on both sides of & and |, and behind ~"
        )
    return value
