"""Autoregressive bijections: each position is mapped given all those before it."""

from typing import Any, Protocol

import torch
from torch import Tensor

from caudal.bijection import Bijection, sum_event
from caudal.elementwise import Elementwise, check_params


class CausalNet(Protocol):
    """What `caudal.nets.CausalNet` promises; bijections and nets do not import each other."""

    def __call__(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of every position at once: (B, *event) to (B, P, *event)."""

    def start(self, like: Tensor, context: Tensor | None = None) -> Any:
        """The state before the first position."""

    def step(self, value: Tensor | None, state: Any) -> tuple[Tensor, Any]:
        """Parameters of the next position (B, P, *rest, 1), given the value of the one before."""

    def unroll(
        self, z: Tensor, scalar: Any, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """All steps in a compiled loop: x and log dx/dz; None where there is no such loop."""


class Autoregressive(Bijection):
    """x_t = elementwise(z_t; net(x_<t)): fast density, sequential sampling. A layer of MAF.

    `inverse` is one parallel pass, `forward` goes one position at a time. Swapped by `Inverse` it
    is a layer of IAF. The Jacobian is triangular.
    References: MADE (Germain, Gregor, Murray, Larochelle, 2015), arXiv:1502.03509; IAF (Kingma et
    al., 2016), arXiv:1606.04934; MAF (Papamakarios, Pavlakou, Murray, 2017), arXiv:1705.07057.
    """

    def __init__(self, net: CausalNet, elementwise: Elementwise) -> None:
        super().__init__()
        self.net = net
        self.elementwise = elementwise

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        compiled = self.net.unroll(z, self.elementwise.scalar, context)
        if compiled is not None:
            return compiled[0], sum_event(compiled[1])
        state = self.net.start(z, context)
        value, values, log_slopes = None, [], []
        for noise in _batch_last(z).split(1, dim=-1):
            params, state = self.net.step(value, state)
            value, log_slope = self.elementwise.forward(noise, params.to(noise.dtype))
            values.append(value)
            log_slopes.append(log_slope)
        return _joined(values), sum_event(_joined(log_slopes))

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        params = self.net(x, context)
        check_params(params, self.elementwise, x)
        params = params.to(x.dtype)  # under autocast in half precision: too coarse for a log-det
        if params.stride(0) == 1:
            x = _batch_last(x)  # mixed orders are slow
        z, log_slope = self.elementwise.inverse(x, params)
        return z, sum_event(log_slope)


def _batch_last(x: Tensor) -> Tensor:
    """X with the batch side by side in memory, as causal nets like it; its shape stays."""
    return x.transpose(0, -1).contiguous().transpose(0, -1)


def _joined(positions: list[Tensor]) -> Tensor:
    """Positions (B, *rest, 1) as one tensor (B, *rest, T), the batch side by side in memory."""
    return torch.cat([position.transpose(0, -1) for position in positions]).transpose(0, -1)
