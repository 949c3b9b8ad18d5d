"""`regard train`: a recipe or a configuration, changed by options, becomes one run or several."""

import itertools
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import MISSING, asdict, fields, replace
from inspect import cleandoc
from pathlib import Path
from typing import Any, Literal

import jsonargparse

from regard.cli.options import parse, parser
from regard.data.readers import reading
from regard.errors import InputError
from regard.files import read_whole
from regard.recipes import RECIPES, recipe
from regard.train import Experiment, from_yaml, to_yaml
from regard.train.earlier import refuse_moved
from regard.train.folder import read_config, read_start
from regard.train.kinds import KINDS, PIECES, kind
from regard.train.values import LONGEST_YAML, explained, fits, names_type, nested, types_of

__all__ = ["run"]

_DESCRIPTION = """Train, and write a run folder: its configuration, weights, metrics and curves.
Every option of an experiment can be set, and `regard train RECIPE --help` lists them.
Sections of an experiment with a --SECTION.type can become another type; options that both types have keep their values."""
_BARE = ("-h", "--help", "--print_config", "--changed_data")  # options without a value


def run(arguments: Sequence[str]) -> int:
    operands, given = _scan(arguments)
    if "--resume" in given:
        return _resume(Path(given["--resume"]), operands, arguments)
    if not operands and "--config" not in given:
        _without_recipe(arguments)
    base = _base(operands, given.get("--config"))
    first, options = _read(base, arguments)
    # All of them before any run begins, so that the last value of a sweep is refused now and not in an hour.
    experiments = {words: _read(base, [*arguments, *settings])[0] for words, settings in _variants(options, first)}
    if options.print_config:
        if len(experiments) > 1:
            raise InputError("--print_config shows one experiment, expected neither --sweep nor --seeds with it")
        print(to_yaml(first), end="")
        return 0
    with _folder(options.folder, base.recipe) as folder:
        return _train({folder / words: experiment for words, experiment in experiments.items()})


