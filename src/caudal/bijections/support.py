"""Columns with ends: their support is mapped to the whole line, bent whole or near the ends."""

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from caudal.bijection import Bijection, sum_event


class Support(Bijection):
    """Maps each column of a table from its support to the whole line, and back.

    `low` and `high` are the ends of the support, infinite where it has none:
    z = x;  z = log(x - low);  z = -log(high - x);  z = logit((x - low) / (high - low)).
    Outside the support the log-det is -inf; samples never leave it. At an end itself the density
    is evaluated one rounding step inside.
    """

    low: Tensor
    high: Tensor
    above: Tensor
    below: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        if not (low < high).all():
            raise ValueError(f"each `low` must be less than its `high`, got {low} and {high}")
        self.register_buffer("low", low.where(low.isfinite(), 0.0))
        self.register_buffer("high", high.where(high.isfinite(), 0.0))
        self.register_buffer("above", low.isfinite())
        self.register_buffer("below", high.isfinite())

    def extra_repr(self) -> str:
        return f"{self.low.numel()} columns, {int((self.above | self.below).sum())} bounded"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_slope = self.elements(z)
        return x, sum_event(log_slope)

    def elements(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Values x and log dx/dz of each element, both (B, D)."""
        both, width = self.above & self.below, self.high - self.low
        size = torch.where(self.below, -z, z).clamp(max=math.log(torch.finfo(z.dtype).max) / 2)
        x = torch.where(self.above, self.low + size.exp(), z)
        x = torch.where(self.below, self.high - size.exp(), x)
        x = torch.where(both, self.low + width * torch.sigmoid(z), x)
        return self._clamp(x), -self._log_slope(z)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        inside = self._clamp(x)
        # A branch that does not count is fed a harmless 1.
        from_low = torch.where(self.above, inside - self.low, 1.0).log()
        to_high = torch.where(self.below, self.high - inside, 1.0).log()
        z = torch.where(self.above | self.below, from_low - to_high, x)
        outside = (self.above & (x < self.low)) | (self.below & (x > self.high))
        return z, sum_event(torch.where(outside, -torch.inf, self._log_slope(z)))

    def _log_slope(self, z: Tensor) -> Tensor:
        """Log dz/dx as a function of z: 0, -z, z, or that of the logit."""
        both = self.above & self.below
        one_end = torch.where(self.above, -z, torch.where(self.below, z, 0.0))
        log_width = torch.where(both, self.high - self.low, 1.0).log()
        return torch.where(both, F.softplus(z) + F.softplus(-z) - log_width, one_end)

    def _clamp(self, x: Tensor) -> Tensor:
        """Moves x into the support, at least a few rounding steps away from its ends."""
        info = torch.finfo(x.dtype)
        scale = torch.where(self.above & self.below, self.high - self.low, 0.0)
        margin_low = info.eps * torch.maximum(self.low.abs(), scale) + info.tiny
        margin_high = info.eps * torch.maximum(self.high.abs(), scale) + info.tiny
        x = torch.where(self.above, torch.maximum(x, self.low + margin_low), x)
        return torch.where(self.below, torch.minimum(x, self.high - margin_high), x)


class SoftClip(Bijection):
    """Columns between two ends: the identity, but for about a softness s next to each end.

    x = low + s (softplus((z - low) / s) - softplus((z - high) / s)), and for each column
    z = x + s log(1 - exp(-(x - low) / s)) - s log(1 - exp(-(high - x) / s)),
    dz/dx = (1 - exp(-(high - low) / s)) / (1 - exp(-(x - low) / s)) / (1 - exp(-(high - x) / s)).
    Where `Support` makes a logit, in which what is narrow in x is wide next to an end and narrow
    elsewhere, a location stays a location here. s is learned. Columns without both ends stay as
    they are. Outside the ends the log-det is -inf; samples never leave them.

    Args:
        low: (D,), -inf where there is no end.
        high: (D,), inf where there is none.
        softness: s as a share of high - low, in the beginning.
    """

    low: Tensor
    width: Tensor
    clipped: Tensor

    def __init__(self, low: Tensor, high: Tensor, softness: float = 0.02) -> None:
        super().__init__()
        if not (low < high).all():
            raise ValueError(f"each `low` must be less than its `high`, got {low} and {high}")
        if not softness > 0:
            raise ValueError(f"`softness` must be positive, got {softness}")
        clipped = low.isfinite() & high.isfinite()
        self.register_buffer("clipped", clipped)
        self.register_buffer("low", low.where(clipped, 0.0))
        self.register_buffer("width", (high - low).where(clipped, 1.0))
        self.log_softness = nn.Parameter(torch.full_like(low, math.log(softness)))

    def extra_repr(self) -> str:
        return f"{self.low.numel()} columns, {int(self.clipped.sum())} between ends"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        s = self.log_softness.exp()
        above, below = (
            (z - self.low) / self.width / s,
            (self.low + self.width - z) / self.width / s,
        )
        # Each half is counted from its own end, so that neither distance is rounded away.
        near, far = torch.minimum(above, below), torch.maximum(above, below)
        from_end = s * self.width * (F.softplus(near) - F.softplus(-far))
        from_low = torch.where(above < below, from_end, self.width - from_end)
        x = self._inside(self.low + from_low)
        log_slope = F.logsigmoid(above) + F.logsigmoid(below) + _log_rest(1 / s)
        log_slope = torch.where(self.clipped, log_slope, 0.0)
        return torch.where(self.clipped, x, z), sum_event(log_slope)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        s, inside = self.log_softness.exp(), self._inside(x)
        # A column that does not count is fed a harmless 1/2.
        share = torch.where(self.clipped, (inside - self.low) / self.width, 0.5)
        left, right = _log_rest(share / s), _log_rest((1 - share) / s)
        z = torch.where(self.clipped, inside + s * self.width * (left - right), x)
        log_slope = torch.where(self.clipped, _log_rest(1 / s) - left - right, 0.0)
        outside = self.clipped & ((x < self.low) | (x > self.low + self.width))
        return z, sum_event(torch.where(outside, -torch.inf, log_slope))

    def _inside(self, x: Tensor) -> Tensor:
        """Moves x between the ends, at least a few rounding steps away from them."""
        high, info = self.low + self.width, torch.finfo(x.dtype)
        margin_low = info.eps * torch.maximum(self.low.abs(), self.width)
        margin_high = info.eps * torch.maximum(high.abs(), self.width)
        return torch.minimum(torch.maximum(x, self.low + margin_low), high - margin_high)


def _log_rest(u: Tensor) -> Tensor:
    """Log(1 - exp(-u)) for u > 0."""
    return (-torch.expm1(-u)).log()
