"""Tasks: what a model is asked for. Head, loss, metrics, and how predictions are written."""

from regard.tasks.configs import MultiLabel, PerSetLabel, PerSetNumber, PerSetSequence, PerVectorLabel, PerVectorNumber

__all__ = ["MultiLabel", "PerSetLabel", "PerSetNumber", "PerSetSequence", "PerVectorLabel", "PerVectorNumber"]
