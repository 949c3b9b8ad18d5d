"""Texts that a trained language model goes on with."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from regard.decoding.stepper import Limits
from regard.decoding.walk import sample
from regard.errors import InputError, check_number
from regard.layers.positions import Learned
from regard.models.continuing import ModelStepper
from regard.tasks.next_token import NextTokenTask
from regard.train.scoring import device_of

if TYPE_CHECKING:
    from regard.train.runs import Run

__all__ = ["generate", "task_of"]


def task_of(run: Run) -> NextTokenTask:
    """The task of a language model.

    Raises:
        InputError: a run of another task.
    """
    if not isinstance(run.task, NextTokenTask):
        raise InputError(
            f"{run.folder} is a run of the task {type(run.experiment.task).__name__}, expected one of NextToken, as "
            "`regard train characters` makes"
        )
    return run.task


def generate(
    run: Run,
    prompts: Sequence[str],
    length: int,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    seed: int = 0,
    told: Callable[[int, str], None] | None = None,
) -> list[str]:
    """What a language model goes on with after each prompt: `length` characters, without the prompt.

    Args:
        run: of the task NextToken.
        prompts: at least one character each.
        temperature, top_k, top_p: as in `regard.decoding.walk.sample`; temperature 0 takes the most probable each time.
        seed: text n is drawn by seed + n, whatever other prompts there are.
        told: called with the number of the prompt and each character as soon as it is drawn.

    Raises:
        InputError: a run of another task, a prompt that is empty or has characters that the training part lacks, numbers out of
            their bounds, or more characters than the model's positions reach.
    """
    task, model = task_of(run), run.model
    check_number("generate", "length", length, "int", least=1)
    check_number("generate", "seed", seed, "int", least=0)
    if isinstance(prompts, str):
        raise InputError(f"prompts are {prompts[:40]!r}, expected a list of them")
    for prompt in prompts:
        if not prompt:
            raise InputError("the prompt is empty, expected at least one character to go on from")
    begun = [task.ids_of(prompt) for prompt in prompts]
    found: Any = model
    _check_reach(found, max(map(len, begun), default=0), length)
    device = device_of(run.experiment.training)
    model.to(device).eval()
    entries = task.entries
    stepper = ModelStepper(found, task.scores, len(entries), [ids[:-1] for ids in begun])
    limits = Limits(
        torch.tensor([ids[-1] for ids in begun], dtype=torch.int64, device=device),
        None,
        (0,),  # the unknown character
        torch.full((len(begun),), length, device=device),
    )

    def tell(sets: list[int], ids: list[int]) -> None:
        for b, n in zip(sets, ids, strict=True):
            if told is not None:
                told(b, entries[n])

    seeds = [seed + n for n in range(len(begun))]
    texts = sample(stepper, limits, seeds, temperature, top_k, top_p, tell)
    model.cpu()
    return ["".join(entries[n] for n in hypotheses[0].ids) for hypotheses in texts]


def _check_reach(model: Any, begun: int, length: int) -> None:
    """Refuse before the first character what would end at some later one."""
    added = model.positions.added
    reach = added.extent[0] if isinstance(added, Learned) else math.inf
    # The last character is not fed.
    if begun + length - 1 > reach:
        raise InputError(
            f"the prompt has {begun:,} characters and {length:,} are to come, expected at most {reach + 1:,} together: the learned "
            "positions end there"
        )
