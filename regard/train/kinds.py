"""The registry of what an experiment may name: which readers, models and tasks there are, and what their options make."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from regard.data.readers import READERS
from regard.errors import InputError, nearest
from regard.layers.registry import check_lengths, mixer_names

if TYPE_CHECKING:
    from regard.data.encoding import Encoding

__all__ = ["KINDS", "PIECES", "Kind", "build", "build_model", "check_size", "kind"]


class Kind(NamedTuple):
    """One name that `type:` may have.

    Args:
        module: that has the dataclass of options of this name; it loads nothing heavy.
        makes: `module:name` of what the options make, called with them and what `build` adds; empty for readers, whose options
            are used as they are.
        outputs: whether what makes it takes `outputs`, the width of the last layer's vectors.
    """

    module: str
    makes: str = ""
    outputs: bool = False


# One line each. Nothing else is ever imported because of what a file says.
KINDS: dict[str, dict[str, Kind]] = {
    "data": {reader.__name__: Kind(reader.__module__) for reader in READERS},
    "model": {
        "Conformer": Kind("regard.models.conformer", "regard.models.conformer:make_conformer"),
        "Detr": Kind("regard.models.detr", "regard.models.detr:make_detr"),
        "Encoder": Kind("regard.models.encoder", "regard.models.encoder:make_encoder"),
        "EncoderDecoder": Kind("regard.models.encoder_decoder", "regard.models.encoder_decoder:make_encoder_decoder"),
        "GraphNetwork": Kind("regard.models.graph", "regard.models.graph:make_graph_network", outputs=True),
        "RecurrentEncoderDecoder": Kind(
            "regard.models.recurrent_decoder", "regard.models.recurrent_decoder:make_recurrent_encoder_decoder"
        ),
        "SelfAttentionGan": Kind("regard.models.gan", "regard.models.gan:make_gan"),
    },
    "task": {
        "WrittenPictures": Kind(
            "regard.tasks.configs_of_pictures", "regard.tasks.written_pictures:WrittenPicturesTask"
        ),
        "MaskedTokens": Kind("regard.tasks.configs", "regard.tasks.masked:MaskedTokenTask"),
        "MultiLabel": Kind("regard.tasks.configs", "regard.tasks.multi_label:MultiLabelTask"),
        "NextPixel": Kind("regard.tasks.configs_of_pictures", "regard.tasks.next_pixel:NextPixelTask"),
        "NextToken": Kind("regard.tasks.configs", "regard.tasks.next_token:NextTokenTask"),
        "ReplacedTokens": Kind("regard.tasks.configs", "regard.tasks.replaced:ReplacedTokenTask"),
        "PerPairLabel": Kind("regard.tasks.configs", "regard.tasks.pairs:PairLabelTask"),
        "PerVectorLabel": Kind("regard.tasks.configs", "regard.tasks.label:LabelTask"),
        "PerVectorNumber": Kind("regard.tasks.configs", "regard.tasks.number:NumberTask"),
        "PerSetBoxes": Kind("regard.tasks.configs", "regard.tasks.boxes:BoxTask"),
        "PerSetLabel": Kind("regard.tasks.configs", "regard.tasks.label:SetLabelTask"),
        "PerSetSequence": Kind("regard.tasks.configs", "regard.tasks.sequence:SequenceTask"),
        "PerSetNumber": Kind("regard.tasks.configs", "regard.tasks.number:SetNumberTask"),
    },
    "optimizer": {"Optimizer": Kind("regard.train.experiment")},
    "training": {"Training": Kind("regard.train.experiment")},
}

# What a model of one type is called inside of another type, which so can begin with a run of the first.
PIECES = {("Encoder", "Detr"): "encoder"}


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
    module, _, maker = _entry(options).makes.partition(":")
    if not maker:
        raise TypeError(f"the registry of kinds names nothing that {type(options).__name__} makes")
    make: Callable[..., Any] = getattr(import_module(module), maker)
    return make(options, *given)


def build_model(options: Any, task: Any, encoding: Encoding) -> Any:
    """The model of an experiment with a task of those options.

    Where the task has no head, the last layer of a model that can have any width there gets as many outputs as there are labels;
    whether other models fit, the task says.

    >>> from regard.data.encoding import Encoding, Labels
    >>> from regard.models.graph import GraphNetwork
    >>> from regard.tasks.configs import PerVectorLabel
    >>> encoding = Encoding(width=3, edges=True, targets=Labels(("a", "b", "c")))
    >>> [build_model(GraphNetwork(width=8), PerVectorLabel(head=head), encoding).width for head in ("linear", "none")]
    [8, 3]
    """
    targets = encoding.targets
    outputs = len(getattr(targets, "names", ())) * getattr(targets, "copies", 1)
    headless = getattr(task, "head", "linear") == "none" and _entry(options).outputs and outputs
    return build(options, encoding, outputs) if headless else build(options, encoding)


def check_size(options: Any, encoding: Encoding) -> None:
    """Refuse a model whose mixers cannot take sets as long as those of the training part, before anything is built.

    Raises:
        InputError: what a set of that length would cost.
    """
    if mixer := getattr(options, "mixer", ""):
        check_lengths(mixer_names(mixer), encoding.longest)


def _entry(options: Any) -> Kind:
    name = type(options).__name__
    return next((section[name] for section in KINDS.values() if name in section), Kind(""))
