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
    """Columns between two ends: a line, but for about a softness s next to each end.

    The map works on shares u = (x - low) / (high - low). In each column it is
    u = s (softplus(z / s) - softplus((z - 1) / s)),
    z = u + s log(1 - exp(-u / s)) - s log(1 - exp(-(1 - u) / s)),
    dz/du = (1 - exp(-1 / s)) / (1 - exp(-u / s)) / (1 - exp(-(1 - u) / s)).
    Where `Support` makes a logit, in which what is narrow in x is wide next to an end and narrow
    elsewhere, a location stays a location here. s is learned. Columns without both ends stay as
    they are. Outside the ends the log-det is -inf; samples never leave them.

    A value one rounding step r inside an end, as a share, is at most s log(s / r) beyond it in z;
    what noise there is farther out has no value of its own. `softness_for` chooses s by that.

    Args:
        low: (D,), -inf where there is no end.
        high: (D,), inf where there is none.
        softness: s in the beginning, (D,) or one for all.
    """

    low: Tensor
    high: Tensor
    clipped: Tensor

    def __init__(self, low: Tensor, high: Tensor, softness: float | Tensor = 0.02) -> None:
        super().__init__()
        if not (low < high).all():
            raise ValueError(f"each `low` must be less than its `high`, got {low} and {high}")
        start = torch.as_tensor(softness, dtype=low.dtype).expand_as(low)
        if not (start > 0).all():
            raise ValueError(f"`softness` must be positive, got {softness}")
        clipped = low.isfinite() & high.isfinite()
        self.register_buffer("clipped", clipped)
        self.register_buffer("low", low.where(clipped, 0.0))
        self.register_buffer("high", high.where(clipped, 1.0))
        self.log_softness = nn.Parameter(start.log())

    def extra_repr(self) -> str:
        return f"{self.low.numel()} columns, {int(self.clipped.sum())} between ends"

    def forward(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        s, width = self.log_softness.exp(), self.high - self.low
        above, below = z / s, (1 - z) / s
        # Each half is counted from its own end, so that neither distance is rounded away.
        near, far = torch.minimum(above, below), torch.maximum(above, below)
        from_end = s * width * (F.softplus(near) - F.softplus(-far))
        x = torch.where(above < below, self.low + from_end, self.high - from_end)
        log_slope = F.logsigmoid(above) + F.logsigmoid(below) + _log_rest(1 / s) + width.log()
        log_slope = torch.where(self.clipped, log_slope, 0.0)
        return torch.where(self.clipped, self._inside(x), z), sum_event(log_slope)

    def inverse(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        s, width, inside = self.log_softness.exp(), self.high - self.low, self._inside(x)
        # A column that does not count is fed a harmless 1/2.
        from_low = torch.where(self.clipped, (inside - self.low) / width, 0.5)
        to_high = torch.where(self.clipped, (self.high - inside) / width, 0.5)
        left, right = _log_rest(from_low / s), _log_rest(to_high / s)
        z = torch.where(self.clipped, from_low + s * (left - right), x)
        log_slope = torch.where(self.clipped, _log_rest(1 / s) - left - right - width.log(), 0.0)
        outside = self.clipped & ((x < self.low) | (x > self.high))
        return z, sum_event(torch.where(outside, -torch.inf, log_slope))

    def _inside(self, x: Tensor) -> Tensor:
        """Moves x between the ends, at least a few rounding steps away from them."""
        low, high = self.low, self.high

        margin_low, margin_high = (_step(end, high - low) for end in (low, high))
        return torch.minimum(torch.maximum(x, low + margin_low), high - margin_high)


def softness_for(low: Tensor, high: Tensor, least: float = 0.02, reach: float = 0.25) -> Tensor:
    """The least softness (D,) by which values next to the ends reach so far beyond them.

    Both are shares of the width. Far from zero, numbers next to an end are coarse, and a softness
    that does between 0 and 1 would leave noise no place to go.
    """
    coarse = torch.maximum(_step(low, high - low), _step(high, high - low)) / (high - low)
    softness = torch.full_like(low, least)
    for _ in range(20):
        softness = (reach / (softness / coarse).log().clamp(min=1.0)).clamp(min=least)
    return softness.where(low.isfinite() & high.isfinite(), least)


def _step(end: Tensor, width: Tensor) -> Tensor:
    """A rounding step next to an end, or of the width if that is more."""
    return torch.finfo(end.dtype).eps * torch.maximum(end.abs(), width)


def _log_rest(u: Tensor) -> Tensor:
    """Log(1 - exp(-u)) for u > 0."""
    return (-torch.expm1(-u)).log()
