"""The likelihood of data, and the units it is told in."""

import math

from torch import Tensor

from caudal.flow import Flow


def nll(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """Mean negative log-likelihood of a batch in nats (for dequantised data, of its bound)."""
    return -flow.log_prob(x, context).mean()


def nll_per_element(flow: Flow, x: Tensor, context: Tensor | None = None) -> Tensor:
    """`nll` over the elements of an event: of sound, whose crops may be of any length."""
    return nll(flow, x, context) / x[0].numel()


def bits_per_dim(log_prob: float, elements: int) -> float:
    """Bits per element: -log_prob / (elements ln 2), for log_prob in nats of a whole event."""
    return -log_prob / (elements * math.log(2))
