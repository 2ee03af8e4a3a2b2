"""Densities along a line, exponential between their knots."""

from typing import NamedTuple

import torch
from torch import Tensor

_CUT = 6  # intervals of most mass that are cut in three at a time
_FINE = 0.01  # share of the mass that an interval may have
_OUTER = 1e-3  # share of the mass of the outermost interval from which the line is prolonged
_NARROW = 4e-7  # width of one, relative to its place, at which float32 ends
_FLAT = 1e-12  # least change of a log-density along an interval that is told from none


class Curve(NamedTuple):
    """A density (B, K) along a line, exponential between its knots.

    Attributes:
        knots: (B, K), ascending, some of them equal.
        heights: log-densities there, of a lattice log-masses, in nats.
        step: of the lattice, or 0. Then a last knot follows the last point.
    """

    knots: Tensor
    heights: Tensor
    step: float

    @property
    def points(self) -> Tensor:
        """How many points each interval has, its right end left out; 1 for continuous values."""
        width = self.knots.diff()
        return (width / self.step).round() if self.step else torch.ones_like(width)

    @property
    def rise(self) -> Tensor:
        """By how much the log-density rises along each interval, never 0."""
        rise = self.heights.diff()
        return torch.where(rise.abs() < _FLAT, _FLAT, rise)

    @property
    def masses(self) -> Tensor:
        """The log of the integral, or of the sum, over each interval, (B, K - 1)."""
        rise, points, left = self.rise, self.points, self.heights[:, :-1]
        if self.step:
            masses = left + _log_expm1(rise) - _log_expm1(rise / points.clamp(min=1))
            masses = masses.masked_fill(points == 0, -torch.inf)
        else:
            masses = left + _log_expm1(rise) - rise.abs().log() + self.knots.diff().log()
        return masses.nan_to_num(-torch.inf, -torch.inf, -torch.inf)

    def entropy(self) -> Tensor:
        """-E log p in nats, (B,)."""
        masses, left, rise, points = self.masses, self.heights[:, :-1], self.rise, self.points
        if self.step:  # the mean of the first and the last point, which is near
            mean = torch.where(points > 1, left + rise * (1 - 1 / points) / 2, left)
        else:
            fall = rise.abs()
            mean = left + rise.clamp(min=0) - 1 + fall / torch.expm1(fall)
        mean = mean - masses.logsumexp(1, keepdim=True)
        return -(masses.softmax(1) * mean).nan_to_num(0.0, 0.0, 0.0).sum(1)

    def quantile(self, level: float) -> Tensor:
        """The value below which a share of the mass lies, (B,)."""
        share = self.masses.softmax(1)
        below = share.cumsum(1)
        index = (below < level).sum(1, keepdim=True).clamp(max=share.shape[1] - 1)
        knots = self.knots[:, :-1], self.knots.diff(), self.rise, self.points
        left, width, rise, points = (part.gather(1, index) for part in knots)
        part = (level - (below - share).gather(1, index)) / share.gather(1, index)
        part = part.clamp(1e-9, 1 - 1e-9)
        part = torch.logaddexp(torch.log1p(-part), part.log() + rise) / rise
        if self.step:
            place = (part.nan_to_num(0.0) * points).floor().clamp(max=points - 1) * self.step
        else:
            place = part * width
        return (left + place)[:, 0]

    def further(self, low: float, high: float) -> Tensor | None:
        """Further knots (B, M) within [low, high]; None if the curve is fine enough.

        They cut the intervals of most mass in three, and prolong the line where it ends amid mass.
        A row that needs none repeats knots that it has already.
        """
        width, share = self.knots.diff(), self.masses.softmax(1).nan_to_num(0.0)
        least = 1.5 * self.step or _NARROW * (self.knots[:, 1:].abs() + self.knots[:, :-1].abs())
        most, index = torch.where(width > least, share, 0.0).topk(min(_CUT, share.shape[1]))
        ends = self._ends(low, high, share)
        if not (most > _FINE).any() and torch.equal(ends, self.knots[:, [0, -1]]):
            return None
        left = self.knots.gather(1, index)
        width = torch.where(most > _FINE, width.gather(1, index), 0.0)
        third = (width / self.step / 3).round() * self.step if self.step else width / 3
        values = torch.cat([left + third, left + width - third, ends], 1)
        return values if self.step else values.float().double()

    def _ends(self, low: float, high: float, share: Tensor) -> Tensor:
        """New ends (B, 2): further out by the length of the line where mass may be beyond."""
        first, last = self.knots[:, [0]], self.knots[:, [-1]]
        peak = self.heights.argmax(1, keepdim=True)
        before = (share[:, :1] > _OUTER) | (peak == 0)
        after = (share[:, -1:] > _OUTER) | (peak == self.heights.shape[1] - 1)
        new_first = torch.where(before, 2 * first - last, first).clamp(min=low)
        new_last = torch.where(after, 2 * last - first, last).clamp(max=high)
        return torch.cat([torch.minimum(first, new_first), torch.maximum(last, new_last)], 1)


def sorted_curve(knots: Tensor, heights: Tensor, step: float) -> Curve:
    """The curve through knots and heights (B, K) in any order."""
    knots, order = knots.sort(1)
    return Curve(knots, heights.gather(1, order), step)


def _log_expm1(a: Tensor) -> Tensor:
    """The log of abs(exp(a) - 1)."""
    return a.clamp(min=0) + torch.log(-torch.expm1(-a.abs()))
