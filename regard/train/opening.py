"""What is in a run folder, opened: experiment, encoding, model and task with their weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from regard.data.encoding import Encoding
from regard.errors import InputError
from regard.tasks.base import Task
from regard.train.experiment import Experiment
from regard.train.folder import WEIGHTS, load_weights, read_config, sizes_of_weights
from regard.train.kinds import build, build_model
from regard.train.memory import like_the_weights

__all__ = ["let_judge", "read_run"]


def read_run(folder: Path) -> tuple[Experiment, Encoding, nn.Module, Task]:
    """What `Run.open` reads; of `checkpoints/` nothing is needed, and nothing is ever unpickled.

    Raises:
        InputError: a file that is missing or was altered; the sentence names it.
    """
    experiment = read_config(folder)
    encoding = Encoding.load(folder)
    # Somebody else may have made the run: what its options ask for is not allocated before it is known to be there.
    with like_the_weights(sizes_of_weights(folder), str(folder / WEIGHTS)):
        model = build_model(experiment.model, experiment.task, encoding)
        task = build(experiment.task, model.width, encoding)
    task.attach(model)
    let_judge(task, experiment)
    load_weights(folder, experiment, model, task)
    return experiment, encoding, model.eval(), task.eval()


def let_judge(task: Any, experiment: Experiment) -> None:
    """Tell a task whose options name a run as its `judge` how to open it."""
    name = getattr(experiment.task, "judge", "")
    if not name:
        return

    def find() -> Any:
        from regard.tasks.written_pictures import Judge

        try:
            _, encoding, model, its_task = read_run(Path(name))
        except InputError as error:
            raise InputError(f"task.judge is {name!r}, and {error}") from None
        # What the task is, it looks at itself.
        return Judge(model, its_task, encoding)  # type: ignore[arg-type]

    task.find_judge = find
