"""How earlier versions wrote configurations and named weights, and what is said of it now.

Everything that a change renames stands here, so that runs trained before still open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from regard.errors import InputError

__all__ = ["now_named", "refuse_moved", "with_moved_options"]

T = TypeVar("T")

# Types that have another name now, by section.
_TYPES = {"model": {"GraphAttentionNetwork": "GraphNetwork"}}
# Options that have moved into a piece, by the type that has them.
_FRONT = {"characters", "ngrams", "buckets", "vectors", "word_dropout", "step", "class_vector"}
_OPTIONS = {
    "Encoder": {name: f"front.{name}" for name in _FRONT}
    | {
        "embedding_deviation": "front.deviation",
        "input_dropout": "front.dropout",
        "longest": "positions.longest",
        "neighbors": "mixing.neighbors",
        "bidirectional": "mixing.bidirectional",
    }
}
# Beginnings of the names of a model's weights. No name of today begins as one of then.
_WEIGHTS = {
    "model.front.vector": "model.class_vector.vector",
    "model.embed.": "model.front.embed.",
    "model.ngrams.": "model.front.ngrams.",
    "model.spell.": "model.front.characters.spell.",
    "model.join.": "model.front.characters.join.",
    "model.stem.": "model.front.stem.",
    "model.position.": "model.positions.added.",
    "model.floater.": "model.positions.floater.",
    "model.blocks.": "model.stack.blocks.",
    "model.norm.": "model.stack.norm.",
    "model.layers.": "model.stack.layers.",
    "model.encoder.front.embed.stages.": "model.encoder.front.stem.stages.",
}


def with_moved_options(section: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a section as they are called now.

    >>> with_moved_options("model", {"type": "Encoder", "width": 8, "step": 2, "positions": "rotary"})
    {'type': 'Encoder', 'width': 8, 'positions': 'rotary', 'front': {'step': 2}}
    >>> with_moved_options("model", {"type": "Encoder", "longest": 9, "positions": "learned"})
    {'type': 'Encoder', 'positions': {'type': 'learned', 'longest': 9}}
    """
    name = options.get("type")
    if isinstance(name, str):
        name = _TYPES.get(section, {}).get(name, name)
        options = {**options, "type": name}
    moved = _OPTIONS.get(str(name), {}) if section == "model" else {}
    now = {option: value for option, value in options.items() if option not in moved}
    for option, place in moved.items():
        if option in options:
            group, _, inner = place.partition(".")
            before = now.get(group, {})
            before = dict(before) if isinstance(before, Mapping) else {"type": before}
            now[group] = before | {inner: options[option]}
    return now


def refuse_moved(section: str, kind: str, option: str) -> None:
    """Say where an option of the command line has gone.

    Raises:
        InputError: an option, or the name of a type, that is called otherwise now.

    >>> refuse_moved("model", "Encoder", "step")
    Traceback (most recent call last):
    regard.errors.InputError: --model.step is now --model.front.step
    """
    if kind in _TYPES.get(section, {}):
        raise InputError(f"{section}.type {kind!r} is now {_TYPES[section][kind]!r}")
    if section == "model" and option in _OPTIONS.get(kind, {}):
        raise InputError(f"--model.{option} is now --model.{_OPTIONS[kind][option]}")


def now_named(weights: Mapping[str, T]) -> dict[str, T]:
    """Weights under the names that they have now.

    >>> now_named({"model.embed.tables.0.weight": 1, "model.stack.norm.weight": 2, "task.head.bias": 3})
    {'model.front.embed.tables.0.weight': 1, 'model.stack.norm.weight': 2, 'task.head.bias': 3}
    """
    return {_now(name): value for name, value in weights.items()}


def _now(name: str) -> str:
    for then, now in _WEIGHTS.items():
        if name.startswith(then):
            return now + name.removeprefix(then)
    return name
