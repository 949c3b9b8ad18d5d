"""Tools for code that Numba compiles for the CPU: compilation, SIMD vectors, packed copies, hashing. No attention in it."""

from functools import cache
from importlib.util import find_spec

__all__ = ["MISSING", "available"]

MISSING = "its kernels need Numba, which is not installed"
"""What an executor that cannot do without kernels says where they are not `available`."""


@cache
def available() -> bool:
    """Whether Numba is installed, without loading it."""
    try:
        return all(find_spec(name) is not None for name in ("numba", "llvmlite"))
    except ImportError:
        return False
