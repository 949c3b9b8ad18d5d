"""Executors: each computes the same meaning in its own way. They never import one another.

Each offers

- `why_not(problem) -> str | None`, its refusal in a sentence;
- `work(problem) -> dict[str, float]`, how much of which kind of work a forward and a backward pass are: `costs-CLASS.json` holds
  the measured seconds of each kind, and `python -m benchmarks.costs` measures them anew;
- `memory(problem) -> int`, the bytes that both passes have allocated at their peak, above the inputs;
- `run(problem, tensors) -> Tensor`.
"""
