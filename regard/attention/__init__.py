"""Attention: `spec` says what, `reference` is the meaning, `plan` chooses, `executors` compute, `attend` is the verb.

The values of a specification hold no tensors and import no torch. They can be imported from here:

>>> from regard.attention import Attention, First, Window
>>> Attention(pattern=Window(64, 16) | First(1))
Attention(pattern=(Window(left=64, right=16) | First(n=1)))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_NAMES = {
    "attention": ("Attention",),
    "scores": ("Additive", "Dot", "Kernel", "Separable", "Synthesized"),
    "feature_maps": ("Elu", "Favor"),
    "patterns": (
        *("AlongAxis", "Blocks", "Causal", "Dilated", "Edges", "Everyone", "First", "Near"),
        *("RandomBlocks", "Stride", "Window"),
    ),
    "normalizers": ("Relu", "Sigmoid", "Softmax", "Sum"),
    "biases": ("T5", "ALiBi", "EdgeBias", "Shaw", "TransformerXL"),
}
_HOME = {name: f"regard.attention.spec.{module}" for module, names in _NAMES.items() for name in names}
_HOME |= {
    "Axes": "regard.attention.adapters.axes",
    "Remember": "regard.attention.adapters.remember",
    "parse": "regard.attention.vocabulary",
}
__all__ = [*_HOME]

if TYPE_CHECKING:
    from regard.attention.adapters.axes import Axes
    from regard.attention.adapters.remember import Remember
    from regard.attention.spec.attention import Attention
    from regard.attention.spec.biases import T5, ALiBi, EdgeBias, Shaw, TransformerXL
    from regard.attention.spec.feature_maps import Elu, Favor
    from regard.attention.spec.normalizers import Relu, Sigmoid, Softmax, Sum
    from regard.attention.spec.patterns import (
        AlongAxis,
        Blocks,
        Causal,
        Dilated,
        Edges,
        Everyone,
        First,
        Near,
        RandomBlocks,
        Stride,
        Window,
    )
    from regard.attention.spec.scores import Additive, Dot, Kernel, Separable, Synthesized
    from regard.attention.vocabulary import parse


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'regard.attention' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
