"""The one error that a user can cause."""

import difflib
from collections.abc import Iterable

__all__ = ["InputError", "nearest"]


class InputError(ValueError):
    """Bad input: one sentence that names what was found, where, and what was expected.

    The command line prints the sentence and exits with status 2; as a library call it is a `ValueError`.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """A clause that suggests the known name nearest to `name`, or lists all of them.

    >>> nearest("taging", ["digits", "tagging"])
    "did you mean 'tagging'?"
    >>> nearest("xyz", ["digits", "tagging"])
    'known: digits, tagging'
    """
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"
