"""Samples of a flow that has learned noisy data, without the noise: Tweedie's formula."""

import torch
from torch import Tensor

from caudal.errors import InputError
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
        flow: the density of y, not dequantised: of dequantised data, that of lifted rows
            (`flow.continuous()`).
        y: noisy rows (B, *event), such as the samples of that flow.
        std: standard deviation of the noise, in the units of y.
        context: of each row, or one for all of them, for a conditional flow.

    Raises:
        InputError: the flow is dequantised, or y or the context do not fit it.
    """
    if flow.dequantization is not None:
        raise InputError(
            "`flow` is dequantised, and its log_prob has no slope: give `flow.continuous()`"
        )
    context = _of_each(flow, context, len(y))
    size = max(1, _AT_ONCE // max(1, y[:1].numel()))
    starts = range(0, len(y), size)
    parts = ((y[i : i + size], None if context is None else context[i : i + size]) for i in starts)
    steps = [std**2 * _slope(flow, part, given) for part, given in parts]
    return y + torch.cat(steps) if steps else y


def _of_each(flow: Flow, context: Tensor | None, n: int) -> Tensor | None:
    """A context for each of n rows, of which there may be one for all."""
    if context is None or flow.context_shape is None:
        return context
    if context.ndim == len(flow.context_shape):
        context = context.unsqueeze(0)
    if len(context) not in (1, n):
        raise InputError(f"`context` has {len(context)} rows, and `y` {n}: give one for each")
    return context.expand(n, *context.shape[1:])


def _slope(flow: Flow, y: Tensor, context: Tensor | None) -> Tensor:
    """The gradient of log p at each row, (B, *event)."""
    with torch.inference_mode(False), torch.enable_grad():
        y = y.detach().clone().requires_grad_()
        context = None if context is None else context.clone()  # may be of inference mode
        (slope,) = torch.autograd.grad(flow.log_prob(y, context).sum(), y)
    return slope
