"""The files of a run directory: whole or absent whenever the process ends, and the weights bound to what they mean."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regard.errors import InputError, reason_of
from regard.files import read_whole, write_atomically
from regard.train.earlier import now_named
from regard.train.experiment import Experiment, from_yaml
from regard.train.values import LONGEST_YAML

if TYPE_CHECKING:
    from torch import nn

__all__ = [
    "CONFIG",
    "ENCODING",
    "SURVEY",
    "WEIGHTS",
    "digest_of",
    "load_weights",
    "read_config",
    "read_start",
    "read_weights",
    "save",
    "save_weights",
    "sizes_of_weights",
    "sweep",
]

CONFIG = "config.yaml"
ENCODING = ("labels.json", "vocabulary.json", "encoding.json")
SURVEY = "data.json"
WEIGHTS = "model.safetensors"
# Bytes of the types that safetensors names; any other has at most eight.
_WIDTHS = {
    "F64": 8,
    "I64": 8,
    "U64": 8,
    "F32": 4,
    "I32": 4,
    "U32": 4,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "U16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}


def save(path: Path, content: bytes | str) -> None:
    """Writes a file whole; what was there before stays if that fails.

    Raises:
        InputError: the disk is full, or the folder cannot be written to.
    """
    write_atomically(path, content.encode() if isinstance(content, str) else content)


def sweep(folder: Path) -> None:
    """Removes what a killed process left half written."""
    for place in (folder, folder / "checkpoints"):
        for path in place.glob(".*.*") if place.is_dir() else ():
            path.unlink()


def read_config(folder: Path) -> Experiment:
    """The experiment of a run.

    Raises:
        InputError: no run directory, or a configuration that was altered into none.
    """
    path = folder / CONFIG
    try:
        text = read_whole(path, LONGEST_YAML).decode()
    except (InputError, UnicodeDecodeError):
        raise InputError(f"{path} is missing or cannot be read, expected a run directory that training made") from None
    return from_yaml(text, str(path))


def read_start(name: str) -> Experiment:
    """The experiment of the run that `training.start` names.

    Raises:
        InputError: no run directory, or a configuration that was altered into none.
    """
    try:
        return read_config(Path(name))
    except InputError as error:
        raise InputError(f"training.start is {name!r}, and {error}") from None


def save_weights(folder: Path, experiment: Experiment, model: nn.Module, task: nn.Module) -> None:
    """Writes a copy of all weights, with checksums of them and of the files that give them their meaning."""
    from safetensors.torch import save as serialize

    tensors = {name: each.detach().cpu().contiguous().clone() for name, each in _named(model, task).items()}
    metadata = _meaning(folder) | {WEIGHTS: digest_of(tensors)}
    save(folder / WEIGHTS, _in_order(serialize(tensors, metadata)))


def _in_order(weights: bytes) -> bytes:
    """A safetensors file whose metadata stand in the order of their names; the library's order differs from call to call.

    The format: 8 bytes with the length of a header, the header in JSON filled up with blanks to a multiple of 8 bytes, the numbers.
    """
    length = int.from_bytes(weights[:8], "little")
    header = json.loads(weights[8 : 8 + length])
    header = {"__metadata__": dict(sorted(header.pop("__metadata__").items())), **header}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(weights)[8 + length :]))


def load_weights(folder: Path, experiment: Experiment, model: nn.Module, task: nn.Module) -> None:
    """Reads the weights that `save_weights` wrote; nothing is ever unpickled.

    Raises:
        InputError: what `read_weights` refuses, or weights of another model.
    """
    tensors = now_named(read_weights(folder, experiment))
    own = _named(model, task)
    if {name: each.shape for name, each in own.items()} != {name: each.shape for name, each in tensors.items()}:
        raise InputError(f"{folder / WEIGHTS} holds weights of a different model, expected the one in {CONFIG}")
    for name, each in own.items():
        each.data.copy_(tensors[name])


def sizes_of_weights(folder: Path) -> list[int]:
    """How many bytes each tensor of the weights has, of which none is read.

    Raises:
        InputError: the file is missing or is no safetensors file.
    """
    with _opened(folder / WEIGHTS) as file:
        slices = [file.get_slice(name) for name in file.keys()]  # noqa: SIM118
        return [_WIDTHS.get(each.get_dtype(), 8) * math.prod(each.get_shape()) for each in slices]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """A file of weights, open to be read.

    Raises:
        InputError: the file is missing or is no safetensors file.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise InputError(f"{path} is missing, expected the weights that training writes once it has validated")
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path} is not a whole safetensors file ({reason_of(error)}), expected what training wrote"
        ) from None


def read_weights(folder: Path, experiment: Experiment) -> dict[str, Any]:
    """The weights by name, if they are those that belong to the files beside them.

    Raises:
        InputError: the file is missing, is no safetensors file, or it or a file beside it was altered since.
    """
    path = folder / WEIGHTS
    with _opened(path) as file:
        metadata = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name, digest in _meaning(folder).items():
        if metadata.get(name) != digest:
            raise InputError(f"{folder / name} does not belong to {WEIGHTS}, expected it as training wrote it")
    if metadata.get(WEIGHTS) != digest_of(tensors):
        raise InputError(f"{path} holds changed weights: their checksum differs, expected those that training wrote")
    return tensors


def _named(model: nn.Module, task: nn.Module) -> dict[str, Any]:
    return {
        f"{part}.{name}": each
        for part, m in (("model", model), ("task", task))
        for name, each in m.state_dict().items()
    }


def _meaning(folder: Path) -> dict[str, str]:
    """The checksum of each file that the weights would mean something else without.

    Of the configuration only the model, the task and how the data is read count: data may move, and training is over. It is taken
    as it was written, so that a run stays readable when later versions know more options.
    """
    sections = (folder / CONFIG).read_text(encoding="utf-8").split("\noptimizer:")[0]
    lines = [line for line in sections.splitlines() if not line.startswith("  path:")]
    files = {name: (folder / name).read_bytes() for name in ENCODING}
    return {
        name: hashlib.sha256(each).hexdigest() for name, each in (files | {CONFIG: "\n".join(lines).encode()}).items()
    }


def digest_of(tensors: Mapping[str, Any]) -> str:
    """A checksum over names, types, shapes and numbers of tensors."""
    import torch

    digest = hashlib.sha256()
    for name in sorted(tensors):
        each = tensors[name]
        digest.update(f"{name} {each.dtype} {list(each.shape)}".encode())
        digest.update(each.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
