"""The `regard` command: a table of commands, each in its own module that is imported only when it is called.

Nothing but the standard library is imported here, so that `regard --help` answers at once.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from regard import __version__
from regard.errors import InputError, nearest

__all__ = ["COMMANDS", "main"]

COMMANDS = {
    "recipes": ("", "what can be trained, on what data, with which published number to compare"),
    "train": (
        "RECIPE | --config FILE | --resume RUN",
        "train, and write a run folder; each option of a recipe can be set",
    ),
    "evaluate": ("RUN...", "metrics on the test part, beside the best trivial baseline"),
    "compare": ("RUN...", "metrics with intervals, a paired test, parameters, time"),
    "predict": ("RUN [INPUT...]", "labels and probabilities as JSON lines; --show N draws examples of the test part"),
    "speaker": (
        "enroll | identify | verify | list | export | remove | calibrate | evaluate",
        "voices: keep them, say whose one is, refuse strangers",
    ),
    "vectors": (
        "train | nearest | analogy | evaluate | draw | extract",
        "word vectors from plain text: learn them, ask them, measure and draw them",
    ),
    "explain": ("[RUN INPUT]", "one output vector by its numbers: query, keys, scores, weights, values, sum"),
    "plan": ("SPEC --length N", "what would run an attention: executor, refusals, pairs, operations, bytes"),
    "data": ("list | get NAME", "where each data set comes from, its licence, its checksum"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 2 bad input (one sentence on stderr), 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = _dispatch(arguments)
        sys.stdout.flush()
        return status
    except InputError as error:
        return _fail(str(error))
    except BrokenPipeError:
        # The reader of a pipe has gone, as `head` does. Without this Python complains once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate" not in str(error):
            raise
        return _fail("this takes more memory than there is, expected smaller sets, --training.batch_vectors or model")
    except KeyboardInterrupt as interruption:
        print(f"regard: {str(interruption) or 'interrupted'}", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if arguments[0] == "--version":
        print(f"regard {__version__}")
        return 0
    name, *rest = arguments
    if name not in COMMANDS:
        kind, known = ("option", ["--help", "--version"]) if name.startswith("-") else ("command", COMMANDS)
        raise InputError(f"there is no {kind} {name!r}: {nearest(name, known)}")
    import_module(f"regard.cli.{name}").run(rest)
    return 0


def _fail(sentence: str) -> int:
    print(f"regard: {' '.join(sentence.split())}", file=sys.stderr)
    return 2


def _help() -> str:
    lines = [
        "usage: regard COMMAND ...",
        "",
        "Self-attention over sets of vectors: train, evaluate, predict, explain.",
        "",
    ]
    for name, (operands, purpose) in COMMANDS.items():
        lines += [f"  {name} {operands}".rstrip(), f"      {purpose}"]
    return "\n".join([*lines, "", "regard COMMAND --help lists the options of a command."])
