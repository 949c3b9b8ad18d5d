"""Encoder of EWT sentences: packed sets against `torch.nn.TransformerEncoder` on padded batches of the same sentences.

    python -m benchmarks.encoder [--repeats 5] [--device cpu]

Both have the same weights and dropout and do forward and backward of the same sentences, 64 in a batch; a figure is real words per
second, the median over interleaved repeats. Ours and `padded` get the sentences in random order, `bucketed` (padded as well) gets
sentences of about the same length in a batch. Needs REGARD_DATA.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

from benchmarks.machine import machine, write
from regard.data.registry import locate
from regard.data.text import Conllu
from regard.layers.attention import SelfAttention
from regard.layers.blocks import Block, FeedForward, Stack
from regard.sets import VectorSets

WIDTH, LAYERS, HEADS, HIDDEN, SENTENCES, BATCHES = 256, 4, 8, 1024, 64, 8


def encoders(dropout: float) -> tuple[Stack, nn.TransformerEncoder]:
    """Ours and torch's, with the same weights."""
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, dropout, batch_first=True, norm_first=True)
    theirs = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
    ours = Stack(
        [
            Block(
                SelfAttention(WIDTH, HEADS, dropout=dropout),
                FeedForward(WIDTH, HIDDEN, dropout),
                WIDTH,
                dropout=dropout,
            )
            for _ in range(LAYERS)
        ],
        WIDTH,
    )
    ours.load_state_dict(renamed(theirs))
    return ours, theirs


def renamed(theirs: nn.TransformerEncoder) -> dict[str, torch.Tensor]:
    """Torch's weights under our names."""
    names = {
        "self_attn.in_proj_": "mixer.project.",
        "self_attn.out_proj": "mixer.out",
        "linear1": "feed_forward.into",
        "linear2": "feed_forward.out",
        "norm1": "norm_mixer",
        "norm2": "norm_feed_forward",
        "layers.": "blocks.",
    }
    state = {}
    for name, tensor in theirs.state_dict().items():
        for old, new in names.items():
            name = name.replace(old, new)
        state[name] = tensor
    return state


def batches() -> list[VectorSets]:
    """Random vectors for the words of random training sentences."""
    locate("ud-english-ewt")
    reader = Conllu()
    part = reader.part("train", reader.fit())
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(part), generator=generator)[: SENTENCES * BATCHES].view(BATCHES, SENTENCES)
    return [
        VectorSets.pack([torch.randn(part.lengths[i], WIDTH, generator=generator) for i in batch.tolist()])
        for batch in chosen
    ]


def bucketed(given: list[VectorSets]) -> list[VectorSets]:
    """The same sentences, each batch of about the same length."""
    every = sorted((s for sets in given for s in sets.values.split(sets.layout.lengths.tolist())), key=len)
    return [VectorSets.pack(every[at : at + SENTENCES]) for at in range(0, len(every), SENTENCES)]


def padding(given: list[VectorSets]) -> float:
    """The share of padding where each batch is padded to its longest sentence."""
    return round(1 - sum(len(s.values) for s in given) / sum(len(s) * s.layout.longest for s in given), 3)


def seconds(step: Callable[[VectorSets], torch.Tensor], model: nn.Module, given: list[VectorSets]) -> float:
    begin = time.perf_counter()
    for sets in given:
        model.zero_grad()
        step(sets).backward()
    if given[0].device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - begin


def compare(dropout: float, repeats: int, device: str) -> dict[str, object]:
    torch.manual_seed(0)
    ours, theirs = (model.to(device) for model in encoders(dropout))
    given = [sets.to(device) for sets in batches()]

    def packed(sets: VectorSets) -> torch.Tensor:
        # A fresh layout for each step: what is derived from it is part of the price.
        return ours(VectorSets(sets.values, type(sets.layout)(sets.offsets))).values.square().sum()

    def padded(sets: VectorSets) -> torch.Tensor:
        values, mask = sets.to_padded()
        return theirs(values, src_key_padding_mask=~mask)[mask].square().sum()

    if dropout == 0:
        torch.testing.assert_close(packed(given[0]), padded(given[0]), rtol=1e-4, atol=1e-2)
    alike = bucketed(given)
    times: dict[str, list[float]] = {"packed": [], "padded": [], "bucketed": []}
    for _ in range(repeats + 1):
        times["packed"].append(seconds(packed, ours, given))
        times["padded"].append(seconds(padded, theirs, given))
        times["bucketed"].append(seconds(padded, theirs, alike))
    words = sum(len(sets.values) for sets in given)
    median = {name: statistics.median(each[1:]) for name, each in times.items()}
    return {
        "dropout": dropout,
        "words per second": {name: round(words / t) for name, t in median.items()},
        "packed to": {name: round(median[name] / median["packed"], 2) for name in ("padded", "bucketed")},
        "padding": {"padded": padding(given), "bucketed": padding(alike)},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    options = parser.parse_args()
    rows = [compare(dropout, options.repeats, options.device) for dropout in (0.0, 0.1)]
    name = "encoder" if options.device == "cpu" else "encoder-cuda"
    about = machine() | ({} if options.device == "cpu" else {"device": torch.cuda.get_device_name()})
    write(name, {"case": "encoder", "sizes": [WIDTH, LAYERS, HEADS, HIDDEN], "rows": rows, "machine": about})


if __name__ == "__main__":
    main()
