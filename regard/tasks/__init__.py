"""Tasks: what a model is asked for. Head, loss, metrics, and how predictions are written."""

from regard.tasks.configs import (
    MaskedTokens,
    MultiLabel,
    NextToken,
    PerPairLabel,
    PerSetBoxes,
    PerSetLabel,
    PerSetNumber,
    PerSetSequence,
    PerVectorLabel,
    PerVectorNumber,
    ReplacedTokens,
)
from regard.tasks.configs_of_pictures import NextPixel, WrittenPictures

__all__ = [
    "MaskedTokens",
    "MultiLabel",
    "NextPixel",
    "NextToken",
    "PerPairLabel",
    "PerSetBoxes",
    "PerSetLabel",
    "PerSetNumber",
    "PerSetSequence",
    "PerVectorLabel",
    "PerVectorNumber",
    "ReplacedTokens",
    "WrittenPictures",
]
