"""What dequantisation promises: noise that makes data continuous, in a way that can be undone."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Dequantization(nn.Module, ABC):
    """Fills in at random what the data leave open, in a way that can be undone.

    With y drawn from q(y|x) wherever `lower(y)` = x, a density p(y) gives the lower bound
    log P(x) >= E[log p(y) - log q(y|x)], which Jensen's inequality makes one.
    """

    event_shape: tuple[int, ...]

    @abstractmethod
    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """A draw y (B, *lifted) for data x (B, *event), and log q(y|x) in nats, (B,)."""

    @abstractmethod
    def lower(self, y: Tensor) -> Tensor:
        """The data (B, *event) that y stands for."""

    @abstractmethod
    def observe(self, x: Tensor) -> None:
        """Takes what it needs to know from rows x (B, *event); `caudal.initialize` calls this."""


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draws from [0, 1), as many as `like` has elements, where it is and in its dtype."""
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
