"""The named pieces of a model: which of them keep their weights, what decays how fast, and how far below the head each one lies."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from regard.errors import InputError, closest, nearest

__all__ = ["decays_of", "depths", "freeze", "named_parameters"]

_LISTS = ("blocks", "layers")
"""What models call the list of their blocks."""


def named_parameters(model: nn.Module, task: nn.Module) -> dict[str, nn.Parameter]:
    """All parameters by the names that options and reports use: those of the model as they are, those of the task after `task.`."""
    return dict(model.named_parameters()) | {f"task.{name}": value for name, value in task.named_parameters()}


def depths(model: nn.Module) -> tuple[dict[str, int], int]:
    """How far below the head each parameter of a model lies, and the number n of its blocks.

    0 is what follows the last block, 1 the last block, n the first one, and n + 1 what comes before the blocks. Blocks are the
    entries of the outermost list called `blocks` or `layers`; what is registered before the list comes before it.

    >>> model = nn.ModuleDict({"embed": nn.Linear(2, 2, bias=False), "blocks": nn.ModuleList([nn.LayerNorm(2), nn.LayerNorm(2)])})
    >>> depths(model)
    ({'embed.weight': 3, 'blocks.0.weight': 2, 'blocks.0.bias': 2, 'blocks.1.weight': 1, 'blocks.1.bias': 1}, 2)
    """
    path, blocks = _blocks(model)
    count, after, result = len(blocks), False, {}
    for name, module in model.named_modules():
        after = after or module is blocks
        if after and name.startswith(f"{path}."):
            depth = count - int(name.removeprefix(f"{path}.").split(".")[0])
        else:
            depth = 0 if after else count + 1
        for own, _ in module.named_parameters(recurse=False):
            result[f"{name}.{own}" if name else own] = depth
    return result, count


def _blocks(model: nn.Module) -> tuple[str, nn.ModuleList]:
    for name, module in model.named_modules():
        if isinstance(module, nn.ModuleList) and name.rpartition(".")[2] in _LISTS:
            return name, module
    return "", nn.ModuleList()


def freeze(model: nn.Module, task: nn.Module, pieces: str) -> int:
    """Exclude pieces from training, as `optimizer.freeze` names them, and return how many numbers those hold.

    Their parameters get no gradient and no state of the optimizer. Nothing else changes: the norms of regard keep no running
    statistics, and dropout stays on.

    Raises:
        InputError: a name that matches nothing, with the nearest one; more blocks than there are; or nothing left to train.
    """
    parameters = named_parameters(model, task)
    frozen = set()
    for piece in filter(None, (name.strip() for name in pieces.split("+"))):
        frozen |= _lowest(model, int(piece)) if piece.isdecimal() else _under(piece, parameters, "freeze")
    if frozen and frozen == set(parameters):
        raise InputError(f"optimizer.freeze is {pieces!r}, which leaves nothing to train, expected fewer pieces")
    for name in frozen:
        parameters[name].requires_grad_(False)
    return sum(parameters[name].numel() for name in frozen)


def decays_of(model: nn.Module, task: nn.Module, decays: Mapping[str, float]) -> dict[str, float]:
    """The weight decay of each parameter that `optimizer.weight_decays` names; the longest of several names counts.

    >>> model = nn.ModuleDict({name: nn.Linear(2, 2, bias=False) for name in ("into", "middle", "out")})
    >>> decays_of(nn.ModuleDict({"layers": model}), nn.Identity(), {"layers.out": 0.0, "layers": 0.1})
    {'layers.into.weight': 0.1, 'layers.middle.weight': 0.1, 'layers.out.weight': 0.0}

    Raises:
        InputError: a name that matches nothing, with the nearest one.
    """
    parameters = named_parameters(model, task)
    result: dict[str, float] = {}
    for piece in sorted(decays, key=lambda name: name.count(".")):
        names = _under(piece, parameters, "weight_decays")
        result |= {name: decays[piece] for name in parameters if name in names}
    return result


def _lowest(model: nn.Module, number: int) -> set[str]:
    depth, blocks = depths(model)
    if number > blocks:
        raise InputError(f"optimizer.freeze is {number}, expected at most {blocks}, the number of the model's blocks")
    return {name for name, distance in depth.items() if distance > blocks - number}


def _under(piece: str, parameters: dict[str, nn.Parameter], option: str) -> set[str]:
    names = {name for name in parameters if f"{name}.".startswith(f"{piece}.")}
    if not names:
        words = [name.split(".") for name in parameters]
        known = {".".join(each[:n]) for each in words for n in range(1, len(each) + 1)}
        raise InputError(
            f"optimizer.{option} names {piece!r}, which is no piece of the model: {_suggestion(piece, known)}"
        )
    return names


def _suggestion(piece: str, known: set[str]) -> str:
    """The nearest name, or the highest one whose last word is nearest; where none is near, the highest pieces."""
    deepest_first = sorted(known, key=lambda name: (-name.count("."), name))
    ends = {name.rpartition(".")[2]: name for name in deepest_first}
    near = closest(piece, known) or ends.get(closest(piece.rpartition(".")[2], ends) or "")
    if near:
        return f"did you mean {near!r}?"
    return nearest(piece, {name for name in known if name.count(".") == name.startswith("task.")} - {"task"})
