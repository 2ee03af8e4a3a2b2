"""The mass of whole numbers under an autoregressive flow, where a density would need noise."""

from typing import cast

import torch
from torch import Tensor

from caudal.base import Independent
from caudal.bijection import Bijection, parts_of
from caudal.bijections import Autoregressive, MuLaw, Rescale, Standardise
from caudal.dequantization import AudioDequantization
from caudal.flow import Flow

_INCREASING = (MuLaw, Rescale, Standardise)  # each of one element, and none turns it round
_SAME = 1e-9  # of two logarithms: half of their digits are gone, and a density is as flat


def is_discretizable(flow: Flow) -> bool:
    """Whether `discretized_log_prob` knows a flow's conditionals: one layer, and fixed maps."""
    layer, *rest = parts_of(flow.bijection)
    return (
        isinstance(flow.dequantization, AudioDequantization)
        and isinstance(flow.base, Independent)
        and isinstance(layer, Autoregressive)
        and all(isinstance(part, _INCREASING) for part in rest)
    )


@torch.no_grad()
def discretized_log_prob(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Log-probability of clips x (B, 1, T) of whole numbers, in nats, (B,): no noise, no bound.

    P(x_t | x_<t) = F(x_t + 1) - F(x_t), F the conditional's CDF given the middles of the steps
    before; the first and the last step are open, so that all of them sum to one. It is a model of
    its own, that of the discretised mixture of logistics, and not the integral of the density
    that `log_prob` bounds; of narrow steps the two are close.
    References: PixelCNN++ (Salimans, Karpathy, Chen, Kingma, 2017), arXiv:1701.05517; Parallel
    WaveNet (van den Oord et al., 2017), arXiv:1711.10433.

    Raises:
        ValueError: the flow is another than `is_discretizable`.
    """
    if not is_discretizable(flow):
        raise ValueError("only one autoregressive layer over dequantised sound is discretised")
    flow.lift(x)  # refuses other shapes
    first, *dressing = parts_of(flow.bijection)
    layer = cast(Autoregressive, first)
    low, middle, high = (_undress(dressing, x.double() + part) for part in (0, 0.5, 1))
    params = layer.net(middle.to(x.dtype), flow.embed(context)).double()
    (z_low, _), (z, log_slope), (z_high, _) = (
        layer.elementwise.inverse(value, params) for value in (low, middle, high)
    )
    density = cast(Independent, flow.base).log_density(z)
    flat = density + log_slope + (high - low).log()
    last = cast(AudioDequantization, flow.dequantization).full_scale - 1
    z_low = z_low.masked_fill(x == -last - 1, -torch.inf)
    z_high = z_high.masked_fill(x == last, torch.inf)
    return _log_mass(flow, z_low, z_high, flat).flatten(1).sum(1)


def _undress(dressing: list[Bijection], value: Tensor) -> Tensor:
    """Through the fixed maps next to the data, towards the noise."""
    for part in reversed(dressing):
        value, _ = part.inverse(value)
    return value


def _log_mass(flow: Flow, low: Tensor, high: Tensor, flat: Tensor) -> Tensor:
    """log(F(high) - F(low)) of the base, from the tail in which both keep their digits.

    Every base is symmetric: F(-z) = 1 - F(z). Where even there they are the same number, `flat`:
    the density in the middle times the width.
    """
    above = low + high > 0
    low, high = torch.where(above, -high, low), torch.where(above, -low, high)
    base = cast(Independent, flow.base)
    log_low, log_high = base.log_cdf(low), base.log_cdf(high)
    gap = log_high - log_low  # NaN of two -inf
    return torch.where(gap > _SAME, log_high + torch.log(-torch.expm1(-gap)), flat)