def _scan(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Operands, and the values of options, before it is known which options the experiment has."""
    operands: list[str] = []
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("-"):
            operands.append(name)
        elif name not in _BARE:
            if not equals and rest and not rest[0].startswith("--"):
                value = rest.pop(0)
            if not value and name in ("--config", "--resume"):
                raise InputError(f"{name} has no value, expected one after it")
            given[name] = value
    return operands, given


def _without_recipe(arguments: Sequence[str]) -> None:
    """The help that needs no recipe, or the reason why one is needed."""
    if {"-h", "--help"} & set(arguments):
        parse(_common("train"), arguments)
    raise InputError(f"train needs a recipe, expected one of {', '.join(RECIPES)}, or --config FILE")


def _base(operands: Sequence[str], config: str | None) -> Experiment:
    """The experiment that options change: a recipe's, or the one in a configuration file."""
    if len(operands) > 1:
        raise InputError(f"train got {' and '.join(map(repr, operands))}, expected one recipe")
    if config is None:
        return recipe(operands[0]).experiment()
    try:
        text = read_whole(Path(config), LONGEST_YAML).decode()
    except UnicodeDecodeError:
        raise InputError(f"{config} is no text in UTF-8, expected a configuration in YAML") from None
    base = from_yaml(text, config)
    if operands and base.recipe != recipe(operands[0]).name:
        raise InputError(
            f"{config} is for the recipe {base.recipe!r}, but the command names {operands[0]!r}, expected the same recipe"
        )
    return base


def _common(command: str) -> jsonargparse.ArgumentParser:
    """The options that are not part of an experiment."""
    options = parser(command, _DESCRIPTION)
    options.add_argument("recipe", nargs="?", metavar="RECIPE", help=f"one of {', '.join(RECIPES)}")
    options.add_argument("--config", metavar="FILE", help="an experiment in YAML instead of a recipe's")
    options.add_argument(
        "--resume", metavar="RUN", help="continue a run that was stopped, or with a larger --training.epochs"
    )
    options.add_argument(
        "--changed_data", action="store_true", help="resume although files that the run learned from have changed"
    )
    options.add_argument("--folder", metavar="RUN", help="where to write the run; runs/RECIPE-N if not given")
    options.add_argument(
        "--seeds", type=int, default=1, help="a run for each of this many seeds, from training.seed on"
    )
    options.add_argument(
        "--sweep",
        action="append",
        default=[],
        metavar="OPTION=A,B",
        help="a run for each value; several --sweep make a run for each combination",
    )
    options.add_argument("--print_config", action="store_true", help="print the experiment in YAML and stop")
    return options


def _read(base: Experiment, arguments: Sequence[str]) -> tuple[Experiment, jsonargparse.Namespace]:
    """The base experiment with the arguments' changes, and the other options."""
    _, given = _scan(arguments)
    if "--training.start" in given and "--config" not in given:
        base = replace(base, model=_model_of(given["--training.start"], base.model))
    options = _common(f"train {base.recipe}")
    types = {}
    for section, known in KINDS.items():
        before = getattr(base, section)
        name = given.get(f"--{section}.type", type(before).__name__)
        refuse_moved(section, name, "")
        types[section] = kind(section, name)
        _add_section(options, section, types[section], before)
        if len(known) > 1:
            options.add_argument(
                f"--{section}.type", type=Literal[*known], default=type(before).__name__, help="another type"
            )
    chosen = parse(options, _whole_names(arguments, types))
    if chosen.seeds < 1:
        raise InputError(f"--seeds is {chosen.seeds}, expected at least 1")
    sections: dict[str, Any] = {section: _made(made, chosen[section]) for section, made in types.items()}
    if "--task.type" in given and not given.keys() & {"--data.target", "--data.numbers"}:
        sections["data"] = reading(sections["data"], getattr(types["task"], "targets", "label"))
    # As the run folder's configuration will be read, where 0 for a fraction is 0.0.
    return from_yaml(to_yaml(Experiment(base.recipe, **sections))), chosen


def _add_section(options: jsonargparse.ArgumentParser, section: str, chosen: type, before: Any) -> None:
    """The options of a section, with the values of those that it had before as defaults."""
    _add_options(options, chosen, section)
    groups = {entry.name for entry in fields(chosen) if nested(entry)}
    for name in {entry.name for entry in fields(chosen)} & {entry.name for entry in fields(before)}:
        value = getattr(before, name)
        # Another type may know an option of the same name with other values.
        if name not in groups and not fits(types_of(chosen)[name], value):
            continue
        values = {f"{name}.{inner}": each for inner, each in asdict(value).items()} if name in groups else {name: value}
        options.set_defaults({f"{section}.{option}": each for option, each in values.items()})


def _add_options(options: Any, chosen: type, section: str) -> None:
    """An argument for each option of a dataclass, and of its groups, by the types and the docstring alone.

    jsonargparse's own way would import whatever a module of options names for type checkers, torch included.
    """
    group = options.add_argument_group(f"{section}: {cleandoc(chosen.__doc__ or '').partition(chr(10))[0]}")
    texts = explained(chosen)
    for entry in fields(chosen):
        inner, name = nested(entry), f"{section}.{entry.name}"
        if inner is not None:
            _add_options(options, inner, name)
            continue
        default = {} if entry.default is MISSING else {"default": entry.default}
        text = texts.get(entry.name, "").replace("%", "%%")
        group.add_argument(f"--{name}", type=types_of(chosen)[entry.name], required=not default, help=text, **default)


def _whole_names(arguments: Sequence[str], types: Mapping[str, type]) -> list[str]:
    """The arguments where `--model.positions rotary` is `--model.positions.type rotary`.

    Raises:
        InputError: an option that has another name now.
    """
    short = {
        f"--{section}.{entry.name}" for section, made in types.items() for entry in fields(made) if names_type(entry)
    }
    whole = []
    for argument in arguments:
        name, equals, value = argument.partition("=")
        section, _, option = name.removeprefix("--").partition(".")
        if (
            name.startswith("--")
            and section in types
            and option not in {entry.name for entry in fields(types[section])}
        ):
            refuse_moved(section, types[section].__name__, option)
        whole.append(f"{name}.type{equals}{value}" if name in short else argument)
    return whole


# Of a model that becomes a piece of another one: the options that its weights depend on.
_SHARED = ("width", "layers", "heads", "feed_forward", "norm", "activation", "attention")


def _model_of(run: str, own: Any) -> Any:
    """The model of the run that training begins with, which a recipe's gives way to; only other options can change it.

    Where it is a piece of the recipe's, that one stays, with as many and as large vectors and blocks in the piece. Word vectors
    that the run began with are in its weights.
    """
    model = read_start(run).model
    if (type(model).__name__, type(own).__name__) in PIECES:
        return replace(own, **{name: getattr(model, name) for name in _SHARED})
    front = getattr(model, "front", None)
    return replace(model, front=replace(front, vectors="")) if front else model


def _made(kind: type, values: Mapping[str, Any]) -> Any:
    """The options as the value that they are of, and those of an option's own likewise."""
    made = {}
    for each in fields(kind):
        value = values[each.name]
        inner = nested(each)
        made[each.name] = value if inner is None else _made(inner, value)
    return kind(**made)


def _variants(options: jsonargparse.Namespace, base: Experiment) -> list[tuple[str, list[str]]]:
    """For each run that is asked for, its name within the folder and the settings that make it."""
    axes = [_sweep(text) for text in options.sweep]
    if options.seeds > 1:
        axes.append([("training.seed", str(base.training.seed + n)) for n in range(options.seeds)])
    found = []
    for settings in itertools.product(*axes):
        words = ",".join(f"{name.partition('.')[2] or name}={_slug(value)}" for name, value in settings)
        found.append((words, [f"--{name}={value}" for name, value in settings]))
    names = [words for words, _ in found]
    for words in names:
        if names.count(words) > 1:
            raise InputError(f"--sweep and --seeds ask for the run {words!r} twice, expected each run once")
    return found


def _sweep(text: str) -> list[tuple[str, str]]:
    name, equals, listed = text.partition("=")
    values = [""]
    depth = 0
    for character in listed:
        depth += (character in "([{") - (character in ")]}")
        # Commas inside brackets belong to a value: Window(64, 16).
        if character == "," and depth == 0:
            values.append("")
        else:
            values[-1] += character
    if not equals or not all(value.strip() for value in values):
        raise InputError(f"--sweep is {text!r}, expected an option and its values such as model.width=64,128")
    return [(name.removeprefix("--"), value.strip()) for value in values]


def _slug(value: str) -> str:
    """The value as a part of a folder's name."""
    return re.sub(r"[^\w.+-]+", "-", value).strip("-")


@contextmanager
def _folder(given: str | None, name: str) -> Iterator[Path]:
    """The folder to write: the one that is given, or the next number, made at once so that no other training takes it."""
    if given is not None:
        yield Path(given)
        return
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError("training in several processes needs --folder, so that all of them write one run")
    for n in itertools.count(1):
        folder = Path("runs", f"{name}-{n}")
        try:
            folder.parent.mkdir(exist_ok=True)
            folder.mkdir()
        except FileExistsError:
            if folder.parent.is_dir():
                continue
            raise
        break
    try:
        yield folder
    finally:
        # Nothing is left of a training that was refused.
        for place in (folder, folder.parent):
            with suppress(OSError):
                place.rmdir()


def _resume(folder: Path, operands: Sequence[str], arguments: Sequence[str]) -> int:
    """Continue a run unchanged, or with more epochs."""
    _, given = _scan(arguments)
    others = given.keys() - {"--resume", "--training.epochs"}
    if operands or others:
        found = " and ".join(map(repr, [*operands, *sorted(others)]))
        expected = "expected no recipe and no other option with it than --training.epochs and --changed_data"
        raise InputError(f"--resume continues a run unchanged and got {found}, {expected}")
    experiment = read_config(folder)
    if epochs := given.get("--training.epochs"):
        experiment = _longer(experiment, epochs, folder)
    return _train({folder: experiment}, resume=True, changed_data="--changed_data" in arguments)


def _longer(experiment: Experiment, epochs: str, folder: Path) -> Experiment:
    before = experiment.training.epochs
    if not epochs.isdecimal() or int(epochs) <= before:
        found = f"--training.epochs is {epochs!r}, and {folder} is a training of {before} epochs"
        raise InputError(f"{found}, expected a larger whole number")
    return replace(experiment, training=replace(experiment.training, epochs=int(epochs)))


def _train(experiments: dict[Path, Experiment], resume: bool = False, changed_data: bool = False) -> int:
    from regard.train import fit

    first = os.environ.get("RANK", "0") == "0"
    for folder in experiments:
        # Only one of several processes looks, because it is the one that writes.
        if first and not resume and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"{folder} already exists, expected a new folder; --resume {folder} continues a run")
    for folder, experiment in experiments.items():
        try:
            fit(experiment, folder, resume=resume, **({"changed_data": True} if changed_data else {}))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted: `regard train --resume {folder}` continues") from None
        if first:
            print(f"The run lies in {folder}")
    return 0
