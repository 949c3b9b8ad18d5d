"""The one error that a user can cause."""

import difflib
import math
from collections.abc import Iterable

__all__ = ["InputError", "check_numbers", "closest", "nearest"]


class InputError(ValueError):
    """Bad input: one sentence that names what was found, where, and what was expected.

    The command line prints the sentence and exits with status 2; as a library call it is a `ValueError`.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause, to stand behind a colon, that suggests the known name nearest to `name`, or lists all of them.

    >>> nearest("taging", ["digits", "tagging"])
    "did you mean 'tagging'?"
    >>> nearest("xyz", ["digits", "tagging"])
    'known are digits, tagging'
    """
    known = sorted(known)
    close = closest(name, known)
    return f"did you mean {close!r}?" if close else f"known are {', '.join(known)}"


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name nearest to `name`; None where none is near."""
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1)), None)


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
        if not least <= value < below:
            bound = f" and less than {below:,}" if below < math.inf else ""
            raise InputError(f"{section}.{name} is {value}, expected at least {least:,}{bound}")
