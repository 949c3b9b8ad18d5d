"""How fast sequences are written, beside Hugging Face's `generate` and CTranslate2, and how much the cache saves.

    python -m benchmarks.decoding [--threads N] [--repeats N]

All models have the sizes of the recipe `translation` and random weights; 64 sentences are written at once. No end is ever
chosen: each sentence gets a number of ids that is set beforehand, so that all write equally many. Seconds are those of the
processor, the least of several runs, all contestants taking turns. Writes `results/decoding.json`. The others are
peers (`make peers`).
"""

from __future__ import annotations

import argparse
import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.decoding_peers import WRITERS, Writer
from benchmarks.machine import machine, write
from regard.data.batch import Batch
from regard.data.encoding import BEGIN, END, Encoding
from regard.decoding.beam import beam
from regard.decoding.stepper import Limits, Stepper
from regard.decoding.walk import greedy
from regard.recipes.translation import translation
from regard.sets import VectorSets
from regard.train.kinds import build

__all__ = ["Recomputing", "main"]

_VOCABULARY = 6000
_SPECIAL = 3
_SENTENCES, _SHORT, _WIDTH = 64, 24, 5
_LONG, _FEW = 256, 8


class Recomputing:
    """Steps of a model that caches nothing: at each one the decoder reads all that is written so far.

    Args:
        model: not in training. batch: what is read.
    """

    def __init__(self, model: Any, batch: Batch) -> None:
        self.model, self.vocabulary = model, model.vocabulary
        self._memory = model.memory(batch)
        self._ids = torch.zeros(len(batch), 0, dtype=torch.int64)

    def __len__(self) -> int:
        return len(self._ids)

    @torch.no_grad()
    def next(self, ids: Tensor) -> Tensor:
        """See `Stepper`."""
        self._ids = torch.cat([self._ids, ids[:, None]], dim=1)
        hidden = self.model.teacher_forced(self._memory, VectorSets.pack(list(self._ids)))
        scores: Tensor = self.model.logits(hidden.values[hidden.layout.offsets[1:] - 1])
        return scores

    def select(self, rows: Tensor) -> None:
        """See `Stepper`."""
        self._ids, self._memory = self._ids[rows], self._memory.select(rows)


def sentences(count: int) -> list[Tensor]:
    """Sources of 8 to 19 ids, about as many as those of Multi30k have."""
    draw = torch.Generator().manual_seed(1)
    lengths = torch.randint(8, 20, (count,), generator=draw).tolist()
    return [torch.randint(_SPECIAL, _VOCABULARY, (length,), generator=draw) for length in lengths]


def our_model() -> Any:
    """The recipe's model with random weights."""
    torch.manual_seed(0)
    columns = {"token": ("<unknown>", BEGIN, END, *map(str, range(_VOCABULARY - _SPECIAL)))}
    return build(translation().model, Encoding(Encoding(columns=columns), columns=columns)).eval()


@torch.no_grad()
def ours(
    model: Any, sources: Sequence[Tensor], lengths: Sequence[int], width: int, cached: bool = True
) -> list[tuple[int, ...]]:
    """The ids of each sentence."""
    batch = Batch(VectorSets.pack(list(sources)), names=tuple(map(str, range(len(sources)))))
    limits = Limits(1, None, (0, 1, 2), torch.tensor(lengths))
    stepper: Stepper = model.stepper(batch) if cached else Recomputing(model, batch)
    found = greedy(stepper, limits) if width == 1 else beam(stepper, limits, width)
    return [one[0].ids for one in found]


def seconds(contestants: Sequence[Callable[[], Any]], repeats: int) -> list[float]:
    """Of the processor, the least of several runs, all of which have run before; contestants take turns."""
    least = [float("inf")] * len(contestants)
    for _ in range(repeats):
        for n, each in enumerate(contestants):
            begin = time.process_time()
            each()
            least[n] = min(least[n], time.process_time() - begin)
    return least


def beside_others(model: Any, writers: Mapping[str, Writer], repeats: int) -> list[dict[str, Any]]:
    """A row for each way to search: ids written in a second by our model, by the others, and the ratio to each of them."""
    sources, lengths, rows = sentences(_SENTENCES), [_SHORT] * _SENTENCES, []
    for name, width in (("greedy", 1), (f"beam {_WIDTH}", _WIDTH)):
        contestants: list[Callable[[], Any]] = [partial(ours, model, sources, lengths, width)]
        contestants += [partial(each, sources, _SHORT, width) for each in writers.values()]
        assert all([len(ids) for ids in each()] == lengths for each in contestants)
        rates = [sum(lengths) / each for each in seconds(contestants, repeats)]
        row: dict[str, Any] = {
            "search": f"{name}, {_SENTENCES} sentences of {_SHORT} ids",
            "tokens per second": round(rates[0]),
        }
        for writer, rate in zip(writers, rates[1:], strict=True):
            row |= {writer: round(rate), f"times as fast as {writer}": round(rates[0] / rate, 2)}
        rows.append(row)
    return rows


def beside_recomputing(model: Any, repeats: int) -> dict[str, Any]:
    """The row of the cache: few sentences of many ids, written again and again from the beginning; both write the same."""
    sources, lengths = sentences(_FEW), [_LONG] * _FEW
    contestants = [partial(ours, model, sources, lengths, 1, cached) for cached in (True, False)]
    assert contestants[0]() == contestants[1]()
    rates = [sum(lengths) / each for each in seconds(contestants, repeats)]
    return {
        "search": f"greedy, {_FEW} sentences of {_LONG} ids",
        "tokens per second": round(rates[0]),
        "recomputing": round(rates[1]),
        "times as fast as recomputing": round(rates[0] / rates[1], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = our_model()
    writers = {}
    for name, make in WRITERS.items():
        with contextlib.suppress(ImportError):
            writers[name] = make(translation().model, _VOCABULARY)
    rows = [*beside_others(model, writers, options.repeats), beside_recomputing(model, 1)]
    about = f"{_SENTENCES} sentences at once, {_VOCABULARY:,} ids, the sizes of the recipe translation, random weights"
    write("decoding", {"case": "decoding", "data": about, "rows": rows, "machine": machine()})


if __name__ == "__main__":
    main()
