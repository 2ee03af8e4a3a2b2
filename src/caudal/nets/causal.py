"""The protocol of causal nets: run whole, or one position at a time."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class CausalNet(nn.Module, ABC):
    """A net whose parameters at a position depend only on the positions before it.

    Positions lie along the last dimension. The shift by one happens in here and nowhere else. A
    net needs `forward` alone: the other methods are fast ways to go through it one position at a
    time, and by default each step runs the whole net again. A test holds all ways equal.
    """

    @abstractmethod
    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of every position at once: (B, *event) to (B, P, *event)."""

    def start(self, like: Tensor, context: Tensor | None = None) -> Any:
        """The state before the first position of events shaped as `like`."""
        return _Prefix(torch.zeros_like(like), 0, context)

    def step(self, value: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        """Takes the value of the previous position (None at the first), gives the next parameters.

        Returns parameters (B, P, *rest, 1) and the new state; the old state must not be reused.
        """
        if value is not None:
            rest = state.x.shape[-1] - state.position - 1
            before, _, after = state.x.split([state.position, 1, rest], -1)
            x = torch.cat([before, value, after], -1)
            state = _Prefix(x, state.position + 1, state.context)
        params = self(state.x, state.context)
        return params[..., state.position : state.position + 1], state

    def unroll(
        self, z: Tensor, scalar: Any, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """All steps of x_t = map(z_t; parameters) in one compiled loop, where there is one.

        `scalar` names the map for compiled loops (`caudal.elementwise.Scalar`), or is None.
        Returns x and log dx/dz, both of the shape of z; None where no loop applies, or stepping is
        faster.
        """
        return None

    def unroll_in_pieces(
        self, z: Tensor, scalar: Any, context: Tensor | None
    ) -> Iterator[tuple[Tensor, Tensor]] | None:
        """`unroll`, piece by piece along the last dimension as they are made."""
        return None

    def in_pieces(
        self, pieces: Iterable[Tensor], context: Tensor | None, length: int
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Events of `length` positions that come in pieces, cut anew, and their parameters.

        Together these are what `forward` gives, to the bit.
        """
        x = torch.cat(list(pieces), -1)
        yield x, self(x, context)


class _Prefix(NamedTuple):
    """The values before the position, zeros from there on; the position; and the context."""

    x: Tensor
    position: int
    context: Tensor | None


class Rerun(CausalNet):
    """The slow reference: a causal net that runs whole at each step, as by default.

    It is for tests, and to measure what stepping is worth.
    """

    def __init__(self, net: CausalNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        params: Tensor = self.net(x, context)
        return params


class Stepwise(Rerun):
    """A causal net that steps, but without its compiled loop, to measure what that is worth."""

    def start(self, like: Tensor, context: Tensor | None = None) -> Any:
        return self.net.start(like, context)

    def step(self, value: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        return self.net.step(value, state)
