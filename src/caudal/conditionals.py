"""The distribution of each column of a row given its others, by integrals along lines."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from caudal.bijections.atoms import Atoms
from caudal.bijections.heaps import Heaps
from caudal.flow import Flow
from caudal.numerics import RowGenerator

DRAWS = 8  # of the noise that fills steps and gaps
_ROUNDS, _CUT = 12, 6  # intervals of most mass are cut in three: how often at most, and so many
_FINE = 0.01  # share of the mass that an interval may have
_OUTER = 1e-3  # share of the mass of the outermost interval from which the line is prolonged
_NARROW = 4e-7  # width of one, relative to its place, at which float32 ends
_EDGE = 1e-4  # of the place of an atom, on which the density may be anything
_FLAT = 1e-12  # least change of a log-density along an interval that is told from none
_LOW, _HIGH = 0.05, 0.95


class Line(NamedTuple):
    """Where the values of a column lie.

    Attributes:
        start: values (K,), K > 1, in ascending order, with which the integral begins; points of
            the lattice where there is one. With atoms or heaps, in the opened line.
        step: of the lattice; 0 for continuous values, and for a lattice with heaps.
        low, high: the ends of the support, of the opened line where there are atoms or heaps.
        gaps: whether a value may be missing.
    """

    start: Tensor
    step: float
    low: float = -math.inf
    high: float = math.inf
    gaps: bool = False


class Conditional(NamedTuple):
    """What a column of B rows is like given the others, each (B,) in float64.

    Attributes:
        log_prob: log p(x_d | x_others) of the value there is, in nats: the log-probability of a
            value in steps, or of a gap, else a log-density in the column's units. -inf outside of
            the support, NaN where other columns are outside of theirs.
        surprise: by how many nats this is less than what such values have on average; see
            `conditionals`.
        low, median, high: quantiles of levels 5, 50 and 95 %, of values that are there.
        likeliest: the value of the largest density, among those looked at.
        missing: the probability that the value is missing.
    """

    log_prob: Tensor
    surprise: Tensor
    low: Tensor
    median: Tensor
    high: Tensor
    likeliest: Tensor
    missing: Tensor


@torch.no_grad()
def conditionals(
    flow: Flow,
    x: Tensor,
    lines: Sequence[Line],
    context: Tensor | None = None,
    draws: int = DRAWS,
    seed: int = 0,
) -> list[Conditional]:
    """The conditional of each column of rows x (B, D) under any flow, exact up to an integral.

    log p(x_d | x_others) = log p(x) - log integral p(x_1, .., t, .., x_D) dt, which is a sum where
    x_d is on a lattice, and has one more term where it may be missing. Between neighbouring values
    of t the log-density is taken as linear, and values are added where most of the mass is, and
    beyond the ends where there is some. Of a lattice whose points are all in `Line.start` the sum
    is exact. A value costs a density: of numbers up to 200 a row, column and draw.

    The surprise is -log p(x_d | x_others) - H_d in nats, H_d = -E log p(t | x_others) the entropy
    of that conditional: its mean over values that the flow itself would put there is 0, whatever
    the units of the column, so that columns can be compared. Of a normal conditional it is
    (r^2 - 1) / 2, for a value r standard deviations from the mean. (What the log-density of the
    row would gain by the likeliest value, there r^2 / 2, is no measure: a narrow peak of little
    probability would make all other values surprising.) Where values may be missing, H_d is the
    entropy of whether this one is, plus, if it is not, that of the values.

    Noise that fills steps and gaps is the row's own, the same for all t; densities are means over
    `draws` of it. Values with a probability of their own are integrated over their places in the
    opened line (`caudal.bijections.Atoms`), in which there are densities alone, and so are values
    in heaps over the places that these make even (`caudal.bijections.Heaps`).

    Args:
        flow: in evaluation mode, over vectors.
        x: rows, NaN where a value is missing.
        lines: one for each column.
        context: of the rows, for a conditional flow.
        draws: of the noise.
        seed: of the noise.
    """
    joint = _Joint(flow, x, context, draws, seed)
    return [_conditional(joint, column, line) for column, line in enumerate(lines)]


class _Joint:
    """The log-density of rows in which one column takes other values."""

    def __init__(
        self, flow: Flow, x: Tensor, context: Tensor | None, draws: int, seed: int
    ) -> None:
        self.flow, self.x, self.context = flow, x, context
        self.continuous = flow.continuous()
        draws = 1 if flow.dequantization is None else draws
        generator = RowGenerator(x.device, seed, draws)
        self.noises = [generator.bind(x, context) for _ in range(draws)]
        self.atoms: Atoms | None = getattr(flow.dequantization, "atoms", None)
        self.heaps: Heaps | None = getattr(flow.dequantization, "heaps", None)
        self.step = getattr(flow.dequantization, "step", x.new_zeros(x.shape[1])).double()

    def places(self, column: int) -> Tensor:
        """Knots (K,) of the opened line at either side of where the place of an atom ends."""
        if self.atoms is None or not self.atoms.exist:
            return self.x.new_empty(0).double()
        ends = self.atoms.places[column].double()
        ends = ends[ends.isfinite().all(1)]
        before = ends - _EDGE * self.atoms.width[column]
        return torch.cat([before, ends], 1).flatten()

    def open(self, column: int, values: Tensor) -> tuple[Tensor, Tensor]:
        """Values (B,) in the opened line, in the middle of their places; log widths of these.

        A place that is as wide as a step of its lattice counts as 1.
        """
        if self.heaps is not None and column in self.heaps.columns:
            places, log_slope = self.heaps.spread(self._wide(values) + self.step / 2)
            return places[:, column], log_slope[:, column]
        if self.atoms is None or not self.atoms.exist:
            return values, torch.zeros_like(values)
        width = self.atoms.width[column].double()
        places, is_atom = self.atoms.open(self._wide(values))
        is_atom = is_atom[:, column]
        return places[:, column] + is_atom * width / 2, is_atom * width.log()

    def log_step(self, column: int) -> float:
        """From a density in the units of a column with heaps to a probability; 0 of others."""
        heaped = self.heaps is not None and column in self.heaps.columns
        return math.log(self.step[column]) if heaped else 0.0

    def close(self, column: int, places: Tensor) -> Tensor:
        """The values whose places in the opened line these are, of the same shape."""
        if self.heaps is not None and column in self.heaps.columns:
            middles = self.heaps.gather(self._wide(places.flatten()))[:, column]
            return (middles - self.step[column] / 2).view(places.shape)
        if self.atoms is None or not self.atoms.exist:
            return places
        wide = self._wide(places.flatten())
        return self.atoms.close(wide)[:, column].reshape(places.shape)

    def _wide(self, values: Tensor) -> Tensor:
        """Values (N,) in each of the columns, (N, D)."""
        return values[:, None].expand(-1, self.x.shape[1])

    def at(self, column: int, places: Tensor) -> Tensor:
        """Log-densities (B, M) with values at places (B, M) of a column's line, in float64."""
        values = self.close(column, places)
        log_width = self.open(column, values.flatten())[1].view(values.shape)
        each, n = values.shape[1], len(self.noises)
        rows = self.x.repeat_interleave(each, 0)
        rows[:, column] = values.flatten().to(rows)
        context = self.context
        if context is not None:
            context = context.repeat_interleave(each, 0).repeat(n, 1)
        lifted = [self.flow.lift(rows, noise.repeated(each)) for noise in self.noises]
        y, log_q = (torch.cat(parts) for parts in zip(*lifted, strict=True))
        log_prob = (self.continuous.log_prob(y, context) - log_q).double()
        return log_prob.view(n, *values.shape).logsumexp(0) - math.log(n) - log_width


