"""The protocol of invertible maps, and the two ways to combine them: in a chain, and backwards."""

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterable
from itertools import repeat
from typing import cast

import torch
from torch import Tensor, nn


class Bijection(nn.Module, ABC):
    """An invertible map between noise z and data x.

    Both directions take a batch (B, *event), return a tensor of the same shape, and with it the
    log abs det of the Jacobian of the direction taken, in nats, shape (B,). A pass changes no
    state; data-dependent initialisation is explicit (`caudal.initialize`).
    """

    @abstractmethod
    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From noise to data: x and log|det dx/dz|."""

    @abstractmethod
    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """From data to noise: z and log|det dz/dx|."""


class Chain(Bijection):
    """The composition of bijections, listed from the noise to the data.

    x = f_K(... f_2(f_1(z))); the log-dets add up.
    """

    def __init__(self, parts: Iterable[Bijection]) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = z.new_zeros(z.shape[0])
        for part in self.parts:
            z, part_log_det = part.forward(z, context)
            log_det = log_det + part_log_det
        return z, log_det

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        log_det = x.new_zeros(x.shape[0])
        for part in reversed(self.parts):
            x, part_log_det = cast(Bijection, part).inverse(x, context)
            log_det = log_det + part_log_det
        return x, log_det


class Inverse(Bijection):
    """A bijection with its directions swapped: MAF becomes IAF, and the reverse."""

    def __init__(self, bijection: Bijection) -> None:
        super().__init__()
        self.bijection = bijection

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.inverse(z, context)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.bijection.forward(x, context)


def sum_event(values: Tensor) -> Tensor:
    """Sums (B, *event) over the event: (B,)."""
    return values.flatten(1).sum(1)


Walk = Generator[tuple[str, Bijection, Tensor], None, Tensor]


def walk(
    bijection: Bijection, x: Tensor, context: Tensor | None = None, name: str = "bijection"
) -> Walk:
    """Goes from data to noise, and stops at each elementary bijection *before* applying it.

    Yields (name, bijection, its input). Whoever walks may set the bijection's statistics from
    that input, measure it, or look for the first one that breaks. The value of the generator
    (`yield from`) is z.
    """
    if not isinstance(bijection, Chain):
        yield name, bijection, x
        return _in_pieces(bijection, x, context)
    for index in reversed(range(len(bijection.parts))):
        part = cast(Bijection, bijection.parts[index])
        x = yield from walk(part, x, context, f"{name}.parts.{index}")
    return x


_PIECE = 1 << 16  # rows; a net holds many numbers for each one that goes through it


def _in_pieces(bijection: Bijection, x: Tensor, context: Tensor | None) -> Tensor:
    """The noise side of x, of which a walk may bring as many rows as there are."""
    if len(x) <= _PIECE:
        return bijection.inverse(x, context)[0]
    contexts = repeat(None) if context is None else context.split(_PIECE)
    pieces = zip(x.split(_PIECE), contexts, strict=False)
    return torch.cat([bijection.inverse(*piece)[0] for piece in pieces])
