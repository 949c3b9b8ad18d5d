"""Training: an experiment goes in, a run directory comes out.

`fit` and `Run` are imported on first use, so that describing an experiment loads neither torch nor Lightning;
`fit` reads the data before it loads them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from regard.train.experiment import Experiment, Optimizer, Training, from_yaml, to_yaml

_HOME = {"fit": "regard.train.prepared", "Run": "regard.train.runs"}
__all__ = ["Experiment", "Optimizer", "Run", "Training", "fit", "from_yaml", "to_yaml"]

if TYPE_CHECKING:
    from regard.train.prepared import fit
    from regard.train.runs import Run


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'regard.train' has no attribute {name!r}")
