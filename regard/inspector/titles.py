"""What the attentions of a model are called for people: a number, a kind, and where it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

__all__ = ["titles"]

_KINDS = {"self": "self-attention", "cross": "cross-attention", "pooling": "pooling"}
_INDUCED = {"gather": "from learned vectors", "spread": "to learned vectors"}


def titles(attentions: Sequence[tuple[str, str]]) -> list[str]:
    """What each of a model's attentions is called, by its module's name and its kind; numbers count from 0, as `--layer` does.

    >>> titles([("model.stack.blocks.0.mixer.attend", "self"), ("task.pool.attend", "pooling")])
    ['layer 0, self-attention', 'layer 1, pooling']
    >>> titles([("model.encoder.stack.blocks.0.mixer.attend", "self"), ("model.decoder.blocks.0.cross.attend", "cross")])
    ['layer 0, self-attention, block 0 of the encoder', 'layer 1, cross-attention, block 0 of the decoder']
    """
    times, turn = Counter(attentions), Counter[tuple[str, str]]()
    found = []
    for n, (module, kind) in enumerate(attentions):
        parts = module.split(".")
        title = [f"layer {n}", " ".join(filter(None, [_KINDS[kind], *(_INDUCED.get(part) for part in parts)]))]
        side = next((part for part in ("encoder", "decoder") if part in parts), None)
        block = next((int(part) for part in reversed(parts) if part.isdecimal()), None)
        if block is not None and (side is not None or block != n):
            title.append(f"block {block}" + (f" of the {side}" if side else ""))
        elif side is not None:
            title.append(f"of the {side}")
        turn[module, kind] += 1
        if times[module, kind] > 1:
            title.append(f"part {turn[module, kind]} of {times[module, kind]}")
        found.append(", ".join(title))
    return found
