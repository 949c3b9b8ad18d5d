"""`regard speaker`: enroll voices, say whose a recording is, and verify that it is somebody's."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from regard.cli.options import parse, parser
from regard.cli.table import print_table
from regard.errors import InputError, nearest

if TYPE_CHECKING:
    from regard.speaker.calibration import Calibration, Cohort
    from regard.speaker.rates import Rates, Trials
    from regard.speaker.store import Store
    from regard.speaker.voices import Voices

__all__ = ["run"]

_DESCRIPTION = """What can be done with a trained model of speakers:

  regard speaker enroll NAME FILE... --run RUN     keep the voice of a person (no sound is kept)
  regard speaker identify FILE... --run RUN        whose voice it is, or nobody's
  regard speaker verify NAME FILE... --run RUN     whether it is this person's voice
  regard speaker list --run RUN                    who is enrolled; this and the next two need the store alone,
  regard speaker export NAME --run RUN             the vectors of a person, as JSON              whatever the model
  regard speaker remove NAME --run RUN             forget a person, and overwrite the vectors
  regard speaker calibrate --run RUN               choose the threshold, on the validation part or other recordings
  regard speaker evaluate --run RUN                error rates over all pairs of a part, or over a list
  regard speaker trials LIST --run RUN             write a list of pairs to compare, of a part or of --data FOLDER

