"""Pictures that a trained model of the next pixel writes, or goes on with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from regard.decoding.stepper import Limits
from regard.decoding.walk import sample
from regard.errors import InputError, check_number
from regard.models.continuing import ModelStepper, RecomputingStepper, remembers
from regard.models.model import Model
from regard.tasks.next_pixel import NextPixelTask
from regard.train.scoring import device_of

if TYPE_CHECKING:
    from regard.data.examples import Array
    from regard.train.runs import Run

__all__ = ["paint"]


def paint(
    run: Run,
    begun: Sequence[Array],
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    told: Callable[[], None] | None = None,
) -> list[Array]:
    """`[h, w]` uint8: for each beginning, a picture that begins with it, whose other pixels are drawn one after another.

    Args:
        run: of the task NextPixel.
        begun: `[n]` the levels of the first n pixels of each picture, row by row; n is 0 for a picture of the model's own.
        temperature, top_k, top_p: as in `regard.decoding.walk.sample`; temperature 0 takes the most probable each time.
        seed: picture n is drawn by seed + n, whatever other pictures there are.
        told: called after each pixel.

    Raises:
        InputError: a run of another task, beginnings that are no levels or longer than a picture, or numbers out of their bounds.
    """
    task, model = run.task, run.model
    if not isinstance(task, NextPixelTask):
        raise InputError(
            f"{run.folder} is a run of the task {type(run.experiment.task).__name__}, expected one of NextPixel, as "
            "`regard train clothes-pixels` makes"
        )
    check_number("paint", "seed", seed, "int", least=0)
    height, width = task.extent
    for levels in begun:
        _check(levels, height * width, task.begin)
    if not isinstance(model, Model):
        raise InputError(f"{run.folder} has a model that cannot write pictures, expected an Encoder")
    device = device_of(run.experiment.training)
    model.to(device).eval()
    task.to(device)
    coords = torch.cartesian_prod(torch.arange(float(height)), torch.arange(float(width)))
    ids = [[task.begin, *np.asarray(levels).tolist()] for levels in begun]
    longest = torch.tensor([height * width + 1 - len(each) for each in ids], dtype=torch.int64, device=device)

    def scores(hidden: Tensor) -> Tensor:
        # BEGIN is fed, and never comes.
        return pad(task.scores(hidden), (0, 1), value=-torch.inf)

    made: Any = ModelStepper if model.grows and remembers(model) else RecomputingStepper
    stepper = made(model, scores, task.begin + 1, [each[:-1] for each in ids], coords)
    begins = torch.tensor([each[-1] for each in ids], dtype=torch.int64, device=device)
    limits = Limits(begins, None, (task.begin,), longest)
    each_step = None if told is None else lambda sets, levels: told()
    drawn = sample(stepper, limits, [seed + n for n in range(len(ids))], temperature, top_k, top_p, each_step)
    model.cpu()
    task.cpu()
    whole = [[*levels[1:], *hypotheses[0].ids] for levels, hypotheses in zip(ids, drawn, strict=True)]
    return [np.array(levels, np.uint8).reshape(height, width) for levels in whole]


def _check(levels: Array, most: int, count: int) -> None:
    levels = np.asarray(levels)
    if levels.ndim != 1 or len(levels) > most:
        raise InputError(f"a beginning has shape {list(levels.shape)}, expected at most {most} pixels in one row")
    if len(levels) and not (levels.dtype.kind in "iu" and levels.min() >= 0 and levels.max() < count):
        raise InputError(
            f"a beginning has levels from {levels.min()} to {levels.max()}, expected whole numbers from 0 to {count - 1}"
        )
