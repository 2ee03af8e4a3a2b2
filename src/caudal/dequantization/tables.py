"""Rows of a table: lattices, atoms, heaps and missing values."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from caudal.bijection import sum_event
from caudal.bijections.atoms import Atoms
from caudal.bijections.copula import Gaussianise
from caudal.bijections.differences import Differences
from caudal.bijections.heaps import Heaps
from caudal.bijections.support import Support
from caudal.dequantization.protocol import Dequantization
from caudal.numerics import bound, normal, uniform

Fillers = Literal["drawn", "normal"]
"""What missing values are drawn from: the column's own distribution, or a Gaussian."""

_FEW_CELLS = 100  # so few that each is wide enough for an exact mass in 32 bits
_HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
_OFF_LATTICE = 1e-2  # share of a step: well above rounding errors, well below real differences


class TableDequantization(Dequantization):
    """Rows of a table (B, D), NaN where a value is missing, to continuous rows (B, D + M).

    A column on a lattice (integers, category codes, rounded numbers; `step` > 0, counted from
    `low` if that is finite) gets uniform noise of one step: y = x + step u. A value off its
    lattice has density zero. An atom, a value with a probability of its own, gets a place in the
    line (see `Atoms`) and uniform noise as wide as that: log q = -log width; other values keep
    their density. Each of the M columns that may be missing gets a flag column at the end, 0 or 1
    plus uniform noise. A missing value is drawn from the distribution of the column's own values,
    so that a flow that takes one for a value is not led astray, and log q contains its
    log-density. The log-probability of a value on a lattice is a density in
    the column's units, or, where `mass` says so, a mass: then log q = -log step. The
    log-probability of an atom is a mass. A lattice whose values heap up has places of uneven width
    (see `Heaps`).

    Where columns are never below others, all this is said of what they are above them (see
    `Differences`).

    Args:
        step: (D,), the distance of the points of each lattice, 0 for continuous columns.
        missing: (D,), which columns may be missing.
        low: (D,), the lower end of each column.
        high: (D,), the upper end, one step above the last point of a lattice.
        atoms: of each column; none if not given. Columns on a lattice need none.
        mass: (D,), which lattices score by mass; none if not given, which differs where a step is
            not 1.
        heaps: the shares of the steps of a period, of each column; none if not given.
        differences: of columns that are never below others; none if not given.
        fillers: "normal" draws missing values from a Gaussian in the column's unbounded units, as
            caudal did before 0.2.
    """

    step: Tensor
    missing: Tensor
    cell: Tensor
    fill_mean: Tensor
    fill_std: Tensor

    def __init__(
        self,
        step: Tensor,
        missing: Tensor,
        low: Tensor,
        high: Tensor,
        atoms: Atoms | None = None,
        mass: Tensor | None = None,
        heaps: Sequence[Sequence[float]] = (),
        differences: Differences | None = None,
        fillers: Fillers = "drawn",
    ) -> None:
        super().__init__()
        self.event_shape = (step.numel(),)
        is_mass = torch.zeros_like(step, dtype=torch.bool) if mass is None else mass
        self.register_buffer(
            "cell", torch.where(is_mass & (step > 0), step, 1.0), persistent=False
        )
        self.register_buffer("step", step)
        self.register_buffer("missing", missing)
        self.atoms = Atoms([()] * step.numel(), torch.ones_like(step)) if atoms is None else atoms
        self.heaps = Heaps(heaps or [()] * step.numel(), step, low)
        self.differences = Differences((), step) if differences is None else differences
        self.support = Support(*self.ends(low, high))
        self.columns_missing = [int(i) for i in missing.nonzero().flatten()]
        self.fillers: Fillers = fillers
        if fillers == "normal":
            self.register_buffer("fill_mean", torch.zeros_like(step))
            self.register_buffer("fill_std", torch.ones_like(step))
        elif self.columns_missing:
            gaps = self.columns_missing
            first, last = self.ends(low, high)
            cells = self.step.clone()
            cells[list(self.heaps.columns)] = 0.0
            self.own = Gaussianise(first[gaps], last[gaps], cells[gaps], self.atoms.places[gaps])
        plain = step.numel() == 1 and not self.columns_missing and not self.atoms.exist
        plain = plain and not self.heaps.columns
        # Known once, as a comparison on a GPU would wait for it in each pass.
        few = (high - low) <= _FEW_CELLS * step  # not so without a step, or without an end
        self._counted = plain and bool(few.all())
        self._fills = bool(missing.any() or step.any()) or self.atoms.exist

    def extra_repr(self) -> str:
        lattice, missing = int((self.step > 0).sum()), len(self.columns_missing)
        return (
            f"{self.step.numel()} columns, {lattice} on a lattice, {missing} with missing values"
        )

    @property
    def counted(self) -> bool:
        return self._counted

    @property
    def fills(self) -> bool:
        return self._fills

    def ends(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The ends (D,) of the line of columns with the ends `low` and `high`."""
        return self.heaps.ends(*self.atoms.ends(low, high))

    def cells(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Where the cells of counted values x (B, 1) start and end, and log 1 or log 1/step.

        At the ends of the support a cell has no end; the log is -inf for what is no value.
        """
        steps = self._in_steps(x)
        start = self.support.low + steps.round() * self.step
        end = start + self.step
        half = self.step / 2
        first, last = start < self.support.low + half, end > self.support.high - half
        off = (x < self.support.low - half) | (x > self.support.high - half)
        off = off | ((steps - steps.round()).abs() > _OFF_LATTICE)
        unit = (self.cell / self.step).log().expand_as(x)
        start, end = start.where(~first, -torch.inf), end.where(~last, torch.inf)
        return start, end, unit.where(~off, -torch.inf)

    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        y, log_noise, log_fill = self.elements(x, generator)
        return y, sum_event(log_noise) + sum_event(log_fill)

    def elements(
        self, x: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As `lift`, but log q of each column, both (B, D): of noise, and of missing values."""
        generator = bound(generator, x)
        x = self.differences.apart(x)
        noise, off = self._within_step(x, generator)
        y, is_atom = self.atoms.open(x)
        y, log_slope = self.heaps.spread(y + (self.step + is_atom * self.atoms.width) * noise)
        absent = x.isnan()
        cell = torch.where(is_atom, self.atoms.width, self.cell)
        log_noise = -(torch.where(absent, 1.0, cell).log() + log_slope)
        log_noise = torch.where(off, torch.inf, log_noise)
        if not self.columns_missing:
            return y, log_noise, torch.zeros_like(log_noise)
        fill, log_fill = self._filled(x, generator)
        flags = absent[:, self.columns_missing].to(x.dtype)
        flags = flags + uniform(flags, generator)
        y = torch.cat([torch.where(absent, fill, y), flags], 1)
        return y, log_noise, log_fill * absent

    def _filled(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """What stands in the place of a missing value, and its log-density, both (B, D)."""
        if self.fillers == "normal":
            noise = normal(x, generator)
            fill, log_slope = self.support.elements(self.fill_mean + self.fill_std * noise)
            return fill, -0.5 * noise.square() - _HALF_LOG_TAU - self.fill_std.log() - log_slope
        noise = normal(x[:, self.columns_missing], generator)
        own, log_slope = self.own.elements(noise)
        fill, log_fill = torch.zeros_like(x), torch.zeros_like(x)
        fill[:, self.columns_missing] = own
        log_fill[:, self.columns_missing] = -0.5 * noise.square() - _HALF_LOG_TAU + log_slope
        return fill, log_fill

    def _within_step(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Uniform noise in [0, 1], and which values are off their lattice.

        Noise so near to 0 or 1 that rounding could carry it to another step is avoided, and a
        value within rounding of its lattice is on it.
        """
        steps = self._in_steps(x)
        size = (x.abs() + self.support.low.abs()) / self._spacing
        margin = 4 * torch.finfo(x.dtype).eps * (size + 1)
        off = (self.step > 0) & ((steps - steps.round()).abs() > _OFF_LATTICE + margin)
        margin = margin.clamp(max=0.25)
        noise = torch.minimum(torch.maximum(uniform(x, generator), margin), 1 - margin)
        return noise, off

    def lower(self, y: Tensor) -> Tensor:
        features = self.event_shape[0]
        x = self.heaps.gather(y[:, :features])
        on_lattice = self.support.low + self._in_steps(x).floor() * self._spacing
        x = torch.where(self.step > 0, on_lattice, self.atoms.close(x))
        x = self.differences.together(x)
        if not self.columns_missing:
            return x
        absent = torch.zeros_like(x, dtype=torch.bool)
        absent[:, self.columns_missing] = y[:, features:] >= 1
        return torch.where(absent, torch.nan, x)

    @property
    def _spacing(self) -> Tensor:
        return torch.where(self.step > 0, self.step, self.atoms.width)

    def _in_steps(self, x: Tensor) -> Tensor:
        """The distance of x in steps from the first point of its lattice, or else from 0."""
        return (x - self.support.low) / self._spacing

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        x = self.differences.apart(x)
        # From the middle of its cell a value at an end of the support is not at infinity.
        places, is_atom = self.atoms.open(x)
        places, _ = self.heaps.spread(places + 0.5 * (self.step + is_atom * self.atoms.width))
        places = places.where(~x.isnan(), torch.nan)
        if self.fillers == "drawn":
            if self.columns_missing:
                self.own.observe(places[:, self.columns_missing])
            return
        for column in self.columns_missing:
            present = ~x[:, column].isnan()
            if not present.any():
                continue
            values = self.support.inverse(places)[0][present, column]
            std, mean = torch.std_mean(values, correction=0)
            self.fill_mean[column] = mean
            self.fill_std[column] = std.clamp(min=1e-3)
