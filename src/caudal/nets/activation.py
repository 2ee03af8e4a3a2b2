"""Activations by the name a config file gives them: plain ones, and ones of slope at most 1."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "tanh": torch.tanh,
    "elu": F.elu,
    "silu": F.silu,
    "gelu": F.gelu,
}

# Autograd needs only the result of these, so a layer's fresh output can be overwritten: this saves
# a tensor of that size, and the time to allocate it.
_OVERWRITING: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu_, "tanh": torch.tanh_}


def activation(name: str) -> Callable[[Tensor], Tensor]:
    """The function called `name`; raises ValueError with the possible names."""
    return ACTIVATIONS[_known(name, ACTIVATIONS)]


def overwriting(name: str) -> Callable[[Tensor], Tensor]:
    """The same function, which may overwrite its argument: nothing else may use that."""
    return _OVERWRITING.get(name, activation(name))


def lipschitz_activation(name: str, bend: float = 1.0) -> "Contracting":
    """A new activation of slope at most 1; raises ValueError with the possible names."""
    return CONTRACTING[_known(name, CONTRACTING)](bend)


def _known(name: str, names: dict[str, Any]) -> str:
    if name not in names:
        raise ValueError(f"`activation_name` must be one of {', '.join(names)}, got {name!r}")
    return name


class Contracting(nn.Module, ABC):
    """An activation whose slope lies between -1 and 1, and bends at about 1 / `bend`."""

    @abstractmethod
    def __init__(self, bend: float = 1.0) -> None:
        super().__init__()

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Its value, of the shape of x."""

    @abstractmethod
    def with_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Its value and its derivative, both of the shape of x."""


class LipSwish(Contracting):
    """y = x sigmoid(beta x) / 1.1, beta = softplus(raw) learned; the slope is at most 1.

    ELU is straight where its slope is near 1, which leaves log-dets without gradient; this is not.
    Reference: Residual flows (Chen, Behrmann, Duvenaud, Jacobsen, 2019), arXiv:1906.02735.
    """

    def __init__(self, bend: float = 1.0) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(bend + math.log(-math.expm1(-bend))))

    def forward(self, x: Tensor) -> Tensor:
        beta = F.softplus(self.raw)
        return F.silu(beta * x) / (1.1 * beta)

    def with_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value_and_slope: tuple[Tensor, Tensor] = _Swish.apply(x, F.softplus(self.raw))
        return value_and_slope


class _Swish(torch.autograd.Function):
    """x s / 1.1 and its derivative in x, s = sigmoid(beta x): 11% of a step less than by autograd.

    Only x is kept for the gradient, which can be differentiated again.
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
        ctx.save_for_forward(*inputs)

    @staticmethod
    def jvp(ctx: Any, of_x: Tensor | None, of_beta: Tensor | None) -> tuple[Tensor, Tensor]:
        x, beta = ctx.saved_tensors
        scaled = beta * x
        s = torch.sigmoid(scaled)
        bend = s - s * s
        curve = bend * (scaled + 2 - 2 * scaled * s)
        of_x = torch.zeros_like(x) if of_x is None else of_x
        of_scaled = beta * of_x + (0 if of_beta is None else x * of_beta)
        return (s * of_x + x * bend * of_scaled) / 1.1, curve * of_scaled / 1.1

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

    def extra_repr(self) -> str:
        return f"bend={self.bend}"

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(self.bend * x) / self.bend

    def with_slope(self, x: Tensor) -> tuple[Tensor, Tensor]:
        value = self(x)
        return value, 1 + self.bend * value.clamp(max=0)


CONTRACTING: dict[str, Callable[[float], Contracting]] = {"lipswish": LipSwish, "elu": ELU}