A voice is biometric data: ask whom you enroll. Nothing here tells a living voice from a recorded or synthetic one."""


def _options() -> Any:
    options = parser("speaker", _DESCRIPTION)
    options.add_argument("action", metavar="ACTION", help=", ".join(_ACTIONS))
    options.add_argument("operands", metavar="NAME | FILE", nargs="*", help="what the action takes")
    options.add_argument("--run", type=str, metavar="RUN", help="the folder of a trained run")
    options.add_argument(
        "--store", type=str, default="", metavar="FILE", help="of the voices; RUN/voices.db if not given"
    )
    options.add_argument(
        "--part",
        type=Literal["test", "validation", "train", "unseen"] | None,
        default=None,
        help="of the data, for evaluate and trials (test if not given) and calibrate (validation if not given); "
        "unseen: the voices of data.unseen",
    )
    options.add_argument(
        "--trials", type=str, default="", metavar="LIST", help="for evaluate and calibrate: take the pairs of this list"
    )
    options.add_argument(
        "--data",
        type=str,
        default="",
        metavar="FOLDER",
        help="that a list's paths are relative to; for trials: of sounds by label. The run's data if not given",
    )
    options.add_argument(
        "--pairs", type=int, default=20_000, help="for trials: at most so many of each kind; 0 for all"
    )
    options.add_argument(
        "--seconds", type=float, default=0.0, help="for evaluate, calibrate: of each sound's middle; 0 keeps all"
    )
    options.add_argument(
        "--false_acceptance", type=float, default=0.01, help="for calibrate: how many strangers in all may pass"
    )
    options.add_argument(
        "--norm",
        type=int,
        default=0,
        metavar="N",
        help="for calibrate: normalize scores by the N nearest of the training sounds; 0: they are cosines",
    )
    options.add_argument(
        "--within",
        type=bool,
        default=False,
        help="for calibrate: count those directions less in which training sounds of one voice differ",
    )
    options.add_argument(
        "--mixture",
        type=int | None,
        default=None,
        metavar="K",
        help="for calibrate: learn a mixture of K Gaussians from the training sounds, whose vectors stand beside the "
        "network's from then on; 0: no longer. Voices that are enrolled must be enrolled anew",
    )
    return options


def run(arguments: Sequence[str]) -> int:
    chosen = parse(_options(), arguments)
    if chosen.action not in _ACTIONS:
        raise InputError(f"speaker does not know {chosen.action!r}: {nearest(chosen.action, _ACTIONS)}")
    act, least, most, wanted = _ACTIONS[chosen.action]
    if not least <= len(chosen.operands) <= most:
        raise InputError(f"speaker {chosen.action} got {len(chosen.operands)} operands, expected {wanted}")
    if chosen.action == "trials" and chosen.data:
        return _write_trials(None, chosen)
    if chosen.action in _WITHOUT_MODEL and chosen.store:
        return act(None, chosen)
    if not chosen.run:
        also = ", or --store" if chosen.action in _WITHOUT_MODEL else ""
        raise InputError(f"speaker {chosen.action} needs --run, expected the folder of a trained run{also}")
    if chosen.action in _WITHOUT_MODEL:
        return act(None, chosen)

    from regard.speaker.voices import Voices

    return act(Voices.open(chosen.run), chosen)


def _place(chosen: Any) -> Path:
    """Of the store."""
    return Path(chosen.store) if chosen.store else Path(chosen.run) / "voices.db"


def _store(voices: Voices, chosen: Any) -> Store:
    from regard.speaker.store import Store

    return Store(_place(chosen), voices.identity, voices.width)


def _enroll(voices: Voices, chosen: Any) -> int:
    from regard.files import sha256

    name, *files = chosen.operands
    store = _store(voices, chosen)
    sounds, vectors = voices.sounds(files)
    store.enroll(name, vectors, [sha256(Path(each)) for each in sounds])
    print(f"{name}: {len(sounds)} recordings enrolled in {store.path}")
    return 0


def _identify(voices: Voices, chosen: Any) -> int:
    store, calibration = _store(voices, chosen), voices.calibration()
    known, means = store.voices()
    if not known:
        raise InputError(f"nobody is enrolled in {store.path}, expected `regard speaker enroll NAME FILE...` first")
    sounds, vectors = voices.sounds(chosen.operands)
    for sound, scores in zip(sounds, calibration.cohort.scores(vectors, means), strict=True):
        best = sorted(range(len(known)), key=lambda n: -scores[n])[:5]
        top = scores[best[0]]
        name = known[best[0]] if top >= calibration.threshold else None
        told: dict[str, Any] = {"name": name} | _told(calibration, top)
        told["nearest"] = {known[n]: round(float(scores[n]), 4) for n in best}
        print(json.dumps({"file": sound} | told, ensure_ascii=False), flush=True)
    return 0


def _verify(voices: Voices, chosen: Any) -> int:
    from regard.speaker.vectors import mean_directions

    name, *files = chosen.operands
    store, calibration = _store(voices, chosen), voices.calibration()
    _, mean = mean_directions(*store.vectors(name))
    sounds, vectors = voices.sounds(files)
    for sound, (score,) in zip(sounds, calibration.cohort.scores(vectors, mean), strict=True):
        told = {"file": sound, "name": name, "accepted": bool(score >= calibration.threshold)}
        print(json.dumps(told | _told(calibration, score), ensure_ascii=False), flush=True)
    return 0


def _told(calibration: Calibration, score: float) -> dict[str, Any]:
    """What a score means."""
    return {
        "score": round(float(score), 4),
        "threshold": round(calibration.threshold, 4),
        "probability": round(float(calibration.probability(score)), 4),
    }


def _list(voices: None, chosen: Any) -> int:
    from regard.speaker.store import Store

    place = _place(chosen)
    if not chosen.store and not place.exists() and (Path(chosen.run) / "config.yaml").is_file():
        print(f"nobody is enrolled in {place}")
        return 0
    store = Store.existing(place)
    found = store.names()
    if not found:
        print(f"nobody is enrolled in {store.path}")
        return 0
    print_table(["name", "recordings", "since"], [(e.name, str(e.recordings), e.since) for e in found], str(store.path))
    return 0


def _export(voices: None, chosen: Any) -> int:
    from regard.speaker.store import Store

    (name,) = chosen.operands
    store = Store.existing(_place(chosen))
    _, vectors = store.vectors(name)
    print(json.dumps({"name": name, "model": store.model, "vectors": vectors.tolist()}, ensure_ascii=False))
    return 0


def _remove(voices: None, chosen: Any) -> int:
    from regard.speaker.store import Store

    (name,) = chosen.operands
    store = Store.existing(_place(chosen))
    print(f"{name}: {store.remove(name)} recordings removed from {store.path}")
    return 0


def _trials(voices: Voices, chosen: Any, part: str, cohort: Cohort) -> tuple[Trials, str]:
    """The scored trials that the options ask for, and what they are in words."""
    if not chosen.trials:
        if chosen.data:
            raise InputError("--data needs --trials, expected a list whose paths are in that folder")
        part = chosen.part or part
        return voices.trials(part, chosen.seconds, cohort), f"{part} part"  # type: ignore[arg-type]
    if chosen.part:
        raise InputError("--part and --trials are both given, expected one of them")

    from regard.speaker.lists import read_trials

    folder = Path(chosen.data) if chosen.data else None
    found = voices.listed(read_trials(Path(chosen.trials)), folder, chosen.seconds, cohort)
    return found, f"list {chosen.trials}"


def _counts(trials: Trials) -> str:
    same = int(trials.targets.sum())
    return f"{same:,} pairs of one speaker, {len(trials.scores) - same:,} of two"


def _calibrate(voices: Voices, chosen: Any) -> int:
    if chosen.norm < 0:
        raise InputError(f"--norm is {chosen.norm}, expected 0 or how many training sounds normalize a score")
    if chosen.mixture is not None:
        if chosen.mixture < 0:
            raise InputError(f"--mixture is {chosen.mixture}, expected 0 or a number of Gaussians")
        # Kept with the calibration: what is refused until then changes nothing.
        voices = replace(voices, mixture=voices.learned_mixture(chosen.mixture) if chosen.mixture else None)
    cohort = voices.cohort(chosen.norm, chosen.within)
    trials, source = _trials(voices, chosen, "validation", cohort)
    found = voices.calibrate(trials, chosen.false_acceptance, cohort, source)
    passed = float((trials.scores[~trials.targets] >= found.threshold).mean())
    print(f"{voices.name}, {source}: {_counts(trials)}, {cohort.name}")
    print(f"threshold {found.threshold:.4f}: {passed:.2%} of two speakers reach it, {found.miss:.2%} of one do not")
    return 0


def _evaluate(voices: Voices, chosen: Any) -> int:
    from regard.speaker.calibration import Cohort
    from regard.speaker.rates import at_threshold, equal_error_rate, interval, minimum_cost, rates

    calibration = voices.written_calibration()
    cohort = calibration.cohort if calibration else Cohort()
    trials, source = _trials(voices, chosen, "test", cohort)
    statistics: dict[str, Callable[[Rates], float]] = {
        "equal error rate": equal_error_rate,
        "minimum cost at prior 0.01": minimum_cost,
    }
    if calibration:
        threshold = calibration.threshold
        statistics[f"misses at the threshold {threshold:.4f}"] = lambda found: at_threshold(found, threshold)[0]
        statistics["false acceptances at it"] = lambda found: at_threshold(found, threshold)[1]
    found, rows = rates(trials.scores, trials.targets), []
    for name, statistic in statistics.items():
        low, high = interval(trials, statistic, draws=200)
        rows.append((name, f"{statistic(found):.4f}", f"{low:.4f} to {high:.4f}"))
    title = f"{voices.name}, {source}: {_counts(trials)}, {cohort.name}"
    print_table(["measure", "value", "95 % interval"], rows, title)
    return 0


def _write_trials(voices: Voices | None, chosen: Any) -> int:
    from regard.data.speech import Sounds
    from regard.speaker.lists import write_trials

    if chosen.pairs < 0:
        raise InputError(f"--pairs is {chosen.pairs}, expected 0 or how many of each kind to write at most")
    if voices is None:
        reader, part = Sounds(chosen.data), chosen.part
    else:
        reader, part = voices.sound_reader, chosen.part or "test"
    names, labels = zip(*reader.listing(part), strict=True)
    (path,) = chosen.operands
    same, other = write_trials(Path(path), names, labels, chosen.pairs)
    print(f"{path}: {same:,} pairs of one speaker, {other:,} of two, of {len(names):,} sounds in {reader.root}")
    return 0


# What is promised of biometric data holds whatever has become of the model.
_WITHOUT_MODEL = ("list", "export", "remove")
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
    "trials": (_write_trials, 1, 1, "the file to write"),
}
