"""Bijections of each element alone: scales, logit, mu-law, free elementwise maps."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.bijection import Bijection, sum_event
from caudal.elementwise import Elementwise

_EDGE = 1 + 1e-6  # rounding may carry an amplitude of 1 a little further


class Scale(Bijection):
    """z = x exp(s), NICE's last layer: a learned importance of each dimension.

    Reference: NICE (Dinh, Krueger, Bengio, 2014), arXiv:1410.8516.
    """

    def __init__(self, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(*event_shape))

    def extra_repr(self) -> str:
        return f"event_shape={tuple(self.log_scale.shape)}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return z * (-self.log_scale).exp(), -self.log_scale.sum().expand(z.shape[0])

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.log_scale.exp(), self.log_scale.sum().expand(x.shape[0])


class Rescale(Bijection):
    """z = x factor + offset with fixed numbers, for example to scale pixels to [0, 1]."""

    def __init__(self, factor: float, offset: float = 0.0) -> None:
        super().__init__()
        if factor == 0:
            raise ValueError("`factor` must not be 0")
        self.factor, self.offset = factor, offset

    def extra_repr(self) -> str:
        return f"factor={self.factor}, offset={self.offset}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return (z - self.offset) / self.factor, -self._log_det(z)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return x * self.factor + self.offset, self._log_det(x)

    def _log_det(self, value: Tensor) -> Tensor:
        log_det = math.log(abs(self.factor)) * math.prod(value.shape[1:])
        return value.new_full((value.shape[0],), log_det)


class Pointwise(Bijection):
    """An elementwise map with free parameters of each element, the same for every row."""

    def __init__(self, elementwise: Elementwise, event_shape: Sequence[int]) -> None:
        super().__init__()
        self.elementwise = elementwise
        self.params = nn.Parameter(torch.zeros(1, elementwise.n_params, *event_shape))

    def extra_repr(self) -> str:
        return f"{self.elementwise}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.elementwise.forward(z, self.params.expand(z.shape[0], *self._rest))
        return x, sum_event(log_slope)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_slope = self.elementwise.inverse(x, self.params.expand(x.shape[0], *self._rest))
        return z, sum_event(log_slope)

    @property
    def _rest(self) -> tuple[int, ...]:
        return tuple(self.params.shape[1:])


class Logit(Bijection):
    """z = logit(alpha + (1 - 2 alpha) x) for x in [0, 1], the pre-processing of image flows.

    log|dz/dx| = softplus(z) + softplus(-z) + ln(1 - 2 alpha) for each element. The log-det is -inf
    where the logit is not defined. Both ends are reckoned from their own side, so that neither
    is rounded away however small alpha is.
    Reference: Real-NVP (Dinh, Sohl-Dickstein, Bengio, 2017), in the form of its released code.
    """

    def __init__(self, alpha: float = 1e-6) -> None:
        super().__init__()
        if not 0 <= alpha < 0.5:
            raise ValueError(f"`alpha` must lie in [0, 0.5), got {alpha}")
        self.alpha = alpha

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        from_end = (torch.sigmoid(-z.abs()) - self.alpha) / (1 - 2 * self.alpha)
        return torch.where(z < 0, from_end, 1 - from_end), -sum_event(self._log_slope(z))

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        p, q = (self.alpha + (1 - 2 * self.alpha) * side for side in (x, 1 - x))
        tiny = torch.finfo(x.dtype).tiny
        z = p.clamp(min=tiny).log() - q.clamp(min=tiny).log()
        defined = (p >= tiny) & (q >= tiny)
        return z, sum_event(torch.where(defined, self._log_slope(z), -torch.inf))

    def _log_slope(self, z: Tensor) -> Tensor:
        return F.softplus(z) + F.softplus(-z) + math.log1p(-2 * self.alpha)


class Asinh(Bijection):
    """z = s asinh(x / s): the identity near 0, a logarithm far out, for data with heavy tails.

    log|dz/dx| = -log(1 + (x / s)^2) / 2 for each element. Behind it a flow of normal noise has
    tails like those of a log-normal.

    Args:
        scale: s > 0, where the bend is.
    """

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        if not scale > 0:
            raise ValueError(f"`scale` must be positive, got {scale}")
        self.scale = scale

    def extra_repr(self) -> str:
        return f"scale={self.scale}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u = z / self.scale
        log_cosh = u.abs() + torch.log1p(torch.exp(-2 * u.abs())) - math.log(2)
        return self.scale * torch.sinh(u), sum_event(log_cosh)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        u = x / self.scale
        return self.scale * torch.asinh(u), -sum_event(torch.hypot(u, torch.ones_like(u)).log())


class MuLaw(Bijection):
    """z = sign(x) ln(1 + mu |x|) / ln(1 + mu) of amplitudes x in [-1, 1], onto the same interval.

    Quiet amplitudes are spread out, loud ones pushed together. For each element log|dz/dx| =
    ln(mu / ln(1 + mu)) - ln(1 + mu |x|); the log-det is -inf if any element lies outside.
    Reference: ITU-T G.711, as used by WaveNet (van den Oord et al., 2016), arXiv:1609.03499.
    """

    def __init__(self, mu: float = 255.0) -> None:
        super().__init__()
        if not mu > 0:
            raise ValueError(f"`mu` must be positive, got {mu}")
        self.mu = mu

    def extra_repr(self) -> str:
        return f"mu={self.mu}"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        inside = z.clamp(-1, 1)
        size = torch.expm1(inside.abs() * math.log1p(self.mu)) / self.mu
        return size.copysign(z), -self._log_det(size, z)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        size = x.abs().clamp(max=1)
        z = torch.log1p(self.mu * size) / math.log1p(self.mu)
        return z.copysign(x), self._log_det(size, x)

    def _log_det(self, size: Tensor, value: Tensor) -> Tensor:
        log_slope = math.log(self.mu / math.log1p(self.mu)) - torch.log1p(self.mu * size)
        return sum_event(torch.where(value.abs() <= _EDGE, log_slope, -torch.inf))