def _conditional(joint: _Joint, column: int, line: Line) -> Conditional:
    value, log_width = joint.open(column, joint.x[:, column].double())
    curve, own = _curve(joint, column, line, value)
    total = curve.masses.logsumexp(1)
    whole, entropy = total, curve.entropy()
    missing = torch.zeros_like(total)
    if line.gaps:
        gap = joint.at(column, torch.full_like(value, torch.nan)[:, None])[:, 0]
        whole = torch.logaddexp(total, gap)
        missing = (gap - whole).exp()
        entropy = torch.where(value.isnan(), 0.0, entropy)
        entropy = entropy + torch.special.entr(missing) + torch.special.entr(1 - missing)
    log_prob = own - whole
    places = [curve.quantile(level) for level in (_LOW, 0.5, _HIGH)]
    places.append(curve.knots.gather(1, curve.heights.argmax(1, keepdim=True))[:, 0])
    low, median, high, likeliest = (joint.close(column, place) for place in places)
    told = low, median, high, likeliest, missing
    width = log_width + joint.log_step(column)
    return Conditional(log_prob + width, -log_prob - entropy, *told)


class _Curve(NamedTuple):
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

    def further(self, line: Line) -> Tensor | None:
        """Values (B, M) to look at too; None if the curve is fine.

        They cut the intervals of most mass in three, and prolong the line where it ends amid mass.
        A row of which nothing is to be cut has values again that it has already.
        """
        width, share = self.knots.diff(), self.masses.softmax(1).nan_to_num(0.0)
        least = 1.5 * self.step or _NARROW * (self.knots[:, 1:].abs() + self.knots[:, :-1].abs())
        most, index = torch.where(width > least, share, 0.0).topk(min(_CUT, share.shape[1]))
        ends = self._ends(line, share)
        if not (most > _FINE).any() and torch.equal(ends, self.knots[:, [0, -1]]):
            return None
        left = self.knots.gather(1, index)
        width = torch.where(most > _FINE, width.gather(1, index), 0.0)
        third = (width / self.step / 3).round() * self.step if self.step else width / 3
        values = torch.cat([left + third, left + width - third, ends], 1)
        return values if self.step else values.float().double()

    def _ends(self, line: Line, share: Tensor) -> Tensor:
        """New ends (B, 2): further out by the length of the line where mass may be beyond."""
        first, last = self.knots[:, [0]], self.knots[:, [-1]]
        peak = self.heights.argmax(1, keepdim=True)
        before = (share[:, :1] > _OUTER) | (peak == 0)
        after = (share[:, -1:] > _OUTER) | (peak == self.heights.shape[1] - 1)
        new_first = torch.where(before, 2 * first - last, first).clamp(min=line.low)
        new_last = torch.where(after, 2 * last - first, last).clamp(max=line.high)
        return torch.cat([torch.minimum(first, new_first), torch.maximum(last, new_last)], 1)


