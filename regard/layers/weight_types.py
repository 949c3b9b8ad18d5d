"""The types that weights of linear layers may have in a trained model, told without loading torch."""

from __future__ import annotations

from typing import Literal

__all__ = ["Weights"]

Weights = Literal["float32", "bfloat16", "float16", "int8"]
"""As they were trained, or narrower (`regard.layers.narrow_weights`)."""
