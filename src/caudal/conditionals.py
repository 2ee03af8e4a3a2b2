"""The distribution of each column of a row given its others, by integrals along lines."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from caudal.bijections.atoms import Atoms
from caudal.bijections.differences import Differences
from caudal.bijections.heaps import Heaps
from caudal.conditioning.completion import completes
from caudal.dequantization import TableDequantization
from caudal.flow import Flow
from caudal.numerics import RowGenerator
from caudal.numerics.curves import Curve, sorted_curve

DRAWS = 8  # of the noise that fills steps and gaps
_ROUNDS = 12  # in which intervals are cut, at most
_EDGE = 1e-4  # share of the place of an atom, at its edge, where the density may be anything
_LOW, _HIGH = 0.05, 0.95
_USUAL = 33  # distances from a column that is never below, at most


class Line(NamedTuple):
    """Where the values of a column lie.

    Attributes:
        start: values (K,), K > 1, in ascending order, with which the integral begins; points of
            the lattice where there is one. With atoms or heaps, in the opened line. Of a column
            that is never below others (see `Differences`), what it is above them.
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
    columns: Sequence[int] | None = None,
) -> list[Conditional]:
    """The conditional of each column of rows x (B, D) under any flow, exact up to an integral.

    log p(x_d | x_others) = log p(x) - log integral p(x_1, .., t, .., x_D) dt, which is a sum where
    x_d is on a lattice, and has one more term where it may be missing. Between neighbouring values
    of t the log-density is taken as linear, and values are added where most of the mass is, and
    beyond the ends where there is some. Over a lattice whose points are all in `Line.start` the
    sum is exact. Each value costs one density: for numbers there are up to 200 for each row,
    column and draw.

    A flow of any order takes column d last, and so tells p(x_d | x_others) as it has learned it.

    The surprise is -log p(x_d | x_others) - H_d in nats, H_d = -E log p(t | x_others) the entropy
    of that conditional: its mean over values that the flow itself would put there is 0, whatever
    the units of the column, so that columns can be compared. For a normal conditional it is (r^2 -
    1) / 2, for a value r standard deviations from the mean. (What the log-density of the row would
    gain by the likeliest value, there r^2 / 2, is no measure: a narrow peak of little probability
    would make all other values surprising.) Where values may be missing, H_d is the entropy of
    whether this one is, plus, if it is not, that of the values.

    Noise that fills steps and gaps is the row's own, the same for all t; densities are means over
    `draws` of it. Values with a probability of their own are integrated over their places in the
    opened line (`caudal.bijections.Atoms`), in which there are densities alone, and so are values
    in heaps over the places that these make even (`caudal.bijections.heaps.Heaps`).

    Args:
        flow: in evaluation mode, over vectors.
        x: rows, NaN where a value is missing.
        lines: one for each column.
        context: of the rows, for a conditional flow.
        draws: of the noise.
        seed: of the noise.
        columns: those that are asked for; all if None.
    """
    joint = _Joint(flow, x, context, draws, seed)
    asked = range(len(lines)) if columns is None else columns
    return [_conditional(joint, column, lines) for column in asked]


