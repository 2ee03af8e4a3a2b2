"""The protocol of causal nets: whole, or one position at a time."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import torch
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

        Returns parameters (B, P, *rest, 1) and the new state; the old one is spent.
        """

    @abstractmethod
    def unroll(
        self, z: Tensor, scalar: Any, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """All steps of x_t = map(z_t; parameters) in a compiled loop, where there is one.

        `scalar` is what compiled loops know of the map. Returns x and log dx/dz, both as z; None
        where there is no such loop, or stepping is faster.
        """


class Rerun(CausalNet):
    """The slow reference: a causal net that is run whole, again and again, at each step.

    For tests, and to measure what stepping is worth.
    """

    def __init__(self, net: CausalNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.net(x, context)
        return params

    def start(self, like: Tensor, context: Tensor | None = None) -> "Seen":
        return Seen(torch.zeros_like(like), 0, context)

    def step(self, value: Tensor | None, state: "Seen") -> tuple[Tensor, "Seen"]:
        if value is not None:
            rest = state.x.shape[-1] - state.position - 1
            before, _, after = state.x.split([state.position, 1, rest], -1)
            x = torch.cat([before, value, after], -1)
            state = Seen(x, state.position + 1, state.context)
        params = self.net(state.x, state.context)
        return params[..., state.position : state.position + 1], state

    def unroll(self, z: Tensor, scalar: Any, context: Tensor | None = None) -> None:
        return None


class Seen(NamedTuple):
    """Values before the position, zeros from there on; the position; and the context."""

    x: Tensor
    position: int
    context: Tensor | None
