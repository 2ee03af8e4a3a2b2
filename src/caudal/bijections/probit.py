"""From the logistic law of logits to the normal one: what a uniform column is to a flow."""

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from caudal.bijection import Bijection, sum_event

_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


class Probit(Bijection):
    """x = logit(Phi(z)) of some columns: normal noise becomes logits of uniform numbers.

    log dx/dz = log N(z) - log s(x) - log s(-x), s the logistic function, for each of them. So a
    density on an interval that does not vanish at an end has a normal tail in z, as the noise of a
    flow has; in logits its tail is exponential, and no spline of normal noise ends in one.

    Args:
        turned: mask (D,) of the columns; the others stay as they are.
    """

    turned: Tensor

    def __init__(self, turned: Tensor) -> None:
        super().__init__()
        self.register_buffer("turned", turned)

    def extra_repr(self) -> str:
        return f"{int(self.turned.sum())} of {self.turned.numel()} columns"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = torch.special.log_ndtr(z) - torch.special.log_ndtr(-z)
        return torch.where(self.turned, x, z), -sum_event(self._log_slope(z, x))

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        # The smaller of both tails keeps its digits.
        tail = torch.sigmoid(-x.abs()).clamp(min=torch.finfo(x.dtype).tiny)
        z = -torch.special.ndtri(tail)
        z = z.copysign(x)
        return torch.where(self.turned, z, x), sum_event(self._log_slope(z, x))

    def _log_slope(self, z: Tensor, x: Tensor) -> Tensor:
        """Log dz/dx of each element."""
        slope = logsigmoid(x) + logsigmoid(-x) + 0.5 * z.square() + _HALF_LOG_TAU
        return torch.where(self.turned, slope, 0.0)
