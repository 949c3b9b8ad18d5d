"""Options of commands: jsonargparse with its errors told in one sentence that names the nearest option."""

import argparse
import re
from collections.abc import Sequence
from typing import get_args

import jsonargparse

from regard.errors import InputError, closest

__all__ = ["parse", "parser"]


def parser(command: str, description: str) -> jsonargparse.ArgumentParser:
    """The parser of `regard COMMAND`, which `parse` reads arguments with."""
    return jsonargparse.ArgumentParser(
        prog=f"regard {command}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
        print_config=None,
    )


def parse(options: jsonargparse.ArgumentParser, arguments: Sequence[str]) -> jsonargparse.Namespace:
    """What the arguments say; options and operands may stand in any order, and `--` ends the options.

    Raises:
        InputError: an unknown option, with the nearest known one; a value of another type; an operand too few or many.
    """
    flags, operands = _split(options, arguments)
    try:
        return options.parse_args([*flags, "--", *operands] if operands else flags)
    except argparse.ArgumentError as error:
        raise InputError(_sentence(options, flags, str(error))) from None


def _split(options: jsonargparse.ArgumentParser, arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Options with their values, and operands. argparse alone would refuse operands after an option."""
    shown = [action for action in options._actions if action.help != argparse.SUPPRESS]
    known = {name: action for action in shown for name in action.option_strings}
    flags: list[str] = []
    operands: list[str] = []
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        name, equals, _ = argument.partition("=")
        if argument == "--":
            return flags, operands + rest
        if argument == "-" or not argument.startswith("-"):
            operands.append(argument)
            continue
        if name not in known:
            public = [name for name in known if name.startswith("--")]
            close = closest(name, public)
            hint = f": did you mean {close!r}?" if close else f"; {options.prog} --help lists them"
            raise InputError(f"{_command(options)} has no option {name!r}{hint}")
        flags.append(argument)
        if known[name].nargs is None and not equals:
            # Joined, because a value may begin with a dash.
            value = rest.pop(0) if rest and not rest[0].startswith("--") else ""
            flags[-1] = f"{name}={value}"
        if flags[-1] == f"{name}=":
            raise InputError(f"{name} has no value, expected {_kind(known[name])}")
    return flags, operands


def _command(options: jsonargparse.ArgumentParser) -> str:
    """The command's name, without the program's, which precedes every sentence."""
    return options.prog.removeprefix("regard ")


def _sentence(options: jsonargparse.ArgumentParser, flags: Sequence[str], message: str) -> str:
    """jsonargparse's message of several lines as one sentence."""
    if missing := re.search(r"arguments are required: (.+)", message):
        return f"{_command(options)} is not told {missing[1]}; {options.prog} --help says what it takes"
    if extra := re.search(r"unrecognized arguments: (.+)", message):
        return f"{_command(options)} got {extra[1]!r}, one operand too many; {options.prog} --help says what it takes"
    match = re.match(r'Parser key "([\w.]+)"', message)
    action = next((a for a in options._actions if match and a.dest == match[1]), None)
    if action is None or not action.option_strings:
        return f"{_command(options)}: {' '.join(message.split())}"
    name = action.option_strings[0]
    value = next((flag.partition("=")[2] for flag in reversed(flags) if flag.startswith(f"{name}=")), None)
    if value is None:
        return f"{_command(options)}: {' '.join(message.split())}"
    choices = [str(choice) for choice in get_args(getattr(action, "_typehint", None)) if isinstance(choice, str)]
    close = closest(value, choices)
    hint = f": did you mean {close!r}?" if close else ""
    return f"{name} is {value!r}, expected {_kind(action)}{hint}"


def _kind(action: argparse.Action) -> str:
    from regard.train.values import spelled

    return spelled(getattr(action, "_typehint", None) or action.type or str)
