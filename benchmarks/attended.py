"""Who attends to whom in one sentence, in each of the efficient Transformers, as a picture for the docs."""

from __future__ import annotations

from textwrap import fill

import torch
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from regard import Attention, Layout, attend
from regard.attention.adapters.base import Adapter
from regard.attention.vocabulary import parse
from regard.layers.attention import Attend

__all__ = ["SENTENCE", "SYSTEMS", "attended", "weights"]

# The first words of Alice's Adventures in Wonderland (Lewis Carroll, 1865); rows of seven for those that read rows and columns.
_TEXT = (
    "Alice was beginning to get very tired of sitting by her sister on the bank and of having nothing to do once or "
    "twice she had peeped into the book her sister was reading but it had no pictures or conversations in it"
)
SENTENCE = _TEXT.split()
_COLUMNS = 7
# The published name and the text form, at sizes that fit a sentence.
SYSTEMS = {
    "full attention": "Attention()",
    "local": "Blocks(7)",
    "Image Transformer": "Near(1) & Causal()",
    "Sparse Transformer, strided": "(Window(6, 0), Stride(7) & Causal())",
    "Sparse Transformer, fixed": "Causal() & (Blocks(7) | BlockEnds(7, 1))",
    "BlockBERT": "(Blocks(7), Blocks(7, shift=1))",
    "Longformer, ETC": "Window(3, 3) | First(1)",
    "BigBird": "Window(3, 3) | First(3) | RandomBlocks(2, 3)",
    "Axial Transformer": 'Axes(Attention(), combine="sum")',
    "Memory Compressed": "MemoryCompressed(Attention(pattern=Causal()), rate=3)",
    "Reformer": "LSH(chunk=7, rounds=2)",
    "Routing Transformer": "Routing(clusters=6)",
    "Sinkhorn": "Sinkhorn(size=7)",
    "SortCut": "SortCut(size=7, first=1)",
    "Set Transformer": "induced, by way of 8 learned vectors",
    "Linformer": "Linformer(longest=43, k=8)",
    "Nystromformer": "Nystrom(landmarks=8)",
    "Synthesizer, mixed": 'Attention(score=Mixture((Synthesized(43, "random"), Dot())))',
    "Linear Transformer": "Attention(score=Kernel(), normalizer=Sum())",
    "Performer": "Attention(score=Kernel(Favor(32)), normalizer=Sum())",
}


def _vectors() -> Tensor:
    """`[n, 1, d]`: what each word is spelled like, as counts of letters and pairs of letters; words that share some are near."""
    parts = [[word[i : i + size].lower() for size in (1, 2) for i in range(len(word) + 1 - size)] for word in SENTENCE]
    known = {part: n for n, part in enumerate(sorted({part for word in parts for part in word}))}
    counts = torch.zeros(len(SENTENCE), 1, len(known))
    for n, word in enumerate(parts):
        for part in word:
            counts[n, 0, known[part]] += 1
    return torch.nn.functional.normalize(counts - counts.mean(0), dim=-1)


def weights(text: str) -> Tensor:
    """`[n, n]`: how much of the value of each word (column) the output of each (row) has, the mean of the heads.

    Whatever attends computes sums of values, so that its weights are what it makes of the rows of the identity. Queries and keys
    are what words are spelled like; what is learned is as it is before training.
    """
    if text.startswith("induced"):
        return _induced()
    value = parse(text)
    attention = value if isinstance(value, Attention | Adapter) else Attention(pattern=value)
    inner = attention.attention if isinstance(attention, Adapter) else attention
    heads, n = len(inner.patterns), len(SENTENCE)
    vectors = _vectors().expand(-1, heads, -1)
    d = vectors.shape[2]
    grid = torch.stack([torch.arange(n) // _COLUMNS, torch.arange(n) % _COLUMNS], 1).float()
    layout = Layout(torch.tensor([0, n]), grid)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(0)
        module = Attend(attention, heads, d, n)
        for name, tensor in module.learned.items():
            # A matrix per tap: neighbors are averaged, since a random matrix would mix the values of words.
            if name.startswith("compress"):
                tensor.copy_(torch.eye(tensor.shape[-1]).expand(tensor.shape) / tensor.shape[1])
        q, k = 2 * d**0.5 * vectors, vectors
        values = torch.eye(n)[:, None].expand(-1, heads, -1)
        return attend(attention, q, k, values, layout, parameters=module.parameters_of_attention).mean(1)


def _induced(number: int = 8) -> Tensor:
    """`[n, n]` of words to learned vectors to words, without the norms and the network between."""
    n, vectors = len(SENTENCE), _vectors()
    d = vectors.shape[2]
    points = torch.randn(number, 1, d, generator=torch.Generator().manual_seed(0)) * d**-0.5
    words, learned = Layout.of_lengths([n]), Layout.of_lengths([number])
    heard = attend(Attention(), 2 * d**0.5 * points, vectors, torch.eye(n)[:, None], learned, words)
    return attend(Attention(), 2 * d**0.5 * vectors, points, heard, words, learned)[:, 0]


def attended() -> Figure:
    """One panel per system: each word of the sentence down, the words that its output is made of across."""
    columns = 5
    rows = -(-len(SYSTEMS) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(3.1 * columns, 3.3 * rows), layout="constrained", squeeze=False)
    for axis in axes.flat[len(SYSTEMS) :]:
        axis.set_visible(False)
    for axis, (name, text) in zip(axes.flat, SYSTEMS.items(), strict=False):
        found = weights(text)
        # A few large weights would hide the others.
        most = float(found.abs().quantile(0.99))
        axis.imshow(found.numpy(), cmap="RdBu", vmin=-most, vmax=most, interpolation="nearest")
        axis.set_title(f"{name}\n{fill(text, 44)}", fontsize=7, color="#30343f")
        axis.set(xticks=[], yticks=[])
    ticks = range(0, len(SENTENCE), 3)
    axes[0, 0].set_yticks(ticks, [SENTENCE[n] for n in ticks], fontsize=6)
    return figure