def _curve(joint: _Joint, column: int, line: Line, value: Tensor) -> tuple[_Curve, Tensor]:
    """The density along the line of a column, and the height at the value of each row, (B,)."""
    scale = math.log(line.step or 1.0)  # from a density in the column's units to a probability
    start = torch.cat([line.start.double(), joint.places(column)]).sort().values
    start = start.expand(len(value), -1)
    knots = torch.cat([start, value[:, None]], 1)
    heights = joint.at(column, knots) + scale
    own = heights[:, -1]
    used = (own.isfinite() & value.isfinite())[:, None]
    knots = torch.cat([start, torch.where(used, knots[:, -1:], knots[:, :1])], 1)
    heights = torch.cat([heights[:, :-1], torch.where(used, heights[:, -1:], heights[:, :1])], 1)
    curve = _sorted(knots, heights, line.step)
    for _ in range(_ROUNDS):
        further = curve.further(line)
        if further is None:
            break
        heights = torch.cat([curve.heights, joint.at(column, further) + scale], 1)
        curve = _sorted(torch.cat([curve.knots, further], 1), heights, line.step)
    if line.step:  # the last point is an interval of its own
        beyond = F.pad(curve.heights, (0, 1), value=-torch.inf)
        last = curve.knots[:, -1:] + line.step
        curve = _Curve(torch.cat([curve.knots, last], 1), beyond, line.step)
    own = torch.where(value.isnan(), own - scale, own)  # a gap is a probability already
    return curve, own


def _sorted(knots: Tensor, heights: Tensor, step: float) -> _Curve:
    knots, order = knots.sort(1)
    return _Curve(knots, heights.gather(1, order), step)


def _log_expm1(a: Tensor) -> Tensor:
    """The log of abs(exp(a) - 1)."""
    return a.clamp(min=0) + torch.log(-torch.expm1(-a.abs()))
