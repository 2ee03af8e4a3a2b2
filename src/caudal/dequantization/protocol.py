"""The protocol of dequantisation: noise that makes data continuous and can be removed again."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Dequantization(nn.Module, ABC):
    """Replaces data x by continuous draws y from q(y|x), such that `lower(y)` = x.

    A density p(y) then gives the lower bound log P(x) >= E[log p(y) - log q(y|x)], by Jensen's
    inequality.
    """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"

    event_shape: tuple[int, ...]

    @abstractmethod
    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """A draw y (B, *lifted) for data x (B, *event), and log q(y|x) in nats, (B,)."""

    @abstractmethod
    def lower(self, y: Tensor) -> Tensor:
        """The data (B, *event) whose draw y is."""

    def observe(self, x: Tensor) -> None:
        """Takes its statistics from rows x (B, *event), if any; `caudal.initialize` calls this."""
        return


def uniform(like: Tensor, generator: torch.Generator | None) -> Tensor:
    """Uniform draws from [0, 1), with the shape, dtype and device of `like`."""
    return torch.rand(like.shape, generator=generator, dtype=like.dtype, device=like.device)
