"""The `regard` command: a table of commands, each in its own module that is imported only when it is called.

Nothing but the standard library is imported here, so that `regard --help` answers at once.
"""

import errno
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import TextIO

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
    "generate": ("RUN --prompt TEXT", "go on with a text as a language model does, character by character"),
    "embed": ("RUN [INPUT...]", "the model's vectors of sets, or of their vectors, as JSON lines, .npy or .npz"),
    "speaker": (
        "enroll | identify | verify | list | export | remove | calibrate | evaluate",
        "voices: keep them, say whose one is, refuse strangers",
    ),
    "vectors": (
        "train | nearest | analogy | evaluate | draw | extract",
        "word vectors from plain text: learn them, ask them, measure and draw them",
    ),
    "explain": (
        "[RUN INPUT]",
        "one output vector by its numbers: query, keys, scores, weights, values, sum; or an alignment",
    ),
    "inspect": ("RUN INPUT", "who attends to whom, in a page of the browser, a file or a picture"),
    "plan": ("SPEC --length N", "what would run an attention: executor, refusals, pairs, operations, bytes"),
    "arena": (
        "make TASK | train TASK | table RUNS...",
        "Long Range Arena: its data by the published rules, and efficient Transformers compared on it",
    ),
    "calibrate": ("", "how much quicker or slower this machine is than what plans go by; measured once, here again"),
    "bench": ("[--quick]", "how fast attention is here, beside a processor of the same class; under three minutes"),
    "data": ("look PATH | list | get NAME", "what files hold and how they are read; where published data comes from"),
}

_UNWRITTEN = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)

# GNU's OpenMP, which torch brings along, reads the first; Intel's, in other builds of torch, the second.
_WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status: 0 done, 2 bad input (one sentence on stderr), 130 interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _wait_without_spinning()
    try:
        status = _run(arguments)
    except SystemExit:  # of an option such as --help, which prints and ends
        if failed := _flushed(0):
            return failed
        raise
    return _flushed(status)


def _run(arguments: list[str]) -> int:
    try:
        return _dispatch(arguments)
    except InputError as error:
        return _fail(str(error))
    except BrokenPipeError:
        return 0  # the reader of a pipe has gone, as `head` does
    except OSError as error:
        if error.filename is None and error.errno in _UNWRITTEN:
            # Files are written by functions that name them.
            _abandon(sys.stdout)
            return _fail(f"standard output cannot be written: {error.strerror}")
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}")
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate" not in str(error):
            raise
        return _fail("this takes more memory than there is, expected smaller sets, --training.batch_vectors or model")
    except KeyboardInterrupt as interruption:
        _say(f"regard: {str(interruption) or 'interrupted'}")
        return 130


def _flushed(status: int) -> int:
    """The status, once all that was printed is written; 2 and a sentence where it cannot be, as on a full disk.

    Python itself would flush only at exit, and end with status 120.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _abandon(sys.stdout)
    except OSError as error:
        _abandon(sys.stdout)
        return _fail(f"standard output cannot be written: {error.strerror or error}")
    return status


def _abandon(stream: TextIO) -> None:
    """Let what is left in the buffer of a stream go nowhere, so that Python does not try to write it again at exit."""
    with suppress(OSError, ValueError):  # a stream without a descriptor, as tests and notebooks have
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _wait_without_spinning() -> None:
    """Let OpenMP's threads sleep while they wait, unless the user has chosen.

    By default they spin, on a busy machine in place of the very threads that they wait for, which makes steps many times as long;
    where nothing else runs, sleeping costs little. OpenMP reads the environment when torch loads it.
    """
    if "torch" not in sys.modules and not _WAITING.keys() & os.environ.keys() and "GOMP_SPINCOUNT" not in os.environ:
        os.environ.update(_WAITING)


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
    _say(f"regard: {' '.join(sentence.split())}")
    return 2


def _say(line: str) -> None:
    """Print to standard error, whose own failure the status alone can tell."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _abandon(sys.stderr)


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
