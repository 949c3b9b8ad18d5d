"""The mean of the last weights, often better than each of them while steps are large (Vaswani et al. 2017, section 6.1)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["RecentWeights"]


class RecentWeights:
    """The weights at the last few validations, whose mean is validated and written in place of the last ones.

    Training goes on from the last ones. Numbers that are no fractions, such as counts, are those of the last weights.

    Args:
        most: how many are kept; with fewer than two nothing is, and nothing changes.

    >>> layer, recent = nn.Linear(1, 1, bias=False), RecentWeights(2)
    >>> for weight in (1.0, 3.0, 5.0):
    ...     _ = nn.init.constant_(layer.weight, weight)
    ...     recent.give_mean(layer)
    ...     print(layer.weight.item(), end=" ")
    ...     recent.take_back(layer)
    1.0 2.0 4.0
    >>> layer.weight.item()
    5.0
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.kept: list[dict[str, Tensor]] = []
        self._given = False

    def state_dict(self) -> list[dict[str, Tensor]]:
        """The weights that are kept, the oldest first."""
        return self.kept

    def load_state_dict(self, kept: list[dict[str, Tensor]]) -> None:
        """Go on from what `state_dict` gave."""
        self.kept = kept

    @torch.no_grad()
    def give_mean(self, module: nn.Module) -> None:
        """Keep the module's weights, and give it the mean of those that are kept."""
        if self.most < 2:
            return
        now = {name: value.detach().clone() for name, value in module.state_dict().items()}
        self.kept = [*self.kept, now][-self.most :]
        module.load_state_dict({name: self._mean(name, value) for name, value in now.items()})
        self._given = True

    def take_back(self, module: nn.Module) -> None:
        """Give the module its last weights again, if it has the mean."""
        if self._given:
            module.load_state_dict(self.kept[-1])
            self._given = False

    def _mean(self, name: str, last: Tensor) -> Tensor:
        if not last.is_floating_point():
            return last
        total: Any = sum(weights[name].to(last.device, torch.float64) for weights in self.kept)
        mean: Tensor = (total / len(self.kept)).to(last.dtype)
        return mean
