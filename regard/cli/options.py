"""Options of commands: jsonargparse with its errors told in one sentence that names the nearest option."""

import argparse
import json
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, get_args, get_origin

import jsonargparse

from regard.errors import InputError, closest
from regard.layers.weight_types import Weights

__all__ = ["add_weights", "parse", "parser", "take_threads", "threads_option", "weights_of"]

_MOST_THREADS = 1024

_NULL = ("null", "~")


class _Paragraphs(jsonargparse.DefaultHelpFormatter):
    """Keeps the lines of a description: those that begin with blanks stand alone, the others are filled paragraph by paragraph."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        found: list[str] = []
        paragraph = ""
        for line in [*text.splitlines(), ""]:
            if line and not line[0].isspace():
                paragraph = f"{paragraph} {line}".strip()
                continue
            found += textwrap.wrap(paragraph, width)
            paragraph = ""
            found += _entry(line, width) if line else [""]
        return "\n".join(found).strip("\n")


def _entry(line: str, width: int) -> list[str]:
    """A line such as `  COMMAND    what it does`, whose second column goes on below itself, or below the first if that is long."""
    head, text = re.fullmatch(r"(\s+\S.*?(?:\s{2,}|$))(.*)", line).groups()  # type: ignore[union-attr]
    if width - len(head) < 24:
        return [head.rstrip(), *textwrap.wrap(text, width, initial_indent=" " * 6, subsequent_indent=" " * 6)]
    return textwrap.wrap(text, width, initial_indent=head, subsequent_indent=" " * len(head)) or [head.rstrip()]


def parser(command: str, description: str) -> jsonargparse.ArgumentParser:
    """The parser of `regard COMMAND`, which `parse` reads arguments with."""
    return jsonargparse.ArgumentParser(
        prog=f"regard {command}",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
        print_config=None,
        formatter_class=_Paragraphs,
    )


def parse(options: jsonargparse.ArgumentParser, arguments: Sequence[str]) -> jsonargparse.Namespace:
    """What the arguments say; options and operands may stand in any order, and `--` ends the options.

    Raises:
        InputError: an unknown option, with the nearest known one; a value of another type; an operand too few or many.
    """
    flags, operands = _split(options, arguments)
    kinds = {name: (action, _type(action)) for action in options._actions for name in action.option_strings}
    plain = [_quoted(flag, kinds[flag.partition("=")[0]][1]) for flag in flags]
    try:
        chosen = options.parse_args([*plain, "--", *operands] if operands else plain)
    except argparse.ArgumentError as error:
        raise InputError(_sentence(options, flags, str(error))) from None
    for name, _, value in (flag.partition("=") for flag in flags):
        action, kind = kinds[name]
        # jsonargparse takes a text that is a comment of YAML, such as "#1", for null.
        if kind == str | None:
            chosen[action.dest] = None if value in _NULL else value
    return chosen


def threads_option(options: jsonargparse.ArgumentParser) -> None:
    """Add `--threads` to a command that measures; `take_threads` obeys it."""
    options.add_argument(
        "--threads", type=int, default=0, help="threads of torch to measure with; 0 takes as many as it would"
    )


def take_threads(threads: int) -> None:
    """Let torch compute with so many threads; 0 leaves it as it is.

    Raises:
        InputError: a number below 0, or of more threads than anybody has.
    """
    if not 0 <= threads <= _MOST_THREADS:
        raise InputError(f"--threads is {threads}, expected 0 to {_MOST_THREADS}")
    if threads:
        import torch

        torch.set_num_threads(threads)


def add_weights(options: jsonargparse.ArgumentParser) -> None:
    """Add `--weights` to a command that computes with a run; `weights_of` reads it."""
    options.add_argument(
        "--weights",
        type=Weights,
        default="float32",
        help="type of the weights of linear layers: quicker, and less exact",
    )


def weights_of(chosen: jsonargparse.Namespace) -> Weights:
    """The type of weights that was asked for; it is said where float32 is quicker."""
    from regard.layers.narrow_weights import slow_weights

    weights: Weights = chosen.weights
    if slow := slow_weights(weights):
        print(f"--weights is {weights}, and {slow}", file=sys.stderr)
    return weights


def _quoted(flag: str, kind: Any) -> str:
    """The argument with texts in quotes, where the option is a list of texts or has them as keys: YAML takes 0560 for 368."""
    name, equals, value = flag.partition("=")
    if re.fullmatch(r"[+-]?[\d_]+(:[\d_]+)+(\.[\d_]*)?", value) and {int, float} & {kind, *get_args(kind)}:
        from regard.train.values import spelled

        # YAML takes 1:30 for 90.
        raise InputError(f"{name} is {value!r}, expected {spelled(kind)}")
    origins = {get_origin(each): get_args(each)[0] for each in (kind, *get_args(kind)) if get_args(each)}
    members = {origin: member for origin, member in origins.items() if origin in (list, tuple, dict)}
    if not equals or value in _NULL or str not in members.values():
        return flag
    from regard.train.values import read_as_written, spelled

    try:
        read, written = read_as_written(value, name)
    except InputError:
        read, written = None, None
    if isinstance(written, dict) and dict in members and len(read) == len(written):
        return f"{name}={json.dumps(dict(zip(written, read.values(), strict=True)), default=str)}"
    if isinstance(written, list) and dict not in members and all(isinstance(each, str) for each in written):
        return f"{name}={json.dumps(written)}"
    if dict in members:
        return flag
    raise InputError(f"{name} is {value[:80]!r}, expected {spelled(kind)}, such as [a, b]")


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

    return spelled(_type(action))


def _type(action: argparse.Action) -> Any:
    return getattr(action, "_typehint", None) or action.type or str
