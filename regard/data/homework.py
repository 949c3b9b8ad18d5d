"""The folder format of homework 4 of Hung-yi Lee's machine-learning course (2022): log-mel tensors by speaker.

mapping.json    {"speaker2id": {"id00464": 0, ...}, "id2speaker": {"0": "id00464", ...}}
metadata.json   {"n_mels": 40, "speakers": {"id00464": [{"feature_path": "uttr-0a...f.pt", "mel_len": 435}, ...], ...}}
testdata.json   {"n_mels": 40, "utterances": [{"feature_path": "uttr-1b...e.pt", "mel_len": 490}, ...]}
uttr-<32 hexadecimal digits>.pt     a float tensor [mel_len, n_mels]
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from regard.data.augment import Augmentation, SpecAugment
from regard.data.cache import Arrays, Computed, Held
from regard.data.encoding import Encoding, Labels
from regard.data.examples import Array, Example, Part, check_part, parts_of, split
from regard.data.folders import files_at
from regard.data.frames import Frames, Framing, Normalize, band_mean, check_crop
from regard.data.reader import refused_stream, refused_value
from regard.data.survey import Survey, part_surveys
from regard.data.targets import PartTargets
from regard.data.varied import Played, VariedFrames
from regard.errors import InputError, reason_of
from regard.files import read_json, write_atomically

__all__ = ["LogMelFolder", "write_log_mel_folder"]


@dataclass(frozen=True)
class _Entry:
    """A tensor's file, its name in the folder, and how many frames it is said to have."""

    path: Path
    name: str
    frames: int


