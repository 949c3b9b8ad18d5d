"""`regard speaker`: enroll voices, say whose a recording is, and verify that it is somebody's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regard.cli.options import parse, parser
from regard.cli.table import print_table
from regard.errors import InputError, nearest

if TYPE_CHECKING:
    from regard.speaker.store import Store
    from regard.speaker.voices import Voices

__all__ = ["run"]

_DESCRIPTION = """What can be done with a trained model of speakers:

  regard speaker enroll NAME FILE... --run RUN     keep the voice of a person (no sound is kept)
  regard speaker identify FILE... --run RUN        whose voice it is, or nobody's
  regard speaker verify NAME FILE... --run RUN     whether it is this person's voice
  regard speaker list --run RUN                    who is enrolled
  regard speaker export NAME --run RUN             the vectors of a person, as JSON
  regard speaker remove NAME --run RUN             forget a person, and overwrite the vectors
  regard speaker calibrate --run RUN               choose the threshold on the validation part
  regard speaker evaluate --run RUN                error rates over all pairs of a part

A voice is biometric data: ask whom you enroll. Nothing here tells a living voice from a recorded or synthetic one."""


def run(arguments: Sequence[str]) -> int:
    options = parser("speaker", _DESCRIPTION)
    options.add_argument("action", metavar="ACTION", help=", ".join(_ACTIONS))
    options.add_argument("operands", metavar="NAME | FILE", nargs="*", help="what the action takes")
    options.add_argument("--run", type=str, metavar="RUN", help="the folder of a trained run")
    options.add_argument(
        "--store", type=str, default="", metavar="FILE", help="of the voices; RUN/voices.db if not given"
    )
    options.add_argument(
        "--part",
        type=Literal["test", "validation", "train", "unseen"],
        default="test",
        help="of the data, for evaluate; unseen: the voices of data.unseen",
    )
    options.add_argument("--seconds", type=float, default=0.0, help="for evaluate: of each sound's middle; 0 keeps all")
    options.add_argument(
        "--false_acceptance", type=float, default=0.01, help="for calibrate: how many strangers in all may pass"
    )
    chosen = parse(options, arguments)
    if chosen.action not in _ACTIONS:
        raise InputError(f"speaker does not know {chosen.action!r}: {nearest(chosen.action, _ACTIONS)}")
    act, least, most, wanted = _ACTIONS[chosen.action]
    if not least <= len(chosen.operands) <= most:
        raise InputError(f"speaker {chosen.action} is given {len(chosen.operands)} operands, expected {wanted}")
    if not chosen.run:
        raise InputError(f"speaker {chosen.action} is given no --run, expected the folder of a trained run")

    from regard.speaker.voices import Voices

    return act(Voices.open(chosen.run), chosen)


def _store(voices: Voices, chosen: Any) -> Store:
    from regard.speaker.store import Store

    return Store(Path(chosen.store) if chosen.store else voices.run.folder / "voices.db", voices.identity, voices.width)


def _enroll(voices: Voices, chosen: Any) -> int:
    from regard.data.files import sha256

    name, *files = chosen.operands
    store = _store(voices, chosen)
    sounds, vectors = voices.sounds(files)
    store.enroll(name, vectors, [sha256(Path(each)) for each in sounds])
    print(f"{name}: {len(sounds)} recordings enrolled in {store.path}")
    return 0


def _identify(voices: Voices, chosen: Any) -> int:
    from regard.speaker.vectors import cosines

    store, calibration = _store(voices, chosen), voices.calibration()
    known, means = store.voices()
    if not known:
        raise InputError(f"nobody is enrolled in {store.path}, expected `regard speaker enroll NAME FILE...` before")
    sounds, vectors = voices.sounds(chosen.operands)
    for sound, scores in zip(sounds, cosines(vectors, means), strict=True):
        best = sorted(range(len(known)), key=lambda n: -scores[n])[:5]
        top = scores[best[0]]
        print(
            json.dumps(
                {
                    "file": sound,
                    "name": known[best[0]] if top >= calibration.threshold else None,
                    "score": round(float(top), 4),
                    "threshold": round(calibration.threshold, 4),
                    "probability": round(float(calibration.probability(top)), 4),
                    "nearest": {known[n]: round(float(scores[n]), 4) for n in best},
                },
                ensure_ascii=False,
            ),
            flush=True,
        )
    return 0


def _verify(voices: Voices, chosen: Any) -> int:
    from regard.speaker.vectors import cosines, unit

    name, *files = chosen.operands
    store, calibration = _store(voices, chosen), voices.calibration()
    mean = unit(store.vectors(name)[1]).mean(0, keepdims=True)
    sounds, vectors = voices.sounds(files)
    for sound, (score,) in zip(sounds, cosines(vectors, mean), strict=True):
        told = {
            "file": sound,
            "name": name,
            "accepted": bool(score >= calibration.threshold),
            "score": round(float(score), 4),
            "threshold": round(calibration.threshold, 4),
            "probability": round(float(calibration.probability(score)), 4),
        }
        print(json.dumps(told, ensure_ascii=False), flush=True)
    return 0


def _list(voices: Voices, chosen: Any) -> int:
    store = _store(voices, chosen)
    found = store.names()
    if not found:
        print(f"nobody is enrolled in {store.path}")
        return 0
    print_table(["name", "recordings", "since"], [(e.name, str(e.recordings), e.since) for e in found], str(store.path))
    return 0


def _export(voices: Voices, chosen: Any) -> int:
    (name,) = chosen.operands
    _, vectors = _store(voices, chosen).vectors(name)
    print(json.dumps({"name": name, "model": voices.identity, "vectors": vectors.tolist()}, ensure_ascii=False))
    return 0


def _remove(voices: Voices, chosen: Any) -> int:
    (name,) = chosen.operands
    store = _store(voices, chosen)
    print(f"{name}: {store.remove(name)} recordings removed from {store.path}")
    return 0


def _calibrate(voices: Voices, chosen: Any) -> int:
    found = voices.calibrate(chosen.false_acceptance)
    print(f"threshold {found.threshold:.4f}: {found.false_acceptance:.2%} of the pairs of two speakers reach it")
    return 0


def _evaluate(voices: Voices, chosen: Any) -> int:
    from regard.speaker.rates import equal_error_rate, interval, minimum_cost, rates

    trials = voices.trials(chosen.part, chosen.seconds)
    found = rates(trials.scores, trials.targets)
    rows = []
    for name, statistic in (("equal error rate", equal_error_rate), ("minimum cost at prior 0.01", minimum_cost)):
        low, high = interval(trials, statistic, draws=200)
        rows.append((name, f"{statistic(found):.4f}", f"{low:.4f} to {high:.4f}"))
    same = int(trials.targets.sum())
    counts = f"{same:,} pairs of one speaker, {len(trials.scores) - same:,} of two"
    print_table(["measure", "value", "95 % interval"], rows, f"{voices.run.folder}, {chosen.part} part: {counts}")
    return 0


_MANY = 1 << 20
_ACTIONS: dict[str, tuple[Callable[[Any, Any], int], int, int, str]] = {
    "enroll": (_enroll, 2, _MANY, "a name and at least one file"),
    "identify": (_identify, 1, _MANY, "at least one file"),
    "verify": (_verify, 2, _MANY, "a name and at least one file"),
    "list": (_list, 0, 0, "none"),
    "export": (_export, 1, 1, "a name"),
    "remove": (_remove, 1, 1, "a name"),
    "calibrate": (_calibrate, 0, 0, "none"),
    "evaluate": (_evaluate, 0, 0, "none"),
}
