"""What each adapter that reduces keys means, set by set and head by head, as its paper writes it."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from regard.attention.adapters.linformer import Linformer
from regard.attention.reference import reference
from regard.attention.spec.attention import Attention
from regard.sets import Layout

from .catalogue import Inputs


def each_set(x: Inputs) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
    """For each set its query rows, and its keys and values in order of their places `[n, h, width]`, for each head."""
    for b in range(x.layout.sets):
        ours, theirs = (slice(*layout.offsets[b : b + 2].tolist()) for layout in (x.layout, x.key_layout))
        place = x.key_layout.index[theirs]
        order = place.argsort()
        times = x.q.shape[1] // x.k.shape[1]
        k, v = (y[theirs][order].repeat_interleave(times, 1) for y in (x.k, x.v))
        yield ours, k, v, place[order]


def over(attention: Attention, q: Tensor, k: Tensor, v: Tensor, parameters: dict[str, Tensor]) -> Tensor:
    """Attention of these queries over these keys, as one set."""
    return reference(attention, q, k, v, Layout.of_lengths([len(q)]), Layout.of_lengths([len(k)]), parameters)


def joined(x: Inputs, outputs: list[Tensor]) -> Tensor:
    return torch.cat(outputs) if outputs else x.q.new_zeros(0, x.q.shape[1], x.v.shape[2])


def linformer(adapter: Linformer, x: Inputs) -> Tensor:
    """softmax(Q (E K)^T / sqrt(d)) (F V), with the columns of E and F that belong to the places of the set."""
    outputs = []
    for ours, k, v, place in each_set(x):
        e = x.parameters["project_keys"][place]
        f = x.parameters.get("project_values", x.parameters["project_keys"])[place]
        heads = range(x.q.shape[1])
        e, f = (y.expand(-1, len(heads), -1) for y in (e, f))
        keys, values = (torch.stack([w[:, h].T @ y[:, h] for h in heads], 1) for w, y in ((e, k), (f, v)))
        number = adapter.k if len(k) else 0
        outputs.append(over(adapter.attention, x.q[ours], keys[:number], values[:number], x.parameters))
    return joined(x, outputs)


REDUCTIONS: dict[type, Callable[[Any, Inputs], Tensor]] = {Linformer: linformer}