class _Joint:
    """The log-density of rows in which one column takes other values."""

    def __init__(
        self, flow: Flow, x: Tensor, context: Tensor | None, draws: int, seed: int
    ) -> None:
        self.flow, self.x, self.context = flow, x, context
        self.continuous, self.any_order = flow.continuous(), completes(flow)
        draws = 1 if flow.dequantization is None else draws
        generator = RowGenerator(x.device, seed, draws)
        self.noises = [generator.bind(x, context) for _ in range(draws)]
        self.atoms: Atoms | None = getattr(flow.dequantization, "atoms", None)
        self.heaps: Heaps | None = getattr(flow.dequantization, "heaps", None)
        self.step = getattr(flow.dequantization, "step", x.new_zeros(x.shape[1])).double()
        self.above: Differences | None = getattr(flow.dequantization, "differences", None)

    def floor(self, column: int) -> Tensor:
        """What a column is never below in each row (B,): its line begins there; else 0."""
        if self.above is None:
            return self.x.new_zeros(len(self.x)).double()
        return self.above.floor(column, self.x.double())

    def below(self, column: int, lines: Sequence[Line]) -> Tensor:
        """Places (B, K) in the line of a column that other columns are never below.

        They are as far below these as the column usually is, and at the end of what it can be.
        """
        places = [self.x.new_empty(len(self.x), 0).double()]
        line, own = lines[column], self.floor(column)[:, None]
        for j, sources, shifts in self.above.inequalities if self.above else ():
            if column not in sources:
                continue
            start = lines[j].start.double()
            usual = self.close(j, start[:: -(-len(start) // _USUAL)])
            usual = torch.cat([usual, usual.new_tensor([0.0, -float(self.step[column])])])
            end = self.x[:, [j]].double() + shifts[sources.index(column)] - own
            opened = self.open(column, (end - usual).flatten())[0].view(len(end), -1)
            opened = opened.clamp(line.low, line.high)
            places.append(opened.where(~end.isnan(), line.start[0].double()))
        return torch.cat(places, 1)

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
        """The log-factor from a density to a probability for a column with heaps; 0 for others."""
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
        values = values + self.floor(column)[:, None]
        rows[:, column] = values.flatten().to(rows)
        context = self.context
        if context is not None:
            context = context.repeat_interleave(each, 0).repeat(n, 1)
        lifted = [self.flow.lift(rows, noise.repeated(each)) for noise in self.noises]
        y, log_q = (torch.cat(parts) for parts in zip(*lifted, strict=True))
        log_prob = (self._density(column).log_prob(y, context) - log_q).double()
        return log_prob.view(n, *values.shape).logsumexp(0) - math.log(n) - log_width

    def _density(self, column: int) -> Flow:
        """The density of lifted rows, in which a column comes last if it may."""
        if not self.any_order:
            return self.continuous
        last, tokens = [column], self.continuous.event_shape[0]
        if isinstance(self.flow.dequantization, TableDequantization):
            missing = self.flow.dequantization.columns_missing
            if column in missing:  # the flag that says whether there is a value
                last.append(self.x.shape[1] + missing.index(column))
        return self.continuous.in_order([*(t for t in range(tokens) if t not in last), *last])


def _conditional(joint: _Joint, column: int, lines: Sequence[Line]) -> Conditional:
    floor, line = joint.floor(column), lines[column]
    value, log_width = joint.open(column, joint.x[:, column].double() - floor)
    curve, own = _curve(joint, column, lines, value)
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
    low, median, high, likeliest = (joint.close(column, place) + floor for place in places)
    others = low, median, high, likeliest, missing
    width = log_width + joint.log_step(column)
    return Conditional(log_prob + width, -log_prob - entropy, *others)


def _curve(
    joint: _Joint, column: int, lines: Sequence[Line], value: Tensor
) -> tuple[Curve, Tensor]:
    """The density along the line of a column, and the height at the value of each row, (B,)."""
    line = lines[column]
    scale = math.log(line.step or 1.0)  # from a density in the column's units to a probability
    start = torch.cat([line.start.double(), joint.places(column)]).sort().values
    start = start.expand(len(value), -1)
    if (below := joint.below(column, lines)).shape[1]:
        start = torch.cat([start, below], 1).sort(1).values
    knots = torch.cat([start, value[:, None]], 1)
    heights = joint.at(column, knots) + scale
    own = heights[:, -1]
    used = (own.isfinite() & value.isfinite())[:, None]
    knots = torch.cat([start, torch.where(used, knots[:, -1:], knots[:, :1])], 1)
    heights = torch.cat([heights[:, :-1], torch.where(used, heights[:, -1:], heights[:, :1])], 1)
    curve = sorted_curve(knots, heights, line.step)
    for _ in range(_ROUNDS):
        further = curve.further(line.low, line.high)
        if further is None:
            break
        heights = torch.cat([curve.heights, joint.at(column, further) + scale], 1)
        curve = sorted_curve(torch.cat([curve.knots, further], 1), heights, line.step)
    if line.step:  # the last point is an interval of its own
        beyond = F.pad(curve.heights, (0, 1), value=-torch.inf)
        last = curve.knots[:, -1:] + line.step
        curve = Curve(torch.cat([curve.knots, last], 1), beyond, line.step)
    own = torch.where(value.isnan(), own - scale, own)  # a gap is a probability already
    return curve, own
