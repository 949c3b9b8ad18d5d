"""Layers: mixers and what stands around them. Each maps `VectorSets` to `VectorSets`, keeps the sets, and says its `width`."""
