"""Options read from plain values, as YAML gives them: each value is checked against the type of its option."""

from __future__ import annotations

import re
import reprlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from inspect import cleandoc
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from regard.errors import InputError, nearest

__all__ = [
    "LONGEST_YAML",
    "explained",
    "fits",
    "key",
    "named",
    "names_type",
    "nested",
    "read_as_written",
    "read_options",
    "read_yaml",
    "spelled",
    "types_of",
]

LONGEST_YAML = 1 << 20
"""More bytes than any configuration has."""

_LARGEST = 1 << 63


def read_yaml(text: str, source: str) -> Any:
    """The value that a YAML text holds; nothing but plain values is made.

    Raises:
        InputError: no YAML, or a text that is too long or too deeply nested for a configuration.
    """
    return read_as_written(text, source)[0]


def read_as_written(text: str, source: str) -> tuple[Any, Any]:
    """What `read_yaml` returns, and beside it the same with each number, truth, date and null as the text that it was written as.

    >>> read_as_written("unseen: [0560, yes, a]", "here")
    ({'unseen': [368, True, 'a']}, {'unseen': ['0560', 'yes', 'a']})

    Raises:
        InputError: what `read_yaml` refuses.
    """
    import yaml  # type: ignore[import-untyped]

    if len(text) > LONGEST_YAML:
        raise InputError(f"{source} has {len(text):,} characters, expected at most {LONGEST_YAML:,}")
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        if node is None:
            return None, None
        value = loader.construct_document(node)
        try:
            return value, yaml.constructor.BaseConstructor().construct_document(node)
        except yaml.constructor.ConstructorError:
            # A list that holds itself is no value of an option.
            return value, None
    except RecursionError:
        raise InputError(f"{source} is nested too deeply, expected options inside sections") from None
    except (yaml.YAMLError, ValueError) as error:
        sentence = re.sub(r"\s+", " ", str(error)).strip().rstrip(".")
        raise InputError(f"{source} is no YAML: {sentence[:300]}") from None


def read_options(kind: type, values: Mapping[str, Any], where: str, source: str, written: Any = None) -> Any:
    """The dataclass `kind` of options with these values; what is left out takes its default.

    A whole number is taken for an option for any number, and a text such as `1e-3`, which YAML knows as no number, likewise. An
    option that is a text, or a list of texts, takes `0560`, `yes` or `2024-01-01` as it was written.

    Args:
        written: the same values as texts, see `read_as_written`.
        where: the name of the section or group, which precedes an option's name in a sentence.
        source: what holds the values.

    Raises:
        InputError: an unknown option, one that is missing, or a value of another type than the option's.
    """
    if not isinstance(values, Mapping):
        raise InputError(f"{source} has {where}: {named(values)}, expected a mapping of options")
    known = {option.name: option for option in fields(kind)}
    for name in values:
        if name not in known:
            raise InputError(f"{source} has no option {where}.{key(name)}: {nearest(key(name), known)}")
    found: dict[str, Any] = {}
    for name, option in known.items():
        place, group, wanted = f"{where}.{name}", nested(option), types_of(kind)[name]
        text = written.get(name) if isinstance(written, Mapping) else None
        if name not in values:
            if option.default is MISSING and option.default_factory is MISSING:
                raise InputError(f"{source} has no {place}, expected {spelled(wanted)}")
        elif group is not None:
            inner = values[name]
            # The name of a group's type stands for the group.
            inner = {"type": inner} if names_type(option) and isinstance(inner, str) else inner
            found[name] = read_options(group, inner, place, source, text)
        else:
            found[name] = _value(wanted, values[name], text, f"{source} has {place}: {named(values[name])}")
    return kind(**found)


def _value(wanted: Any, value: Any, written: Any, sentence: str) -> Any:
    """The value as the type that is wanted; `sentence` says which it is and where it was found."""
    kinds = get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)
    # Anything can be a text: that comes last.
    for kind in sorted(kinds, key=lambda kind: kind is str):
        try:
            return _of_kind(kind, value, written)
        except (ValueError, OverflowError):
            continue
    raise InputError(f"{sentence}, expected {spelled(wanted)}")


def fits(wanted: Any, value: Any) -> bool:
    """Whether an option of this type takes the value."""
    try:
        _value(wanted, value, None, "")
    except InputError:
        return False
    return True


