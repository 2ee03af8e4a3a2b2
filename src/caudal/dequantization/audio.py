"""Samples of sound, which are whole numbers, to numbers a continuous flow can model."""

import torch
from torch import Tensor

from caudal.base import FREE
from caudal.dequantization.protocol import Dequantization, uniform


class AudioDequantization(Dequantization):
    """Whole numbers v of `bits` bits, -2^(bits-1) to 2^(bits-1) - 1, to y = v + u, u in [0, 1).

    The log-probability of a clip (B, 1, T) is then a mass, in nats: -log_prob / (T ln 2) is its
    bits a sample, `bits` for a uniform model, whatever the output law. A clip with other values
    than these has none.
    """

    event_shape = (1, FREE)

    def __init__(self, bits: int = 16) -> None:
        super().__init__()
        self.bits = bits

    @property
    def full_scale(self) -> int:
        """The number an amplitude of 1 would be."""
        return 1 << (self.bits - 1)

    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        # What rounding could carry over to the next value stays below it.
        y = torch.minimum(x + uniform(x, generator), torch.nextafter(x + 1, x))
        off = (x != x.round()) | (x < -self.full_scale) | (x > self.full_scale - 1)
        return y, torch.where(off.flatten(1).any(1), torch.inf, 0.0).to(x.dtype)

    def lower(self, y: Tensor) -> Tensor:
        return y.floor().clamp(-self.full_scale, self.full_scale - 1)

    def observe(self, x: Tensor) -> None:
        return None
