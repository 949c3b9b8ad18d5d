"""Attention: `spec` says what, `reference` is the meaning, `planning` chooses, `executors` compute, `attend` is the verb.

The values of a specification hold no tensors and import no torch. They can be imported from here, and so can the verbs, with which
torch comes. A score, pattern, normalizer or bias is known here, and to `parse`, as soon as `__all__` of its module `scores`,
`patterns`, `normalizers` or `biases` lists it.

>>> from regard.attention import Attention, First, Window
>>> Attention(pattern=Window(64, 16) | First(1))
Attention(pattern=(Window(left=64, right=16) | First(n=1)))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from regard.attention.adapters.axes import Axes
from regard.attention.adapters.compressive import Compressive
from regard.attention.adapters.globals import Globals
from regard.attention.adapters.linformer import Linformer
from regard.attention.adapters.lsh import LSH
from regard.attention.adapters.memory_compressed import MemoryCompressed
from regard.attention.adapters.nystrom import Nystrom
from regard.attention.adapters.remember import Remember
from regard.attention.adapters.routing import Routing
from regard.attention.adapters.segments import Segments
from regard.attention.adapters.sinkhorn import Sinkhorn, SortCut
from regard.attention.spec import biases, feature_maps, normalizers, patterns, scores
from regard.attention.spec.attention import Attention
from regard.attention.spec.biases import *
from regard.attention.spec.feature_maps import *
from regard.attention.spec.normalizers import *
from regard.attention.spec.patterns import *
from regard.attention.spec.scores import *
from regard.attention.vocabulary import parse

if TYPE_CHECKING:
    from regard.attention.planning import plan as plan
    from regard.attention.verb import attend as attend
    from regard.attention.verb import attention_weights as attention_weights

_VERBS = {
    "attend": "regard.attention.verb",
    "attention_weights": "regard.attention.verb",
    "plan": "regard.attention.planning",
}
__all__ = [
    "LSH",
    "Attention",
    "Axes",
    "Compressive",
    "Globals",
    "Linformer",
    "MemoryCompressed",
    "Nystrom",
    "Remember",
    "Routing",
    "Segments",
    "Sinkhorn",
    "SortCut",
    "parse",
]
__all__ += biases.__all__
__all__ += feature_maps.__all__
__all__ += normalizers.__all__
__all__ += patterns.__all__
__all__ += scores.__all__


def __getattr__(name: str) -> Any:
    """The verbs, which import torch: on first use."""
    if name not in _VERBS:
        raise AttributeError(f"module 'regard.attention' has no attribute {name!r}")
    return getattr(import_module(_VERBS[name]), name)
