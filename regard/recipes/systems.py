"""The efficient Transformers that the arena compares, by their published names: one line each, as options of the encoder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from regard.errors import InputError, nearest
from regard.models.encoder import Encoder
from regard.models.pieces import attention_of

__all__ = ["SYSTEMS", "System", "name_of", "system"]


@dataclass(frozen=True)
class System:
    """A system as the options that make it.

    Args:
        attention: text form, in which `{longest}` stands for the number of places of the task.
        mixer: of the encoder. norm: of the encoder.
    """

    attention: str = "Attention()"
    mixer: str = "attention"
    norm: Literal["pre", "post"] = "pre"

    def of(self, model: Encoder) -> Encoder:
        """The model with this system in the place of its attention."""
        attention = self.attention.format(longest=model.positions.longest)
        return replace(model, attention=attention, mixer=self.mixer, norm=self.norm)


# One line each: sizes are those of the arena's code and of its ports, where they name some.
SYSTEMS: dict[str, System] = {
    "transformer": System(),
    "local": System("Attention(pattern=Window(32, 32))"),
    "blockwise": System("Attention(pattern=(Blocks(64), Blocks(64, shift=1)))"),
    "sparse-strided": System("Attention(pattern=(Window(64, 64), Stride(64)))"),
    "sparse-fixed": System("Attention(pattern=Blocks(64) | BlockEnds(64, 8))"),
    "longformer": System("Globals(Attention(pattern=Window(128, 128)), first=1)"),
    "etc": System("Globals(Attention(pattern=Window(64, 64), bias=Shaw(12)), first=16, projections='pairs')"),
    "bigbird": System("Attention(pattern=Window(96, 96) | First(64) | RandomBlocks(3, 64))"),
    "memory-compressed": System("MemoryCompressed()"),
    "linformer": System("Linformer(longest={longest}, k=256)"),
    "nystromformer": System("Nystrom(landmarks=128, kernel=35)"),
    "synthesizer": System("Attention(score=Synthesized({longest}, kind='factorized', rank=32))"),
    "linear": System("Attention(score=Kernel(), normalizer=Sum())"),
    "performer": System("Attention(score=Kernel(Favor(256)), normalizer=Sum())"),
    "reformer": System("LSH(chunk=64, rounds=2)"),
    "routing": System("Routing(clusters=32)"),
    "sinkhorn": System("Sinkhorn(size=64)"),
    "sortcut": System("SortCut(size=64, first=2)"),
    "set-transformer": System(mixer="induced", norm="post"),
}
"""By the names that commands and tables call them."""


def system(name: str) -> System:
    """The system of a name, or the one that attends as a text form says.

    Raises:
        InputError: neither.

    >>> system("local").attention, system("Attention(pattern=Causal())").mixer
    ('Attention(pattern=Window(32, 32))', 'attention')
    >>> system("perfromer")
    Traceback (most recent call last):
    regard.errors.InputError: there is no system 'perfromer': did you mean 'performer'?
    """
    if name in SYSTEMS:
        return SYSTEMS[name]
    if "(" not in name:
        raise InputError(f"there is no system {name!r}: {nearest(name, SYSTEMS)}")
    attention_of(name)
    return System(name)


def name_of(model: Encoder) -> str:
    """What a model's attention is called: its name, or else its text form.

    >>> name_of(Encoder()), name_of(Encoder(attention="Attention(pattern=Causal())"))
    ('transformer', 'Attention(pattern=Causal())')
    """
    made = (model.attention, model.mixer, model.norm)
    for name, known in SYSTEMS.items():
        whole = known.of(model)
        if (whole.attention, whole.mixer, whole.norm) == made:
            return name
    return model.attention if model.mixer == "attention" else model.mixer
