"""The registry of what an experiment may name: which readers, models and tasks there are, and what their options make."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, NamedTuple

from regard.data.readers import READERS
from regard.errors import InputError, nearest

__all__ = ["KINDS", "Kind", "build", "kind"]


class Kind(NamedTuple):
    """One name that `type:` may have.

    Args:
        module: that has the dataclass of options of this name; it loads nothing heavy.
        makes: `module:name` of what the options make, called with them and what `build` adds; empty for readers, whose options
            are used as they are.
    """

    module: str
    makes: str = ""


# One line each. Nothing else is ever imported because of what a file says.
KINDS: dict[str, dict[str, Kind]] = {
    "data": {reader.__name__: Kind(reader.__module__) for reader in READERS},
    "model": {
        "Conformer": Kind("regard.models.conformer", "regard.models.conformer:make_conformer"),
        "Encoder": Kind("regard.models.encoder", "regard.models.encoder:make_encoder"),
        "EncoderDecoder": Kind("regard.models.encoder_decoder", "regard.models.encoder_decoder:make_encoder_decoder"),
        "GraphNetwork": Kind("regard.models.graph", "regard.models.graph:make_graph_network"),
        "RecurrentEncoderDecoder": Kind(
            "regard.models.recurrent_decoder", "regard.models.recurrent_decoder:make_recurrent_encoder_decoder"
        ),
    },
    "task": {
        "MaskedTokens": Kind("regard.tasks.configs", "regard.tasks.masked:MaskedTokenTask"),
        "MultiLabel": Kind("regard.tasks.configs", "regard.tasks.multi_label:MultiLabelTask"),
        "NextToken": Kind("regard.tasks.configs", "regard.tasks.next_token:NextTokenTask"),
        "PerVectorLabel": Kind("regard.tasks.configs", "regard.tasks.label:LabelTask"),
        "PerVectorNumber": Kind("regard.tasks.configs", "regard.tasks.number:NumberTask"),
        "PerSetLabel": Kind("regard.tasks.configs", "regard.tasks.label:SetLabelTask"),
        "PerSetSequence": Kind("regard.tasks.configs", "regard.tasks.sequence:SequenceTask"),
        "PerSetNumber": Kind("regard.tasks.configs", "regard.tasks.number:SetNumberTask"),
    },
    "optimizer": {"Optimizer": Kind("regard.train.experiment")},
    "training": {"Training": Kind("regard.train.experiment")},
}


def kind(section: str, name: str, source: str = "") -> type:
    """The dataclass that `type: name` means in a section.

    Raises:
        InputError: a name that the section does not know; the nearest one is suggested.
    """
    known = KINDS[section]
    if name not in known:
        where = f"{source} has {section}.type {name!r}" if source else f"{section}.type is {name!r}"
        raise InputError(f"{where}, which is not known: {nearest(str(name), known)}")
    options: type = getattr(import_module(known[name].module), name)
    return options


def build(options: Any, *given: Any) -> Any:
    """The module that options make: a model as `build(options, encoding)`, a task as `build(options, width, encoding)`.

    >>> from regard.data.encoding import Encoding
    >>> from regard.models.encoder import Encoder
    >>> build(Encoder(width=8, heads=2), Encoding(width=3)).width
    8
    """
    name = type(options).__name__
    makes = next((entry.makes for section in KINDS.values() for entry in [section.get(name)] if entry), "")
    if not makes:
        raise TypeError(f"the registry of kinds names nothing that {name} makes")
    module, _, maker = makes.partition(":")
    make: Callable[..., Any] = getattr(import_module(module), maker)
    return make(options, *given)
