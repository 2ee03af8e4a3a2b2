"""Samples of a flow that has learned noisy data, without the noise: Tweedie's formula."""

import torch
from torch import Tensor

from caudal.flow import Flow

_AT_ONCE = 1 << 16  # numbers whose gradients are computed together: bounds the memory


def denoised(flow: Flow, y: Tensor, std: float, context: Tensor | None = None) -> Tensor:
    """The mean of what noisy y was before its noise: E[x | y] = y + std^2 grad log p(y).

    Here y = x + std e with e ~ N(0, 1), and p is the density of y, which the flow has learned. So
    one step along the slope of its own log-density takes the noise off. What comes out no longer
    follows the flow's density: it has less noise, and none of the spread of x given y.
    References: Tweedie's formula and selection bias (Efron, 2011); for flows: Normalizing flows
    are capable generative models (Zhai et al., 2024), arXiv:2412.06329.

    Args:
        flow: the density of y; of dequantised data, that of lifted rows (`Flow.continuous`).
        y: noisy rows (B, *event), such as the flow's samples.
        std: standard deviation of the noise, in the units of y.
        context: of each row, for a conditional flow.

    Raises:
        InputError: y or the context do not fit the flow.
    """
    size = max(1, _AT_ONCE // max(1, y[:1].numel()))
    starts = range(0, len(y), size)
    parts = ((y[i : i + size], None if context is None else context[i : i + size]) for i in starts)
    steps = [std**2 * _slope(flow, part, given) for part, given in parts]
    return y + torch.cat(steps) if steps else y


@torch.enable_grad()
def _slope(flow: Flow, y: Tensor, context: Tensor | None) -> Tensor:
    """The gradient of log p at each row, (B, *event)."""
    y = y.detach().requires_grad_()
    (slope,) = torch.autograd.grad(flow.log_prob(y, context).sum(), y)
    return slope
