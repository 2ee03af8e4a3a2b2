"""What dequantisation promises: continuous draws for data in steps, and their log q."""

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

    @property
    def counted(self) -> bool:
        """Whether data are one value out of few, whose cell `cells` gives."""
        return False

    @property
    def fills(self) -> bool:
        """Whether draws have noise; else y is x in other coordinates, and densities are exact."""
        return True

    @abstractmethod
    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """A draw y (B, *lifted) for data x (B, *event), and log q(y|x) in nats, (B,).

        The noise of a `caudal.numerics.RowGenerator` belongs to each row's values; that of any
        other generator, or of none, is new in each row.
        """

    @abstractmethod
    def lower(self, y: Tensor) -> Tensor:
        """The data (B, *event) whose draw y is."""

    def observe(self, x: Tensor) -> None:
        """Takes its statistics from rows x (B, *event), if any; `caudal.initialize` calls this."""
        return
