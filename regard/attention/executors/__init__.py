"""Executors: each computes the same meaning in its own way. They never import one another.

Each offers `why_not(problem) -> str | None` (its refusal in a sentence), `cost(problem) -> float` (an estimate in seconds on one
core) and `run(problem, tensors) -> Tensor`.
"""
