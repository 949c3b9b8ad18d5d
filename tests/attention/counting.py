"""What stands for time in tests, since time depends on the machine and on what else it does: counts of what was computed."""

import sys
from collections.abc import Callable
from typing import Any

from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode


class Counted(TorchDispatchMode):
    """Counts torch's operators, and the numbers that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.operators = 0
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self.operators += 1
        self.numbers += sum(x.numel() for x in pytree.tree_leaves((args, kwargs, out)) if hasattr(x, "numel"))
        return out


def calls_of(function: Callable[[], object]) -> int:
    """How many functions, of Python and of C, one call of a function calls."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(before)
    return calls