def _of_kind(kind: Any, value: Any, written: Any) -> Any:
    """The value as a type that is no union, or a ValueError."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if get_origin(kind) is Literal:
        # A text that looks like a number, such as precision: 32, is still the text that the option takes.
        value = written if isinstance(written, str) else str(value) if number else value
        if isinstance(value, str) and value in get_args(kind):
            return value
    elif get_origin(kind) is tuple:
        members = get_args(kind)
        if isinstance(value, (list, tuple)):
            texts = written if isinstance(written, list) and len(written) == len(value) else [None] * len(value)
            members = members[:1] * len(value) if members[-1] is Ellipsis else members
            return tuple(_of_kind(*each) for each in zip(members, value, texts, strict=True))
    elif get_origin(kind) is dict:
        names, values = get_args(kind)
        if isinstance(value, Mapping) and all(isinstance(name, str) for name in (written or value)):
            named_as = written if isinstance(written, Mapping) else value
            rows = zip(named_as, value.values(), named_as.values(), strict=True)
            return {_of_kind(names, name, name): _of_kind(values, each, text) for name, each, text in rows}
    elif kind in (int, float) and isinstance(written, str) and re.fullmatch(r"[+-]?0\d+", written):
        # YAML takes 010 for 8.
        return kind(written)
    elif kind in (int, float) and isinstance(written, str) and ":" in written:
        # Nor is 1:30 the number 90.
        raise ValueError
    elif kind is float:
        if number or isinstance(value, str):
            return float(value)
    elif kind is int:
        whole = isinstance(value, int) if number else isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,18}", value)
        if whole and abs(int(value)) < _LARGEST:
            return int(value)
    elif kind is type(None):
        if value is None:
            return None
    elif kind is str and isinstance(written, str):
        return written
    elif isinstance(value, kind):
        return value
    raise ValueError


@cache
def types_of(kind: type) -> dict[str, Any]:
    """The type of each option of a dataclass."""
    return get_type_hints(kind)


def nested(option: Field[Any]) -> type | None:
    """The type of an option that has options of its own; None for any other."""
    made: Any = option.default_factory
    return made if isinstance(made, type) and is_dataclass(made) else None


def names_type(option: Field[Any]) -> bool:
    """Whether an option is a group with a type, whose name alone may stand for it: `positions: rotary`."""
    group = nested(option)
    return group is not None and "type" in {entry.name for entry in fields(group)}


def spelled(kind: Any) -> str:
    """A type in words.

    >>> spelled(int | None)
    'a whole number or null'
    """
    words = {int: "a whole number", float: "a number", str: "a text", bool: "true or false", type(None): "null"}
    origin = get_origin(kind)
    if origin is Literal:
        return "one of " + ", ".join(str(choice) for choice in get_args(kind))
    if origin in (Union, types.UnionType):
        return " or ".join(spelled(member) for member in get_args(kind))
    if origin is dict:
        return "{name: " + spelled(get_args(kind)[1]) + ", ...}"
    if origin in (tuple, list):
        members = [spelled(member) for member in get_args(kind) if member is not Ellipsis]
        return f"a list in brackets of {', '.join(members)}"
    return words.get(kind, getattr(kind, "__name__", str(kind)))


def explained(kind: type) -> dict[str, str]:
    """What the docstring of a dataclass says of each option under `Args:`.

    >>> from dataclasses import dataclass
    >>> @dataclass
    ... class Cut:
    ...     '''Cuts.
    ...
    ...     Args:
    ...         at: the place where it
    ...             cuts.
    ...     '''
    >>> explained(Cut)
    {'at': 'the place where it cuts.'}
    """
    found: dict[str, list[str]] = {}
    listed = cleandoc(kind.__doc__ or "").partition("\nArgs:\n")[2].partition("\n\n")[0]
    name = ""
    for line in listed.splitlines():
        if match := re.match(r"    (\w+): (.*)", line):
            name = match[1]
            found[name] = [match[2]]
        elif name:
            found[name].append(line.strip())
    return {name: " ".join(lines) for name, lines in found.items()}


def named(value: Any) -> str:
    """A value as a sentence shows it: cut short, whatever it holds."""
    return "nothing" if value is None else _short(value)


def key(name: Any) -> str:
    """A key of a mapping as a sentence shows it."""
    return name[:80] if isinstance(name, str) else _short(name)


def _short(value: Any) -> str:
    if isinstance(value, str):
        return repr(value if len(value) <= 80 else f"{value[:77]}...")
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return "a number of many digits"
    return reprlib.repr(value)
