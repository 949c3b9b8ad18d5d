"""A sampler that fills batches up to a budget of vectors, and a loader that resumes anywhere."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import util
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler
from torchdata.stateful_dataloader import StatefulDataLoader

from regard.data.batch import Batch, collate
from regard.data.examples import Array, Dataset
from regard.errors import InputError

__all__ = ["BudgetSampler", "loader", "measured"]


class BudgetSampler(Sampler[list[int]]):
    """Batches of indices that fill a budget of vectors: each example exactly once per epoch, over all ranks together.

    With `shuffle` the examples are ordered by length, ties at random, cut into batches, and the batches shuffled, so that
    the lengths in a batch are close; batches that ranks process at the same step are neighbours in length. Without, the
    examples keep their order. What comes is a pure function of (seed, epoch), and the number of batches the same in
    every epoch and on every rank: where it would not divide among the ranks, batches are halved. A rank gets an empty
    batch only where every batch is a single example and still they do not divide.

    Args:
        lengths: the number of vectors of each example; an empty example counts as one vector.
        budget: the most vectors in a batch; an example that is larger than that is a batch of its own.
        seed: for the order.
        shuffle: whether the order is random.
        rank: which of the ranks this is.
        ranks: how many processes share the examples.

    >>> sampler = BudgetSampler([5, 1, 4, 2, 3], budget=6, shuffle=False)
    >>> list(sampler)
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        lengths: Sequence[int],
        budget: int,
        seed: int = 0,
        shuffle: bool = True,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        if budget < 1:
            raise InputError(f"the budget of a batch is {budget} vectors, expected at least 1")
        if not 0 <= rank < ranks:
            raise InputError(f"the rank is {rank} of {ranks}, expected one between 0 and {ranks - 1}")
        self.lengths = np.maximum(np.asarray(lengths, np.int64), 1)
        self.budget, self.seed, self.shuffle, self.rank, self.ranks = budget, seed, shuffle, rank, ranks
        self.epoch = 0
        self._position = 0
        self._resume = 0
        # The cuts depend on the sorted lengths alone, so the number of batches is the same in every epoch.
        self._cuts = self._cut(np.sort(self.lengths) if shuffle else self.lengths)

    def _cut(self, lengths: Array) -> list[tuple[int, int]]:
        """Where batches begin and end in the ordered examples, a multiple of `ranks` of them."""
        cuts: list[tuple[int, int]] = []
        start = filled = 0
        for stop, length in enumerate(lengths.tolist()):
            if stop > start and filled + length > self.budget:
                cuts.append((start, stop))
                start, filled = stop, 0
            filled += length
        if len(lengths):
            cuts.append((start, len(lengths)))
        while len(cuts) % self.ranks:
            widest = max(range(len(cuts)), key=lambda i: cuts[i][1] - cuts[i][0])
            start, stop = cuts[widest]
            if stop - start == 1:
                cuts.append((len(lengths), len(lengths)))
            else:
                middle = (start + stop + 1) // 2
                cuts[widest : widest + 1] = [(start, middle), (middle, stop)]
        return cuts

    def batches(self, epoch: int) -> list[list[int]]:
        """All batches of this rank in an epoch."""
        order, steps = np.arange(len(self.lengths)), np.arange(len(self))
        if self.shuffle:
            # A counter-based generator of (seed, epoch): no state to keep.
            generator = np.random.Generator(np.random.Philox(key=[self.seed % 2**64, epoch]))
            order = generator.permutation(order)
            order = order[np.argsort(self.lengths[order], kind="stable")]
            steps = generator.permutation(steps)
        cuts = [self._cuts[step * self.ranks + self.rank] for step in steps.tolist()]
        return [order[start:stop].tolist() for start, stop in cuts]

    def __len__(self) -> int:
        return len(self._cuts) // self.ranks

    def __iter__(self) -> Iterator[list[int]]:
        batches = self.batches(self.epoch)
        self._position, self._resume = self._resume, 0
        for batch in batches[self._position :]:
            self._position += 1
            yield _Batch(batch, self.epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the order; a position that was loaded for another epoch is forgotten."""
        if epoch != self.epoch:
            self.epoch, self._resume, self._position = epoch, 0, 0

    def _identity(self) -> dict[str, int]:
        """What must be the same where a position is to mean the same."""
        vectors = int(self.lengths.sum())
        return {"seed": self.seed, "budget": self.budget, "ranks": self.ranks, "vectors": vectors}

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and how many of its batches were taken."""
        return {"epoch": self.epoch, "position": self._position, **self._identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken: the next iteration gives the rest of that epoch.

        The end of an epoch is the beginning of the next.

        Raises:
            InputError: a state of another seed, budget, number of ranks or data.
        """
        for name, mine in self._identity().items():
            if state[name] != mine:
                raise InputError(f"the batches to resume have {name} {state[name]}, expected {mine} as given now")
        over = state["position"] >= len(self)
        self.epoch = state["epoch"] + 1 if over else state["epoch"]
        self._resume = self._position = 0 if over else state["position"]


def measured(part: Dataset, budget: int, ranks: int = 1) -> tuple[Sequence[int], int]:
    """The length of each example and the budget by which batches of a data set are cut.

    A batch of streams is one segment of each, or, of several ranks, of those that are a rank's.

    Raises:
        InputError: segments that are more than the budget together, or streams that do not divide among the ranks.
    """
    streams: int = getattr(part, "streams", 0)
    if not streams:
        return part.lengths, budget
    longest = max(part.lengths, default=0)
    if streams * longest > budget * ranks:
        found = f"{streams} streams of segments of {longest} are {streams * longest} vectors at a time"
        raise InputError(f"{found}, expected at most the {budget * ranks} of training.batch_vectors")
    if streams % ranks:
        raise InputError(f"there are {streams} streams for {ranks} processes, expected a multiple of {ranks}")
    return [1] * len(part), streams // ranks


class _Batch(list[int]):
    """Indices that tell their epoch, so that it reaches the data set in whichever process reads it."""

    def __init__(self, indices: Sequence[int], epoch: int) -> None:
        super().__init__(indices)
        self.epoch = epoch

    def __reduce__(self) -> tuple[Any, ...]:
        return _Batch, (list(self), self.epoch)


class _Fetch:
    """A data set that is asked for whole batches and gives them packed."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        if isinstance(indices, _Batch) and hasattr(self.dataset, "set_epoch"):
            self.dataset.set_epoch(indices.epoch)
        if indices:
            return collate([self.dataset[i] for i in indices])
        return collate([self.dataset[0]]).emptied()


def _as_is(batch: Batch) -> Batch:
    return batch


def _end_without_finalizing(number: int) -> None:
    """Let this worker end as a forked one does, without tearing the interpreter down.

    The thread that sends batches may still be inside torch by then. Python 3.11 ends such a thread by unwinding its
    stack, which C++ answers with an abort, and the training process with "worker is killed by signal". After everything
    that `multiprocessing` cleans up itself (its priorities are -5 and above); a worker that failed ends the usual way.
    """
    util.Finalize(None, _exit_at_once, exitpriority=-100)


def _exit_at_once() -> None:
    if sys.exception() is None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(0)


def loader(dataset: Dataset, sampler: BudgetSampler, workers: int = 0, pin: bool = False) -> StatefulDataLoader:
    """Batches of `collate` in the sampler's order, read by `workers` processes (0 reads in this one).

    Its `state_dict()` between two batches, loaded into a new loader of the same data, gives exactly the batches that are
    left. Before each epoch the sampler's `set_epoch` is to be called; the data set hears of the epoch with each batch.
    Workers are spawned and live as long as the loader; a script that uses them needs `if __name__ == "__main__":`.
    """
    with warnings.catch_warnings():
        # torchdata 0.11 calls a function that torch 2.13 deprecates.
        warnings.filterwarnings("ignore", "'set_vital' is deprecated")
        return StatefulDataLoader(
            _Fetch(dataset),
            batch_sampler=sampler,
            collate_fn=_as_is,
            num_workers=workers,
            pin_memory=pin,
            multiprocessing_context="spawn" if workers else None,
            persistent_workers=workers > 0,
            worker_init_fn=_end_without_finalizing,
            # A generator of its own: making an iterator then leaves torch's global generator, and so dropout, alone.
            generator=torch.Generator().manual_seed(sampler.seed),
        )
