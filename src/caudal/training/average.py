"""An exponential moving average of the weights."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """average = d average + (1 - d) weights after each step, d = min(decay, (1 + n) / (10 + n)).

    n counts the steps. The smaller decay of the first steps forgets the initial weights, which
    are no estimate of anything.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = dict(module.named_parameters())
        self._average = {name: p.detach().clone() for name, p in self._live.items()}

    @torch.no_grad()
    def reset(self) -> None:
        """Starts anew from the present weights."""
        for name, average in self._average.items():
            average.copy_(self._live[name])

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights after step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        live: list[Tensor] = list(self._live.values())
        torch._foreach_lerp_(list(self._average.values()), live, 1 - decay)

    @contextmanager
    def swapped_in(self) -> Iterator[None]:
        """Within, the module holds the averages; after, its own weights again."""
        live = {name: p.detach().clone() for name, p in self._live.items()}
        self._write(self._average)
        try:
            yield
        finally:
            self._write(live)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages, by the names of the weights."""
        return self._average

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Takes averages over from `state_dict`."""
        for name, average in self._average.items():
            average.copy_(state[name])

    @torch.no_grad()
    def _write(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._live.items():
            parameter.copy_(values[name])
