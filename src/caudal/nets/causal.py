"""The protocol of causal nets: whole, or one position at a time."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn


class CausalNet(nn.Module, ABC):
    """A net whose parameters at a position depend only on the positions before it.

    Positions lie along the last dimension. The shift by one is in here and nowhere else. It can
    be run whole, or one position at a time; a test holds the two equal.
    """

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of every position at once: (B, *event) to (B, P, *event)."""

    @abstractmethod
    def start(self, like: Tensor, context: Tensor | None = None) -> Any:
        """The state before the first position of events shaped as `like`: a plain value."""

    @abstractmethod
    def step(self, value: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        """Takes the value of the previous position (None at the first), gives the next one's.

        Returns parameters (B, P, *rest, 1) and the new state; the old one stays usable.
        """
