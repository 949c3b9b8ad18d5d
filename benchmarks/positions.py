"""Positions compared: one small encoder puts back the spaces of running text, trained on 32 letters, tested on 32, 64 and 128.

    python -m benchmarks.positions train [--only 'NAME|NAME'] [--seeds 0 1 2] [--folder runs/bench/positions]
    python -m benchmarks.positions report [--folder runs/bench/positions]
    python -m benchmarks.positions cost

The letters of novels, lower case, without spaces and other signs; each letter is labelled by whether its word ends with it, and the
quality is the F1 of these ends. They follow from the order of the letters around, hardly from which letters there are, and with
attention to everyone on both sides all order comes from the positions. Of each of 12 authors one novel trains, one
validates, one tests; the same letters of it are cut into sets of 32, 64 and 128.

`train` trains and validates, and skips runs that are there. `report` opens the test novels, once, and writes
`results/positions.json`; then `python -m benchmarks.position_figures` keeps what is drawn of the first seed. They need REGARD_DATA.
`cost` measures the time that FLOATER takes.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import tarfile
import time
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_model, save_model
from scipy.sparse import csr_matrix
from sklearn.linear_model import SGDClassifier
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.machine import machine, write
from regard.data.batch import Batch
from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.layers.attention import SelfAttention
from regard.layers.floater import Floater
from regard.layers.positions import Learned
from regard.models.encoder import Encoder
from regard.models.model import Model
from regard.sets import Layout, VectorSets
from regard.train.experiment import changed
from regard.train.kinds import build

__all__ = ["LENGTH", "LENGTHS", "METHODS", "Speller", "cut", "held", "lengthened", "letters", "opened", "place_of"]

LENGTH, LENGTHS = 32, (32, 64, 128)
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
SIZES: dict[str, Any] = {"width": 64, "layers": 2, "heads": 4, "feed_forward": 128, "dropout": 0.0}
SETS, STEPS, RATE = 16, 2000, 3e-3
# Letters of each novel, behind so many characters of titles and contents.
SKIP, TRAIN, HELD = 20_000, 90_112, 8_192
_NONE = {"positions.type": "none"}
_WAYS = "pattern=(Causal(), ~Causal(), Causal(), ~Causal())"
METHODS: dict[str, dict[str, Any]] = {
    "none": _NONE,
    "sinusoidal": {"positions.type": "sinusoidal"},
    "learned": {"positions.type": "learned", "positions.longest": LENGTH},
    "Shaw": _NONE | {"attention": f"Attention(bias=Shaw(radius={LENGTH // 2}))"},
    "T5": _NONE | {"attention": f"Attention(bias=T5(max_distance={LENGTH}))"},
    "TransformerXL": _NONE | {"attention": "Attention(bias=TransformerXL())"},
    "rotary": {"positions.type": "rotary"},
    "ALiBi": _NONE | {"attention": "Attention(bias=ALiBi())"},
    "ALiBi, one-way heads": _NONE | {"attention": f"Attention({_WAYS}, bias=ALiBi())"},
    "FLOATER": {"positions.type": "floater"},
}
# Of the paper on FLOATER: has it something to say of places never seen, is it learned, does its size stay as sets grow?
_KINDS = {
    "none": ("", "no", "yes"),
    "sinusoidal": ("yes", "no", "yes"),
    "learned": ("no", "yes", "no"),
    "Shaw": ("yes, beyond 16 as at 16", "yes", "yes"),
    "T5": ("yes, in wide buckets", "yes", "yes"),
    "TransformerXL": ("yes", "yes", "yes"),
    "rotary": ("yes", "no", "yes"),
    "ALiBi": ("yes", "no", "yes"),
    "ALiBi, one-way heads": ("yes", "no", "yes"),
    "FLOATER": ("yes", "yes", "yes"),
}
Letters = tuple[Tensor, Tensor]


class Speller(nn.Module):
    """From letters to the logit that a word ends there."""

    def __init__(self, method: str) -> None:
        super().__init__()
        encoding = Encoding(columns={"letter": ("?", *ALPHABET)})
        self.encoder: Model = build(changed(Encoder(**SIZES), METHODS[method]), encoding)
        self.head = nn.Linear(SIZES["width"], 1)

    def forward(self, ids: Tensor) -> Tensor:
        """`[t]` for sets of letters, `[sets, length]`."""
        out: Tensor = self.head(self.encoder(Batch(VectorSets(ids.flatten(), _layout(*ids.shape)))).values)
        return out[:, 0]


@lru_cache(maxsize=8)
def _layout(sets: int, length: int) -> Layout:
    """One for all batches of these sizes, with all that is derived from it."""
    return Layout.of_lengths([length] * sets)


def letters(part: str) -> Letters:
    """Ids of letters, 1 to 26, and whether a word ends there, of one novel of each author, one novel after another."""
    number, most = ("train", "validation", "test").index(part), TRAIN if part == "train" else HELD
    ids: list[NDArray[np.int64]] = []
    ends: list[NDArray[np.float32]] = []
    for text in _novels(number):
        words = re.findall("[a-z]+", text[SKIP : SKIP + 2 * most].lower())
        joined = np.frombuffer("".join(words).encode(), np.uint8)
        last = np.zeros(len(joined), np.float32)
        last[np.cumsum([len(word) for word in words]) - 1] = 1
        ids.append(joined[:most].astype(np.int64) - ord("a") + 1)
        ends.append(last[:most])
    return torch.from_numpy(np.concatenate(ids)), torch.from_numpy(np.concatenate(ends))


def _novels(number: int) -> Iterator[str]:
    """The text of this one of the three novels of each author, by title."""
    with tarfile.open(Path(os.environ["REGARD_DATA"]) / "novels" / "novels.tar.xz") as archive:
        by_author: dict[str, list[tarfile.TarInfo]] = {}
        for member in sorted(archive.getmembers(), key=lambda each: each.name):
            by_author.setdefault(Path(member.name).name.partition("_")[0], []).append(member)
        wanted = {novels[number].name for novels in by_author.values() if len(novels) > number}
        for member in archive:
            file = archive.extractfile(member) if member.name in wanted else None
            if file is not None:
                yield file.read().decode("utf-8", "replace")


def cut(given: Letters, length: int) -> Letters:
    """`[sets, length]` of each; letters that fill no set are left."""
    ids, ends = (x[: len(x) // length * length].view(-1, length) for x in given)
    return ids, ends


def f1(model: nn.Module, given: Letters, length: int) -> float:
    """2 P R / (P + R) of the ends of words, decided at a probability of one half."""
    ids, ends = cut(given, length)
    with torch.inference_mode():
        found = torch.cat([model(each) for each in ids.split(16_384 // length)]) > 0
    return score(found, ends.flatten() > 0)


def score(found: Tensor, true: Tensor) -> float:
    return round(2 * int((found & true).sum()) / max(1, int(found.sum() + true.sum())), 4)


def held(model: Speller, given: Letters) -> dict[str, float | str]:
    """The quality at each length, or that the positions refuse it."""
    qualities: dict[str, float | str] = {}
    for length in LENGTHS:
        try:
            qualities[str(length)] = f1(model.eval(), given, length)
        except InputError:
            qualities[str(length)] = "refuses"
    return qualities


def train(method: str, seed: int) -> tuple[Speller, float]:
    """The model and the seconds that it took."""
    torch.manual_seed(seed)
    model, (ids, ends) = Speller(method), cut(letters("train"), LENGTH)
    optimizer = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS, pct_start=0.1)
    order, begin = torch.randperm(len(ids))[: STEPS * SETS].split(SETS), time.perf_counter()
    for chosen in order:
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(model(ids[chosen]), ends[chosen].flatten()).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model, time.perf_counter() - begin


def train_all(names: list[str], seeds: list[int], folder: Path) -> None:
    """Writes the weights and what the validation novels say of each run."""
    validation = letters("validation")
    for seed in seeds:
        for name in names:
            place = place_of(folder, name, seed)
            if not place.with_suffix(".json").exists():
                model, seconds = train(name, seed)
                found = {"seconds": round(seconds, 1), "validation": held(model, validation)}
                place.parent.mkdir(parents=True, exist_ok=True)
                save_model(model, str(place))
                place.with_suffix(".json").write_text(json.dumps(found))
                print(name, seed, found, flush=True)


def place_of(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name.replace(',', '').replace(' ', '-')}.{seed}.safetensors"


def opened(name: str, place: Path) -> Speller:
    model = Speller(name)
    load_model(model, str(place))
    return model.eval()


def lengthened(model: Speller) -> Speller:
    """Learned positions with places up to the greatest length; the new ones are as they begin, never trained."""
    position = model.encoder.positions.added
    assert isinstance(position, Learned)
    longer = Learned(position.width, (max(LENGTHS),))
    with torch.no_grad():
        longer.tables[0][: position.extent[0]] = position.tables[0]
    model.encoder.positions.added = longer
    return model


def linear(train: Letters, test: Letters) -> dict[str, float | str]:
    """The quality of a linear model on the one, two and three letters at each place around a letter, at each length."""
    ids, ends = cut(train, LENGTH)
    model = SGDClassifier(loss="log_loss", alpha=1e-6, max_iter=5, tol=None, random_state=0)
    model.fit(_around(ids), ends.flatten().numpy())
    qualities: dict[str, float | str] = {}
    for length in LENGTHS:
        ids, ends = cut(test, length)
        qualities[str(length)] = score(torch.from_numpy(model.predict(_around(ids))) > 0, ends.flatten() > 0)
    return qualities


def _around(ids: Tensor, reach: int = 4) -> Any:
    """`[t, features]` sparse: which one, two and three letters stand at each place up to `reach` away, 0 beyond the ends."""
    base, length = len(ALPHABET) + 1, ids.shape[1]
    padded = np.pad(ids.numpy(), ((0, 0), (reach, reach)))
    places = [padded[:, n : n + length].ravel() for n in range(2 * reach + 1)]
    columns, first = [], 0
    for size in (1, 2, 3):
        for n in range(len(places) - size + 1):
            columns.append(first + sum(letter * base**k for k, letter in enumerate(places[n : n + size])))
            first += base**size
    indices = np.stack(columns, 1).astype(np.int32)
    starts = np.arange(0, indices.size + 1, indices.shape[1], dtype=np.int32)
    return csr_matrix((np.ones(indices.size, np.float32), indices.ravel(), starts), shape=(len(indices), first))


def _row(name: str, places: list[Path], models: list[Speller], test: Letters) -> dict[str, Any]:
    qualities = [held(model, test) for model in models]
    seconds = statistics.median(json.loads(place.with_suffix(".json").read_text())["seconds"] for place in places)
    values = [float(each[str(LENGTH)]) for each in qualities]
    parameters = sum(p.numel() for p in models[0].parameters())
    inductive, learned, efficient = _KINDS[name]
    return {
        "model": name,
        "metric": "F1 of word ends",
        "seeds": list(range(len(values))),
        "values": values,
        "mean": round(statistics.mean(values), 4),
        "sd": _deviation(values),
        **{f"at {length}": _shown([each[str(length)] for each in qualities]) for length in LENGTHS[1:]},
        "parameters": parameters,
        "of positions": parameters - sum(p.numel() for p in Speller("none").parameters()),
        "epochs": 1,
        "seconds": seconds,
        "inductive": inductive,
        "data-driven": learned,
        "parameter-efficient": efficient,
    }


def _shown(qualities: list[float | str]) -> str:
    numbers = [each for each in qualities if isinstance(each, float)]
    if len(numbers) < len(qualities):
        return "refuses"
    return f"{statistics.mean(numbers):.4f} ± {_deviation(numbers):.4f}"


def _deviation(numbers: list[float]) -> float:
    return round(statistics.stdev(numbers), 4) if len(numbers) > 1 else 0.0


def report(folder: Path) -> None:
    """Opens the test novels, writes the table, and the maps of the first seed."""
    test, train = letters("test"), letters("train")
    rows = []
    for name in METHODS:
        places = [place for seed in range(9) if (place := place_of(folder, name, seed)).exists()]
        models = [opened(name, place) for place in places]
        if models:
            rows.append(_row(name, places, models, test))
        if models and name == "learned":
            row = _row(name, places, [lengthened(model) for model in models], test)
            rows.append(row | {"model": f"learned, {max(LENGTHS)} places, of which {LENGTH} were trained"})
    every: dict[str, float | str] = {
        str(length): score(torch.ones_like(ends) > 0, ends > 0) for length in LENGTHS for _, ends in [test]
    }
    simple: dict[str, dict[str, float | str]] = {
        "linear model on letters, pairs and triples": linear(train, test),
        "every letter ends a word": every,
    }
    for model, found in simple.items():
        longer = {f"at {length}": f"{found[str(length)]:.4f}" for length in LENGTHS[1:]}
        rows.append({"model": model, "metric": "F1 of word ends", "mean": found[str(LENGTH)], **longer})
    data = f"36 novels; {len(train[0]):,} letters to train, {len(test[0]):,} to test"
    split = (
        f"of each author's three novels one trains, one validates, one tests; trained and tested at {LENGTH} letters"
    )
    result = {"case": "positions", "data": data, "split": split, "rows": rows, "summary": verdict(rows)}
    write("positions", result | {"machine": machine()})


def verdict(rows: list[dict[str, Any]], points: float = 0.02) -> dict[str, str]:
    """Which methods lose at most so much from the trained length to twice and four times it, those learned from data first."""
    trained = [row for row in rows if "seeds" in row and row["model"] != "none"]
    found: dict[str, str] = {}
    for length in LENGTHS[1:]:
        kept = [row for row in trained if _number(row[f"at {length}"]) >= row["mean"] - points]
        kept.sort(key=lambda row: row["data-driven"] != "yes")
        names = [row["model"] + (" (learned from data)" if row["data-driven"] == "yes" else "") for row in kept]
        found[f"within {points * 100:.0f} points at {length}"] = ", ".join(names) or "none"
    return found


def _number(shown: str) -> float:
    return -1.0 if shown == "refuses" else float(shown.split(" ± ")[0])


def cost(repeats: int = 9) -> None:
    """Writes what FLOATER takes, which solves place after place, beside one block of attention over one set as long."""
    rows = []
    for width, layers, heads in ((64, 2, 4), (512, 6, 8)):
        floater, block = Floater(width, layers), SelfAttention(width, heads)
        for length in (128, 512, 2048):
            sets = VectorSets(torch.randn(length, width), _layout(1, length))
            solve = _milliseconds(partial(floater, sets.layout, length), repeats)
            attend = _milliseconds(partial(_mixed, block, sets), repeats)
            about = {"width": width, "blocks": layers, "places": length, "FLOATER, all blocks, ms": round(solve, 1)}
            rows.append(about | {"one self-attention, one set, ms": round(attend, 1)})
    data = "forward and backward, the median of nine"
    write("positions-cost", {"case": "positions-cost", "data": data, "rows": rows, "machine": machine()})


def _mixed(mixer: nn.Module, sets: VectorSets) -> Tensor:
    out: Tensor = mixer(sets).values
    return out


def _milliseconds(step: Callable[[], Tensor], repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        step().sum().backward()
        times.append(time.perf_counter() - begin)
    return statistics.median(times[1:]) * 1e3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["train", "report", "cost"])
    parser.add_argument("--only", default="|".join(METHODS), help="names of METHODS, with | between them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--folder", type=Path, default=Path("runs/bench/positions"))
    options = parser.parse_args()
    if options.what == "report":
        report(options.folder)
    elif options.what == "cost":
        cost()
    else:
        train_all(options.only.split("|"), options.seeds, options.folder)


if __name__ == "__main__":
    main()
