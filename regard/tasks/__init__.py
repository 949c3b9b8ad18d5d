"""Tasks: what a model is asked for. Head, loss, metrics, and how predictions are written."""

from regard.tasks.configs import PerSetLabel, PerSetNumber, PerVectorLabel, PerVectorNumber

__all__ = ["PerSetLabel", "PerSetNumber", "PerVectorLabel", "PerVectorNumber"]
