"""regard: self-attention over sets of vectors.

Names are imported on first use, so that `import regard` itself loads neither torch nor any reader's library.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "InputError": "regard.errors",
    "Layout": "regard.sets",
    "VectorSets": "regard.sets",
    "Attention": "regard.attention.spec.attention",
    "attend": "regard.attention.verb",
    "attention_weights": "regard.attention.verb",
    "plan": "regard.attention.planning",
}
__all__ = [*_HOME, "__version__"]

if TYPE_CHECKING:
    from regard.attention.planning import plan
    from regard.attention.spec.attention import Attention
    from regard.attention.verb import attend, attention_weights
    from regard.errors import InputError
    from regard.sets import Layout, VectorSets


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'regard' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
