"""`VectorSets`: a batch of sets of vectors, packed one after another and never padded; `Layout`: all of it but the values."""

from regard.sets.layout import Layout
from regard.sets.pytrees import register
from regard.sets.vectors import VectorSets

__all__ = ["Layout", "VectorSets"]

register()