@dataclass
class LogMelFolder:
    """The speaker of each utterance of a folder in the homework's format; vectors are its log-mel frames.

    The labeled utterances are divided: a tenth of each speaker is the test part and another the validation part, by the
    SHA-256 of the names of their files. Inputs to predict for are such folders (the utterances of `testdata.json`),
    files in the form of `testdata.json`, and tensors `.pt`. Tensors are loaded with `weights_only`.

    Args:
        path: the folder.
        normalize: what is subtracted from each band: "none", its mean over the "utterance" (of what was cut of it), or "global",
            its mean over the training part, which is kept with the run; or the loudness alone, in all bands alike: the
            "level" of what was cut of it, or the "running" level of the last seconds.
        crop: seconds (100 frames) to keep from the middle of each validation, test and input utterance; 0 keeps all.
        train_crop: seconds to keep of each training utterance, at a place that depends on (seed, epoch, utterance).
        seed: of everything that is drawn for training utterances.
        mask: what of the training utterances is covered
    """

    input_options: ClassVar[tuple[str, ...]] = ("normalize",)

    path: str | None = None
    normalize: Normalize = "none"
    crop: float = 0
    train_crop: float = 0
    seed: int = 0
    mask: SpecAugment = field(default_factory=SpecAugment)

    published = ""

    def fit(self) -> Encoding:
        """The speakers in the order of `mapping.json`, and the number of bands."""
        check_crop("crop", self.crop)
        check_crop("train_crop", self.train_crop)
        width, _ = self._labeled()
        mean: tuple[float, ...] = ()
        if self.normalize == "global":
            entries = [entry for entry, _, part in self._divided() if part == "train"]
            mean = band_mean(_tensor(entry, width) for entry in entries)
        return Encoding(Labels(self._speakers()), width=width, band_mean=mean)

    def part(self, name: Part, encoding: Encoding) -> Frames:
        """The utterances of one part.

        Raises:
            InputError: a speaker that `mapping.json` lacks, or an empty part.
        """
        target = PartTargets(encoding, check_part(name))
        features, names, targets = self._part(name, encoding, target)
        return Frames(features, self._framing(encoding), names, targets, target.unseen)

    def labels(self, name: Part) -> list[tuple[str, str]]:
        """The speaker of each utterance of one part, and its path."""
        return [(speaker, str(entry.path)) for entry, speaker in self._chosen(check_part(name))]

    def names_parts(self) -> bool:
        """Never: the utterances are divided by speaker."""
        return False

    def training(self, encoding: Encoding) -> VariedFrames:
        """The utterances of the training part, cut at drawn places, and masked; see `part`."""
        features, names, targets = self._part("train", encoding, PartTargets(encoding, "train"))
        augmentation = Augmentation(self.train_crop, self.seed, mask=self.mask)
        return Played({1.0: features}, self._framing(encoding), augmentation, encoding, names, targets)

    def _part(self, name: Part, encoding: Encoding, target: PartTargets) -> tuple[Arrays, list[str], list[Array]]:
        chosen = self._chosen(name)
        targets = [target(speaker, str(entry.path)) for entry, speaker in chosen]
        entries = [entry for entry, _ in chosen]
        return _features(entries, encoding.width), [entry.name for entry in entries], targets

    def _chosen(self, name: Part) -> list[tuple[_Entry, str]]:
        """The utterances of a part, and their speakers."""
        chosen = [(entry, speaker) for entry, speaker, part in self._divided() if part in parts_of(name)]
        if not chosen:
            raise InputError(f"{self.path} has no utterance in the {name} part, expected a speaker with at least 3")
        return chosen

    def survey(self) -> Survey:
        """How many utterances of each part each speaker has."""
        divided = self._divided()
        parts, notes = part_surveys(self.labels, "utterances")
        first = [(entry.name, speaker, f"{entry.frames} frames") for entry, speaker, _ in divided[:3]]
        return Survey(str(self._root), "log-mel tensors listed in metadata.json", parts, examples=first, notes=notes)

    @classmethod
    def claims(cls, place: Path) -> int:
        """The number of tensors beside a `metadata.json`."""
        named = (place / "metadata.json").exists()
        return sum(path.suffix == ".pt" for path in files_at(place)) if named else 0

    def inputs(self, sources: Sequence[str], encoding: Encoding) -> Frames:
        """The utterances of `testdata.json` in folders, of files in its form, and single tensors."""
        entries = []
        for source in map(Path, sources):
            if source.suffix == ".pt":
                entries.append(_Entry(source, source.name, len(_load(source, encoding.width))))
                continue
            listed = source / "testdata.json" if source.is_dir() else source
            content = _read(listed)
            _check_width(listed, content, encoding.width)
            utterances = _member(listed, content, "utterances", list)
            entries += [_entry(listed, utterance, f"utterance {n}") for n, utterance in enumerate(utterances, 1)]
        names = [entry.name for entry in entries]
        return Frames(_features(entries, encoding.width), self._framing(encoding), names)

    def example(self, value: Any, encoding: Encoding, name: str = "") -> Example:
        """Log-mel frames `[frames, bands]` in memory.

        Raises:
            InputError: what is no array of these, or is not finite.
        """
        name = name or "the utterance"
        if not isinstance(value, np.ndarray):
            raise refused_value(value, name, f"log-mel frames [frames, {encoding.width}]")
        if value.ndim != 2 or value.shape[1] != encoding.width or not len(value) or not np.isfinite(value).all():
            raise InputError(
                f"{name} is {list(value.shape)}, expected finite log-mel frames [frames, {encoding.width}]"
            )
        return Frames(Held([value]), self._framing(encoding), [name])[0]

    def stream(self, file: IO[bytes], encoding: Encoding) -> Iterator[Frames]:
        """Refused: an utterance is a file that others list."""
        raise refused_stream(self, "a folder with testdata.json, or tensors .pt")

    def _framing(self, encoding: Encoding) -> Framing:
        return Framing(encoding.width, crop=self.crop, normalize=self.normalize, mean=encoding.band_mean)

    @property
    def _root(self) -> Path:
        if self.path is None:
            raise InputError(
                "data.path is not given, expected a folder in the homework's format: its data is not public"
            )
        if not Path(self.path).is_dir():
            raise InputError(f"{self.path} is not a folder, expected one with mapping.json and metadata.json")
        return Path(self.path)

    def _speakers(self) -> tuple[str, ...]:
        path = self._root / "mapping.json"
        ids = _member(path, _read(path), "speaker2id", dict)
        if sorted(map(str, ids.values())) != sorted(map(str, range(len(ids)))):
            raise InputError(f"{path} has other ids in speaker2id than 0 to {len(ids) - 1}, expected each once")
        return tuple(sorted(ids, key=lambda speaker: int(ids[speaker])))

    def _labeled(self) -> tuple[int, list[tuple[_Entry, str]]]:
        """The number of bands, and all labeled utterances with their speakers."""
        path = self._root / "metadata.json"
        content, known = _read(path), set(self._speakers())
        width = _member(path, content, "n_mels", int)
        labeled = []
        for speaker, utterances in _member(path, content, "speakers", dict).items():
            if speaker not in known:
                raise InputError(f"{path} has the speaker {speaker!r}, which mapping.json does not have")
            if not isinstance(utterances, list):
                raise InputError(f"{path} has no list of utterances for {speaker!r}, expected one")
            labeled += [
                (_entry(path, utterance, f"utterance {n} of {speaker}"), speaker)
                for n, utterance in enumerate(utterances, 1)
            ]
        return width, labeled

    def _divided(self) -> list[tuple[_Entry, str, Part]]:
        _, labeled = self._labeled()
        parts = split([entry.name for entry, _ in labeled], [speaker for _, speaker in labeled])
        return [(entry, speaker, part) for (entry, speaker), part in zip(labeled, parts, strict=True)]


def _features(entries: Sequence[_Entry], width: int) -> Arrays:
    """`[frames, width]` of each tensor, loaded when it is read."""
    return Computed(entries, partial(_tensor, width=width), _frames)


