"""Shift, affine and gated affine: the elementwise maps of NICE, Real-NVP, MAF and Glow."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from caudal.elementwise.protocol import Elementwise, Scalar


@dataclass(frozen=True)
class Shift(Elementwise):
    """x = z + t. Reference: NICE (Dinh, Krueger, Bengio, 2014), arXiv:1410.8516."""

    n_params = 1

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return z + params[:, 0], torch.zeros_like(z)

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        return x - params[:, 0], torch.zeros_like(x)

    @property
    def scalar(self) -> Scalar:
        return Scalar("shift", ())


def soft_bound(raw: Tensor, bound: float) -> Tensor:
    """Bounds raw to +-bound: raw / (1 + |raw| / bound), which is nearly raw close to zero.

    It approaches the bound more slowly than tanh does, and trains more steadily where scales are
    sharp (benchmarks/results/quality.md).
    """
    return raw / (1 + raw.abs() / bound)


def soft_floor(raw: Tensor, floor: float) -> Tensor:
    """Keeps raw above the floor: floor + softplus(raw - floor), shifted to be zero at zero."""
    shift = math.log(-math.expm1(floor))
    return floor + F.softplus(raw - floor + shift)


def log_scale(raw: Tensor, bound: float, floor: float | None) -> Tensor:
    """A net's raw output as a log-scale that cannot overflow exp.

    It stays within +-bound (`soft_bound`) or, if there is a floor, above that (`soft_floor`).
    """
    return soft_bound(raw, bound) if floor is None else soft_floor(raw, floor)


@dataclass(frozen=True)
class Affine(Elementwise):
    """x = z exp(alpha) + mu, parameters (mu, raw), |alpha| < bound (`soft_bound`).

    Given z ~ N(0, 1), x ~ N(mu, exp(alpha)^2): a causal net's output is the conditional itself.
    The bound keeps exp from overflowing; 8 allows scales 3000 times smaller or larger than 1.
    With a `floor` below 0, alpha is only kept above it (`soft_floor`) and has no upper bound:
    WaveNet's log-scale floor.
    Reference: MAF (Papamakarios, Pavlakou, Murray, 2017), arXiv:1705.07057.
    """

    bound: float = 8.0
    floor: float | None = None
    n_params = 2

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mu, raw = params.unbind(1)
        alpha = log_scale(raw, self.bound, self.floor)
        return torch.addcmul(mu, z, alpha.exp()), alpha

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        mu, raw = params.unbind(1)
        minus_alpha = -log_scale(raw, self.bound, self.floor)
        return (x - mu) * minus_alpha.exp(), minus_alpha

    @property
    def scalar(self) -> Scalar:
        return Scalar("affine", (self.bound, 0.0 if self.floor is None else self.floor))


@dataclass(frozen=True)
class GatedAffine(Elementwise):
    """z = (x + t) s, s = sigmoid(h + 2) / sigmoid(2), parameters (t, raw), |h| < bound.

    Glow's scale cannot grow from x to z, which keeps training steady; dividing it by its value at
    the start makes the map start as the identity. The bound keeps the way back, x = z / s - t,
    from dividing by nearly zero: s > 0.0028 for a bound of 8.
    Reference: Glow (Kingma, Dhariwal, 2018), arXiv:1807.03039, in the form of its released code.
    """

    bound: float = 8.0
    n_params = 2

    def forward(self, z: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        t, raw = params.unbind(1)
        log_slope = -self._log_gate(raw)
        return z * log_slope.exp() - t, log_slope

    def inverse(self, x: Tensor, params: Tensor) -> tuple[Tensor, Tensor]:
        t, raw = params.unbind(1)
        log_slope = self._log_gate(raw)
        return (x + t) * log_slope.exp(), log_slope

    def _log_gate(self, raw: Tensor) -> Tensor:
        return F.logsigmoid(soft_bound(raw, self.bound) + 2) + math.log1p(math.exp(-2))
