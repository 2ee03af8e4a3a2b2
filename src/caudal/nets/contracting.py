"""Activations whose slope is between -1 and 1, which come with it."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn


class Contracting(nn.Module, ABC):
    """An activation whose slope is between -1 and 1, and which bends at about 1 / `bend`."""

    @abstractmethod
    def __init__(self, bend: float = 1.0) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Its value, as x."""

    @abstractmethod
    def with_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Its value and its derivative, both as x."""


class LipSwish(Contracting):
    """y = x sigmoid(beta x) / 1.1, beta = softplus(raw) learned; the slope is at most 1.

    Unlike ELU it is not straight where its slope is near 1: there log-dets have no gradient.
    Reference: Residual flows (Chen, Behrmann, Duvenaud, Jacobsen, 2019), arXiv:1906.02735.
    """

    def __init__(self, bend: float = 1.0) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(bend + math.log(-math.expm1(-bend))))

    def forward(self, x: Tensor) -> Tensor:
        beta = F.softplus(self.raw)
        return F.silu(beta * x) / (1.1 * beta)

    def with_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found: tuple[Tensor, Tensor] = _Swish.apply(x, F.softplus(self.raw))
        return found


class _Swish(torch.autograd.Function):
    """x s / 1.1 and its derivative in x, s = sigmoid(beta x): 11% of a step less than by autograd.

    Of all that comes between only x is kept for the gradient, which can be differentiated again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
        s = torch.sigmoid(beta * x)
        value = (x * s).div_(1.1)
        return value, torch.addcmul(s / 1.1, beta * value, 1 - s)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, of_value: Tensor, of_slope: Tensor) -> tuple[Tensor, Tensor]:
        x, beta = ctx.saved_tensors
        scaled = beta * x
        s = torch.sigmoid(scaled)
        bend = torch.addcmul(s, s, s, value=-1)
        slope = torch.addcmul(s, scaled, bend)
        curve = bend * torch.addcmul(scaled + 2, scaled, s, value=-2) * of_slope
        of_x = torch.addcmul(of_value * slope, beta, curve) / 1.1
        of_beta = (torch.addcmul(curve, of_value * x, bend) * x).sum() / 1.1
        return of_x, of_beta


class ELU(Contracting):
    """y = x where x > 0, else (exp(b x) - 1) / b, b = `bend`."""

    def __init__(self, bend: float = 1.0) -> None:
        super().__init__()
        self.bend = bend

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(self.bend * x) / self.bend

    def with_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = self(x)
        return value, 1 + self.bend * value.clamp(max=0)


ACTIVATIONS: dict[str, Callable[[float], Contracting]] = {"lipswish": LipSwish, "elu": ELU}


def lipschitz_activation(name: str, bend: float = 1.0) -> Contracting:
    """A new activation of slope at most 1; ValueError with the names there are."""
    if name not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {name!r}")
    return ACTIVATIONS[name](bend)
