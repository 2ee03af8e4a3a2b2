"""Densities of one number on a grid: their integral, moments, and samples."""

import torch
from torch import Tensor


class Grid:
    """A density exp(t) of one number, on equidistant points between two ends, in float64.

    Args:
        points: (G,), dense, with ends beyond which there is nothing.
        log_density: t at these points, (G,) in nats.
    """

    def __init__(self, points: Tensor, log_density: Tensor) -> None:
        self.points = points.double()
        log_density = log_density.double()
        self.top = log_density.max()
        self.density = (log_density - self.top).exp()
        self.log_z = float(self.top + torch.trapezoid(self.density, self.points).log())
        steps = 0.5 * (self.density[1:] + self.density[:-1])
        self._cdf = torch.cat([steps.new_zeros(1), steps.cumsum(0)]) / steps.sum()

    def expectation(self, values: Tensor) -> float:
        """E[f] of f at the points, (G,)."""
        whole = torch.trapezoid(self.density, self.points)
        return float(torch.trapezoid(self.density * values, self.points) / whole)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """N samples (n,) in float64, by the distribution function, linear between points."""
        uniform = torch.rand(n, generator=generator, dtype=torch.float64)
        right = torch.searchsorted(self._cdf, uniform).clamp(1, len(self.points) - 1)
        low, high = self._cdf[right - 1], self._cdf[right]
        share = (uniform - low) / (high - low).clamp(min=torch.finfo(low.dtype).tiny)
        return self.points[right - 1].lerp(self.points[right], share.clamp(0, 1))
