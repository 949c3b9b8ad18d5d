"""Trial lists: which recordings are compared, and whether both are of one speaker, as text.

A line is `1 PATH PATH` where both are, `0 PATH PATH` where they are not; paths are relative to the folder of the data, and
one with a space stands between double quotes. Lists that are published for other data have this form too.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from regard.data.tables import Style, rows_of
from regard.errors import InputError
from regard.files import read_lines, write_atomically

__all__ = ["TrialList", "drawn_trials", "read_trials", "write_trials"]

Places = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrialList:
    """Trials between named recordings.

    Args:
        names: `[n]` of the recordings, each once.
        first, second: `[k]` which two recordings each trial compares.
        targets: `[k]` whether both are of one speaker.
        speakers: `[n]` whose each recording is: a number, the same for recordings that target trials link.
        where: `[n]` how an error names a recording.
    """

    names: tuple[str, ...]
    first: Places
    second: Places
    targets: NDArray[np.bool_]
    speakers: Places
    where: tuple[str, ...]


def read_trials(path: Path) -> TrialList:
    """The trials of a file. Who speaks is what its target trials say: recordings that they link are of one speaker.

    Raises:
        InputError: a line of another form, a recording compared with itself, a trial that contradicts others, or no line;
            the sentence names the line.
    """
    index: dict[str, int] = {}
    rows: list[tuple[int, int, int, bool]] = []
    where: list[str] = []
    lines = ((number, text.replace("\t", " ")) for number, text in read_lines(path))
    for line in rows_of(lines, Style(separator=" "), str(path)):
        fields, here = [each for each in line.fields if each], f"{path}, line {line.number},"
        if len(line.lines) > 1:
            begin = line.number - len(line.lines) + 1
            raise InputError(
                f"{path}, line {begin}, opens a quote that is not closed in it, expected paths on one line"
            )
        if line.empty:
            continue
        if len(fields) != 3 or fields[0] not in ("0", "1"):
            raise InputError(f"{here} is {' '.join(fields)[:80]!r}, expected '1 PATH PATH' or '0 PATH PATH'")
        if fields[1] == fields[2]:
            raise InputError(f"{here} compares {fields[1]} with itself, expected two recordings")
        for name in fields[1:]:
            if index.setdefault(name, len(index)) == len(where):
                where.append(f"{here} names")
        rows.append((line.number, index[fields[1]], index[fields[2]], fields[0] == "1"))
    if not rows:
        raise InputError(f"{path} has no trial, expected lines '1 PATH PATH' or '0 PATH PATH'")
    numbers, first, second = (np.array(column, np.int64) for column in list(zip(*rows, strict=True))[:3])
    targets = np.array([row[3] for row in rows])
    speakers = _linked(len(index), first[targets], second[targets])
    contradicted = np.flatnonzero(~targets & (speakers[first] == speakers[second]))
    if len(contradicted):
        row, names = contradicted[0], list(index)
        both = f"{names[first[row]]} and {names[second[row]]}"
        raise InputError(
            f"{path}, line {numbers[row]}, says that {both} are of two speakers, but trials of 1 link them"
        )
    return TrialList(tuple(index), first, second, targets, speakers, tuple(where))


def _linked(count: int, first: Places, second: Places) -> Places:
    """`[count]` a number for each recording, the same for those that pairs link, also by way of others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first), np.int8), (first, second)), (count, count))
    speakers: Places = connected_components(links, directed=False)[1].astype(np.int64)
    return speakers


def drawn_trials(labels: Sequence[str], most: int = 0) -> tuple[Places, Places]:
    """The pairs of recordings `[k]`, `[k]` of a list: all of one speaker, then all of two, or `most` of each kind.

    Which of them depends on the labels and nothing else: pair number n of a kind is drawn where a SHA-256 falls on n.

    >>> [each.tolist() for each in drawn_trials(["a", "b", "a"])]
    [[0, 0, 2], [2, 1, 1]]

    Args:
        labels: `[n]` whose each recording is. most: how many of each kind; 0 for all.

    Raises:
        InputError: no two recordings of one speaker, or of two.
    """
    order = np.argsort(np.asarray(labels, object).astype(str), kind="stable")
    _, places = np.unique(np.asarray(labels, object).astype(str)[order], return_inverse=True)
    n = len(order)
    # In this order the recordings of a speaker lie together: partners of one kind are a run behind each recording.
    past = np.searchsorted(places, places, side="right")
    found = []
    for begin, end, kind in ((np.arange(n) + 1, past, "one speaker"), (past, np.full(n, n), "two speakers")):
        counts = np.cumsum(end - begin)
        if not n or not counts[-1]:
            raise InputError(f"there are no two recordings of {kind} among the {n}, expected some for a trial list")
        numbers = _drawn(int(counts[-1]), most, kind)
        first = np.searchsorted(counts, numbers, side="right")
        second = begin[first] + numbers - (counts[first] - (end - begin)[first])
        found.append((order[first], order[second]))
    (a, b), (c, d) = found
    return np.concatenate([a, c]), np.concatenate([b, d])


def _drawn(total: int, most: int, kind: str) -> Places:
    """`most` of the numbers below `total`, in order; all where there are not more, or `most` is 0."""
    if not most or most >= total:
        return np.arange(total)
    # Where more than half are wanted it is quicker to draw the others.
    few = min(most, total - most)
    chosen: set[int] = set()
    n = 0
    while len(chosen) < few:
        chosen.add(int.from_bytes(hashlib.sha256(f"{kind} {n}".encode()).digest()[:8], "big") % total)
        n += 1
    numbers = np.array(sorted(chosen), np.int64)
    return numbers if few == most else np.setdiff1d(np.arange(total), numbers)


def write_trials(path: Path, names: Sequence[str], labels: Sequence[str], most: int = 0) -> tuple[int, int]:
    """A list of the trials of `drawn_trials` between named recordings; says how many are of one speaker and of two.

    Raises:
        InputError: what `drawn_trials` refuses, a file that is there already, or a name with a line break.
    """
    if path.exists():
        raise InputError(f"{path} already exists, expected a new file for the trial list")
    broken = [name for name in names if not name.isprintable() or '"' in name]
    if broken:
        raise InputError(f"the name {broken[0]!r} cannot stand in a trial list, expected one without quotes or breaks")
    first, second = drawn_trials(labels, most)
    same = np.asarray(labels, object)[first] == np.asarray(labels, object)[second]
    text = io.StringIO()
    writer = csv.writer(text, delimiter=" ", lineterminator="\n")
    for a, b, target in zip(first.tolist(), second.tolist(), same.tolist(), strict=True):
        writer.writerow([int(target), names[a], names[b]])
    write_atomically(path, text.getvalue().encode())
    return int(same.sum()), int((~same).sum())