def _frames(entry: _Entry) -> int:
    return entry.frames


def _read(path: Path) -> dict[str, Any]:
    content = read_json(path, "a file of the homework's format")
    if not isinstance(content, dict):
        raise InputError(f"{path} holds no JSON object, expected a file of the homework's format")
    return content


def _member(path: Path, content: Mapping[str, Any], name: str, kind: type) -> Any:
    value = content.get(name)
    if not isinstance(value, kind) or not value:
        words = {dict: "an object", list: "a list", int: "a number"}
        raise InputError(f"{path} has no {name}, expected {words[kind]} that is not empty")
    return value


def _check_width(path: Path, content: Mapping[str, Any], width: int) -> None:
    if _member(path, content, "n_mels", int) != width:
        raise InputError(f"{path} has n_mels {content['n_mels']}, expected {width} as the training part had")


def _entry(listed: Path, utterance: Any, which: str) -> _Entry:
    name, frames = (utterance.get(key) if isinstance(utterance, dict) else None for key in ("feature_path", "mel_len"))
    if not isinstance(name, str) or not isinstance(frames, int) or frames < 1:
        raise InputError(f"{listed} has no feature_path or mel_len for {which}, expected both")
    return _Entry(listed.parent / name, name, frames)


def _tensor(entry: _Entry, width: int) -> Array:
    values = _load(entry.path, width)
    if len(values) != entry.frames:
        raise InputError(f"{entry.path} has {len(values)} frames, expected {entry.frames} as its mel_len says")
    return values


def _load(path: Path, width: int) -> Array:
    """`[frames, width]` float32 of a tensor's file; nothing but tensors is unpickled."""
    import torch

    if not path.is_file():
        raise InputError(f"{path} is not there, expected a tensor")
    try:
        tensor = torch.load(path, map_location="cpu", weights_only=True)
    # What it raises depends on where the bytes stop making sense.
    except Exception as error:
        reason = reason_of(error)
        raise InputError(f"{path} cannot be read as a tensor: {reason}") from None
    if not isinstance(tensor, torch.Tensor) or tensor.ndim != 2 or not tensor.is_floating_point() or not len(tensor):
        content = list(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise InputError(f"{path} holds {content}, expected a float tensor [frames, {width}]")
    if tensor.shape[1] != width:
        raise InputError(f"{path} holds {list(tensor.shape)}, expected {width} bands as the training part had")
    values: Array = tensor.detach().float().numpy()
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values).all(1))[0])
        raise InputError(f"{path} has a frame {row} that is not finite")
    return values


def write_log_mel_folder(
    folder: Path | str, labeled: Iterable[tuple[str, Array]], unlabeled: Iterable[Array] = ()
) -> list[str]:
    """Writes a folder in the homework's format, which its published programs read as well.

    Args:
        folder: new, or one to write over.
        labeled: speakers and log-mel frames `[frames, bands]`; ids follow the order in which speakers come first.
        unlabeled: log-mel frames to predict for.

    Returns:
        the file names of the unlabeled ones, in order.

    Raises:
        InputError: nothing labeled, utterances of different widths, or a folder that cannot be written to.
    """
    root = Path(folder)
    speakers: dict[str, list[dict[str, Any]]] = {}
    width = 0
    for n, (speaker, values) in enumerate(labeled):
        width = width or values.shape[1]
        speakers.setdefault(speaker, []).append(_write(root, values, width, f"{n} {speaker}"))
    if not speakers:
        raise InputError(f"there is no labeled utterance for {root}, expected at least one")
    utterances = [_write(root, values, width, f"{n}") for n, values in enumerate(unlabeled)]
    ids = {speaker: n for n, speaker in enumerate(speakers)}
    mapping = {"speaker2id": ids, "id2speaker": {str(n): speaker for speaker, n in ids.items()}}
    for name, content in (
        ("metadata.json", {"n_mels": width, "speakers": speakers}),
        ("testdata.json", {"n_mels": width, "utterances": utterances}),
        ("mapping.json", mapping),
    ):
        write_atomically(root / name, (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode())
    return [utterance["feature_path"] for utterance in utterances]


def _write(root: Path, values: Array, width: int, which: str) -> dict[str, Any]:
    import torch

    if values.shape[1] != width:
        raise InputError(f"utterance {which} has {values.shape[1]} bands, expected {width} like the first")
    values = np.ascontiguousarray(values, np.float32)
    name = f"uttr-{hashlib.sha256(which.encode() + values.tobytes()).hexdigest()[:32]}.pt"
    buffer = io.BytesIO()
    torch.save(torch.from_numpy(values), buffer)
    write_atomically(root / name, buffer.getvalue())
    return {"feature_path": name, "mel_len": len(values)}
