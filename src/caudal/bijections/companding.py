"""The mu-law: quiet amplitudes spread out, loud ones pushed together."""

import math

import torch
from torch import Tensor

from caudal.bijection import Bijection, sum_event

_EDGE = 1 + 1e-6  # rounding may carry an amplitude of 1 a little further


class MuLaw(Bijection):
    """z = sign(x) ln(1 + mu |x|) / ln(1 + mu) of amplitudes x in [-1, 1], onto the same interval.

    log|dz/dx| = ln(mu / ln(1 + mu)) - ln(1 + mu |x|) an element; -inf for the sum where one lies
    outside. Reference: ITU-T G.711, as used by WaveNet (van den Oord et al., 2016),
    arXiv:1609.03499.
    """

    def __init__(self, mu: float = 255.0) -> None:
        super().__init__()
        if not mu > 0:
            raise ValueError(f"mu must be positive, got {mu}")
        self.mu = mu

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        inside = z.clamp(-1, 1)
        size = torch.expm1(inside.abs() * math.log1p(self.mu)) / self.mu
        return size.copysign(z), -self._log_det(size, z)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        size = x.abs().clamp(max=1)
        z = torch.log1p(self.mu * size) / math.log1p(self.mu)
        return z.copysign(x), self._log_det(size, x)

    def _log_det(self, size: Tensor, given: Tensor) -> Tensor:
        log_slope = math.log(self.mu / math.log1p(self.mu)) - torch.log1p(self.mu * size)
        return sum_event(torch.where(given.abs() <= _EDGE, log_slope, -torch.inf))
