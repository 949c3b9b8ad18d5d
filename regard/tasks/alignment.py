"""Connectionist temporal classification: the vectors of a set tell a sequence of ids in their order, wherever each id lies."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import ctc_loss

from regard.errors import InputError
from regard.sets import VectorSets

__all__ = ["alignment_losses"]


def alignment_losses(scores: VectorSets, targets: Sequence[Tensor], blank: int, names: Sequence[str] = ()) -> Tensor:
    """For each set - log p(y), with p(y) the sum over all paths that spell y (Graves et al. 2006, section 3).

        p(y) = sum_pi prod_t softmax(scores_t)[pi_t],    pi such that y is left when equal neighbors are joined and blanks dropped

    Args:
        scores: of all ids, for each vector. targets: y of each set, without blanks. blank: the id that tells nothing.
        names: of the sets, for errors.

    Returns:
        `[sets]`

    Raises:
        InputError: a set with fewer vectors than its ids need, a blank between equal neighbors included.

    >>> sets = VectorSets.pack([torch.zeros(2, 3)])
    >>> round(float(alignment_losses(sets, [torch.tensor([1])], blank=0).exp()), 6)  # the paths 01, 10 and 11, of nine
    3.0
    """
    needed = [len(each) + int((each[1:] == each[:-1]).sum()) for each in targets]
    for number, (least, length) in enumerate(zip(needed, scores.layout.lengths.tolist(), strict=True)):
        if length < least:
            name = names[number] if names else f"set {number}"
            raise InputError(
                f"{name} has {length} vectors for {len(targets[number])} ids, expected at least {least} where "
                "task.alignment is above 0: a smaller --model.front.step, or --task.alignment 0"
            )
    if not targets:
        return scores.values.new_zeros(0)
    logs, _ = scores.with_values(scores.values.float().log_softmax(1)).to_padded()
    lengths = scores.layout.lengths.cpu(), torch.tensor([len(each) for each in targets])
    losses: Tensor = ctc_loss(logs.transpose(0, 1), torch.cat(list(targets)), *lengths, blank, reduction="none")
    return losses
