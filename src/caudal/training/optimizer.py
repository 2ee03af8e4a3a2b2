"""What moves the weights: AdamW, and an exponential moving average of them."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from caudal.training.options import Training

_GAIN, _DIRECTION = (f"parametrizations.weight.original{i}" for i in range(2))
"""Torch's names of the two halves of a weight-normalised matrix."""


def make_optimizer(module: nn.Module, training: Training) -> torch.optim.Optimizer:
    """AdamW in one fused kernel; without decay it is Adam. Only matrices decay.

    Weight-normalised matrices decay by their gain, as in Real-NVP: it alone is their length.
    """
    named = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
    parameters = [p for _, p in named]
    decaying = [p for name, p in named if _decays(name, p)]
    chosen = {id(p) for p in decaying}
    others = [p for p in parameters if id(p) not in chosen]
    groups = [
        {"params": decaying, "weight_decay": training.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    # Each group is a kernel of its own, so there are two only where they differ.
    chosen_groups = groups if training.weight_decay else [{"params": parameters}]
    return torch.optim.AdamW(chosen_groups, lr=training.lr, weight_decay=0.0, fused=True)


def _decays(name: str, parameter: Tensor) -> bool:
    is_matrix = sum(size > 1 for size in parameter.shape) > 1
    return name.endswith(_GAIN) or (is_matrix and not name.endswith(_DIRECTION))


class MovingAverage:
    """average = d average + (1 - d) weights after each step, d = min(decay, (1 + n) / (10 + n)).

    n counts the steps. The smaller decay of the first steps forgets the initial weights, which
    estimate nothing.
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
        """Restores averages from a `state_dict`."""
        for name, average in self._average.items():
            average.copy_(state[name])

    @torch.no_grad()
    def _write(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self._live.items():
            parameter.copy_(values[name])
