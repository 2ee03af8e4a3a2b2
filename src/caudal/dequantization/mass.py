"""The exact mass of one value out of few: that of its cell, between the ends of the cell."""

from collections.abc import Callable

import torch
from torch import Tensor

from caudal.bijection import sum_event

_BEYOND = 30.0  # normal noise never lies further out


def log_mass(
    x: Tensor, cells: tuple[Tensor, Tensor, Tensor], inverse: Callable[[Tensor], Tensor]
) -> Tensor:
    """Log P(x) of values x (B, 1): log(Phi(z_end) - Phi(z_start)) + log unit, in nats, (B,).

    Args:
        x: the values.
        cells: their starts, ends and log units, each (B, 1), as `TableDequantization.cells` gives.
        inverse: the increasing map from both starts and ends (2B, 1) to normal noise (2B, 1).
    """
    start, end, unit = cells
    edges = torch.cat([start, end])
    exists = edges.isfinite()
    z = inverse(edges.where(exists, torch.cat([x, x])))
    # Beyond the ends there is no mass; infinities would have no gradient.
    low, high = z.where(exists, edges.clamp(-_BEYOND, _BEYOND)).chunk(2)
    return sum_event(log_between(low, high) + unit)


def log_between(low: Tensor, high: Tensor) -> Tensor:
    """log(Phi(high) - Phi(low)) of each element in nats, low < high, to full precision."""
    mirrored = low > 0
    low, high = torch.where(mirrored, -high, low), torch.where(mirrored, -low, high)
    log_low, log_high = torch.special.log_ndtr(low), torch.special.log_ndtr(high)
    closer = (log_low - log_high).clamp(max=-torch.finfo(low.dtype).eps)
    return log_high + torch.log(-torch.expm1(closer))
