"""What each adapter that reduces keys means, set by set and head by head, as its paper writes it."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import conv1d

from regard.attention.adapters.linformer import Linformer
from regard.attention.adapters.memory_compressed import MemoryCompressed
from regard.attention.adapters.nystrom import Nystrom
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


def memory_compressed(adapter: MemoryCompressed, x: Inputs) -> Tensor:
    """A convolution of kernel and stride c over each set by itself, with zeros where it ends, and attention to its results.

    Keys at places of their own, of which the reference is told, see patterns and biases as the last vector of their group would.
    """
    layout, heads = grouped(x.key_layout, adapter.rate)[0], x.q.shape[1]
    keys, values = [], []
    for _, k, v, place in each_set(x):
        end = -(-int(place[-1] + 1) // adapter.rate) * adapter.rate if len(place) else 0
        for y, taps, found in ((k, "compress_keys", keys), (v, "compress_values", values)):
            line = y.new_zeros(end, *y.shape[1:]).index_copy(0, place, y)
            weight = x.parameters[taps].permute(0, 3, 2, 1).flatten(0, 1)
            if end:
                channels = line.flatten(1).T[None]
                out = conv1d(channels, weight, stride=adapter.rate, groups=heads)
                found.append(out[0].T.unflatten(1, (heads, -1)))
    both = ((keys, x.k), (values, x.v))
    k, v = (torch.cat([y.new_zeros(0, heads, y.shape[2]), *found]) for found, y in both)
    return reference(adapter.attention, x.q, k, v, x.layout, layout, x.parameters)


def nystrom(adapter: Nystrom, x: Inputs) -> Tensor:
    """Full attention of sets with a landmark for every query or key; of others eq. 11 to 14, every set and head by itself."""
    m, outputs, heads = adapter.landmarks, [], x.q.shape[1]
    for b, (ours, k, v, _) in enumerate(each_set(x)):
        q = x.q[ours][x.layout.index[ours].argsort()]
        out = over(adapter.attention, q, k, v, x.parameters)
        if min(len(q), len(k)) > m:
            q_mean, k_mean = (
                torch.stack([y[s * len(y) // m : (s + 1) * len(y) // m].mean(0) for s in range(m)]) for y in (q, k)
            )
            eye, columns = torch.eye(m, dtype=q.dtype), torch.eye(m, dtype=q.dtype)[:, None].expand(-1, heads, -1)
            a = over(adapter.attention, q_mean, k_mean, columns, x.parameters)
            heard = over(adapter.attention, q_mean, k, v, x.parameters)
            values = []
            for h in range(heads):
                z = a[:, h].T / (a[:, h].sum(0).max() * a[:, h].sum(1).max().detach())
                for _ in range(adapter.iterations):
                    product = a[:, h] @ z
                    z = z @ (13 * eye - product @ (15 * eye - product @ (7 * eye - product))) / 4
                values.append(z @ heard[:, h])
            out = over(adapter.attention, q, k_mean, torch.stack(values, 1), x.parameters)
        for r in range(adapter.kernel):
            before = adapter.kernel // 2 - r
            moved = (
                torch.stack(
                    [v[n - before] if 0 <= n - before < len(v) else torch.zeros_like(v[0]) for n in range(len(v))]
                )
                if len(v)
                else v
            )
            out = out + x.parameters["value_taps"][r][:, None] * moved
        outputs.append(out[x.layout.index[ours].argsort().argsort()])
        assert b == len(outputs) - 1
    return joined(x, outputs)


def grouped(layout: Layout, rate: int) -> tuple[Layout, Tensor]:
    """The groups of a layout whose sets begin at place 0, with the last place of each, and `[t]` the group of each row."""
    lengths = [-(-n // rate) for n in layout.lengths.tolist()]
    places = torch.cat([torch.arange(n) * rate + rate - 1 for n in lengths] or [torch.zeros(0, dtype=torch.int64)])
    groups = Layout(Layout.of_lengths(lengths).offsets, places=places)
    return groups, groups.offsets[:-1][layout.set_of_row] + layout.index // rate


REDUCTIONS: dict[type, Callable[[Any, Inputs], Tensor]] = {
    Linformer: linformer,
    MemoryCompressed: memory_compressed,
    Nystrom: nystrom,
}
