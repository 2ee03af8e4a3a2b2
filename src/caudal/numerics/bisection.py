"""Roots of increasing functions of one number."""

from collections.abc import Callable

import torch
from torch import Tensor


@torch.no_grad()
def bisect(
    function: Callable[[Tensor], Tensor], target: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    """Solves function(x) = target for an increasing elementwise function, low <= x <= high.

    Halves the bracket as often as the dtype has digits to give, which needs no test of
    convergence and no data-dependent branch. Shapes are those of `target`.
    """
    halvings = 64 if target.dtype == torch.float64 else 36
    for _ in range(halvings):
        middle = 0.5 * (low + high)
        below = function(middle) < target
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return 0.5 * (low + high)
