"""The hash that dropout and random blocks draw with: the same in every language that it is written in."""

from typing import Any

import numpy as np
import torch
from numba import njit

from regard.attention.dropout import Dropout
from regard.kernels import hashing
from regard.kernels.simd import lanes

WORD = 0xFFFFFFFF
NUMBERS = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0x846CA68B, WORD, *range(100, 109)]


def of_integers(low: int, high: int, head: int, query: int, key: int) -> list[int]:
    """The mix, and the three chains, of Python's integers."""
    of_number, of_row, of_key = hashing.chains(hashing.mix_integers)
    number = of_number(low, high, head)
    row = of_row(number, query)
    return [hashing.mix_integers(key), number, row, of_key(row, key)]


def of_tensors(mix: Any, kind: torch.dtype, arguments: np.ndarray) -> np.ndarray:
    low, high, head, query, key = (
        torch.tensor([hashing.signed(x) if kind == torch.int32 else x for x in row], dtype=kind)
        for row in arguments.tolist()
    )
    of_number, of_row, of_key = hashing.chains(mix)
    number = of_number(low, high, head)
    row = of_row(number, query)
    return torch.stack([mix(key.clone()), number, row, of_key(row, key)]).numpy()


@njit
def of_numbers(arguments: Any, out: Any) -> None:  # pragma: no cover
    for n in range(arguments.shape[1]):
        low, high, head, query, key = arguments[:, n]
        number = lanes.of_number(low, high, head)
        row = lanes.of_row(number, query)
        out[0, n], out[1, n], out[2, n], out[3, n] = lanes.mix(key), number, row, lanes.of_key(row, key)


@njit
def of_lanes(arguments: Any, out: Any) -> None:  # pragma: no cover
    low, high, head = lanes.load(arguments, 0), lanes.load(arguments, 16), lanes.load(arguments, 32)
    number = lanes.of_number(low, high, head)
    row = lanes.of_row(number, lanes.load(arguments, 48))
    key = lanes.load(arguments, 64)
    lanes.store(out, 0, lanes.mix(key))
    lanes.store(out, 16, number)
    lanes.store(out, 32, row)
    lanes.store(out, 48, lanes.of_key(row, key))


def test_all_languages_agree():
    arguments = np.array([NUMBERS[n:] + NUMBERS[:n] for n in range(5)])
    meant = np.array([of_integers(*column) for column in arguments.T.tolist()]).T
    found = {
        "int64 tensors": of_tensors(hashing.mix_integers, torch.int64, arguments),
        "int32 tensors": of_tensors(hashing.mix_tensor, torch.int32, arguments),
        "numbers in kernels": np.empty_like(meant),
        "lanes": np.empty(64, np.int32),
    }
    of_numbers(arguments, found["numbers in kernels"])
    of_lanes(arguments.astype(np.uint32).view(np.int32).reshape(-1), found["lanes"])
    assert len(np.unique(meant)) == meant.size
    for name, hashes in found.items():
        assert np.array_equal(hashes.reshape(meant.shape).astype(np.int64) & WORD, meant), name


def test_dropout_draws_what_the_chain_says():
    drop = Dropout(0.4, seed=(5 << 40) + 77)
    for head, query, key in ((0, 0, 0), (3, 70_000, 5), (15, 7, 123_456)):
        hashed = of_integers(77, 5 << 8, head, query, key)[-1]
        kept = drop.kept(*(torch.tensor(x) for x in (head, query, key)))
        assert bool(kept) == (hashing.signed(hashed) >= drop.least)


def test_hashes_never_change():
    """Runs that are trained draw random blocks and the rows of n-grams anew whenever they are opened."""
    assert [hashing.mix_integers(x) for x in (1, WORD)] == [1753845952, 1734902346]
    assert hashing.hashed(1, 2, 3) == 2801655874
