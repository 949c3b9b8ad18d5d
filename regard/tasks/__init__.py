"""Tasks: what a model is asked for. Head, loss, metrics, and how predictions are written."""

from regard.tasks.configs import (
    MaskedTokens,
    MultiLabel,
    NextToken,
    PerSetBoxes,
    PerSetLabel,
    PerSetNumber,
    PerSetSequence,
    PerVectorLabel,
    PerVectorNumber,
    ReplacedTokens,
)

__all__ = [
    "MaskedTokens",
    "MultiLabel",
    "NextToken",
    "PerSetBoxes",
    "PerSetLabel",
    "PerSetNumber",
    "PerSetSequence",
    "PerVectorLabel",
    "PerVectorNumber",
    "ReplacedTokens",
]
