"""What `torch.compile` does not trace. To import this loads torch's compiler, so layers import it where they are being traced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

__all__ = ["untraced"]

T = TypeVar("T")


@torch.compiler.disable
def untraced(function: Callable[..., T], *arguments: Any) -> T:
    """`function(*arguments)`, outside of any graph."""
    return function(*arguments)
