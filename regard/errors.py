"""The one error that a user can cause."""

import difflib
import math
import os
import re
from collections.abc import Iterable

__all__ = [
    "LARGEST",
    "InputError",
    "check_number",
    "check_numbers",
    "check_processes",
    "closest",
    "nearest",
    "reason_of",
]

LARGEST = 1 << 40
"""More than any number of an option: indices, and offsets from them, must fit into 64 bits."""

# Characters of a sentence, those of them that come last, characters of a name in it, and how many of very many names it lists.
_LONGEST, _END, _LONGEST_NAME, _LISTED = 1500, 400, 60, 10

# What is taken for an option of each kind, by its annotation.
_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float)}
_WORDS = {"int": "a whole number", "float": "a number"}


class InputError(ValueError):
    """Bad input: one sentence that names what was found, where, and what was expected.

    The command line prints the sentence and exits with status 2; as a library call it is a `ValueError`. What it quotes from the
    input may be anything: characters that do not print are escaped, and the middle of a very long sentence is left out.

    >>> print(InputError("line 3 has the label " + chr(10) + ", expected a or b"))
    line 3 has the label \\n, expected a or b
    """

    def __init__(self, sentence: str) -> None:
        super().__init__(_printable(sentence))


def _printable(sentence: str) -> str:
    """A sentence on one line, in about `_LONGEST` characters at most."""
    if not sentence.isprintable():
        sentence = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in sentence)
    # What was cut is not cut again, when the error goes from one process to another.
    return sentence if len(sentence) <= _LONGEST + 5 else f"{sentence[: _LONGEST - _END]} ... {sentence[-_END:]}"


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause, to stand behind a colon, that suggests the known name nearest to `name`, or lists all of them.

    >>> nearest("taging", ["digits", "tagging"])
    "did you mean 'tagging'?"
    >>> nearest("xyz", ["digits", "tagging"])
    'known are digits, tagging'
    """
    known = sorted(known)
    if known and (len(name) > _LONGEST_NAME or sum(map(len, known)) > _LONGEST):
        known, more = [entry[:_LONGEST_NAME] for entry in known[:_LISTED]], len(known) - _LISTED
        return f"known are {', '.join(known)}" + (f" and {more:,} more" if more > 0 else "")
    close = closest(name, known)
    return f"did you mean {close!r}?" if close else f"known are {', '.join(known)}"


def reason_of(error: BaseException, otherwise: str = "it is damaged") -> str:
    """The first line of what another library says, as the end of a sentence.

    >>> reason_of(ValueError("Error in WAV file. No 'data' chunk marker."))
    "No 'data' chunk marker"
    >>> reason_of(EOFError())
    'it is damaged'
    """
    text = str(getattr(error, "strerror", None) or getattr(error, "error_string", None) or error)
    first = text.strip().partition("\n")[0]
    first = re.sub(r"^(zlib error: )?Error( in [^.]*\.|( -?\d+)? while [^:]*:| ?:)\s*", "", first)
    return first.rstrip(" .:") or otherwise


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name nearest to `name`; None where none is near."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)


def check_number(
    owner: str, name: str, value: object, kind: str, least: float = -math.inf, most: float = LARGEST
) -> None:
    """Refuse a number that is none, is another kind of number, or lies outside its bounds.

    Args:
        owner: what has the number, for the sentence. name: of the number. value: what was given.
        kind: "int" or "float", or these with " | None", which takes None too. A bool is neither, and a float no int.
        least, most: the bounds; a float that is no number, or infinite, is refused in any case.

    >>> check_number("Window", "left", True, "int")
    Traceback (most recent call last):
    regard.errors.InputError: Window has left True, expected a whole number
    >>> check_number("Window", "left", -1, "int", least=0)
    Traceback (most recent call last):
    regard.errors.InputError: Window has left -1, expected at least 0
    """
    plain, _, none = kind.partition(" | ")
    if value is None and none:
        return
    number = isinstance(value, int | float) and isinstance(value, _KINDS[plain]) and not isinstance(value, bool)
    # A whole number may be too large to be a float.
    if not (number and isinstance(value, int | float)) or (isinstance(value, float) and not math.isfinite(value)):
        raise InputError(f"{owner} has {name} {value!r}, expected {_WORDS[plain]}{' or None' if none else ''}")
    if value < least:
        raise InputError(f"{owner} has {name} {value!r}, expected at least {least:,}")
    if abs(value) > LARGEST or value > most:
        raise InputError(f"{owner} has {name} {value!r}, expected at most {min(most, LARGEST):,}")


def check_numbers(
    section: str, options: object, *names: str, least: float = -math.inf, below: float = math.inf
) -> None:
    """Refuse options, attributes of `options`, that are not at least `least` and less than `below`.

    >>> from types import SimpleNamespace
    >>> check_numbers("model", SimpleNamespace(dropout=2.0), "dropout", least=0, below=1)
    Traceback (most recent call last):
    regard.errors.InputError: model.dropout is 2.0, expected at least 0 and less than 1
    """
    for name in names:
        value = getattr(options, name)
        kind = getattr(type(options), "__annotations__", {}).get(name)
        whole = kind in ("int", int)
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            raise InputError(f"{section}.{name} is {value!r}, expected {_WORDS['int' if whole else 'float']}")
        if not least <= value < below:
            bound = f" and less than {below:,}" if below < math.inf else ""
            raise InputError(f"{section}.{name} is {value}, expected at least {least:,}{bound}")


def check_processes(section: str, options: object, *names: str) -> None:
    """Refuse options that ask for far more threads or processes than there are processors, which would end in a crash.

    At most four for each processor, or 64 where those are fewer, so that a run of a larger machine can be resumed.

    Raises:
        InputError: an option that is larger.
    """
    processors = os.cpu_count() or 1
    most = max(64, 4 * processors)
    for name in names:
        value = getattr(options, name)
        if value > most:
            found = f"{section}.{name} is {value:,}, and there are {processors} processors here"
            raise InputError(f"{found}, expected at most {most}")
