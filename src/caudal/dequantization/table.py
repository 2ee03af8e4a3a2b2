"""Rows of a table, with steps and missing values, to numbers a continuous flow can model."""

import math

import torch
from torch import Tensor

from caudal.bijection import sum_event
from caudal.bijections.pointwise import Support
from caudal.dequantization.protocol import Dequantization, uniform

_OFF_LATTICE = 1e-2  # share of a step: well above rounding errors, well below real differences


class TableDequantization(Dequantization):
    """Rows of a table (B, D), NaN where a value is missing, to continuous rows (B, D + M).

    A column on a lattice (integers, category codes, rounded numbers; `step` > 0, counted from
    `low` if that is finite) gets uniform noise of one step: y = x + step u. A value off its
    lattice has density zero. Each of the M columns that may be missing gets a flag column at the
    end, 0 or 1 plus uniform noise. A missing value is drawn from a Gaussian in the column's
    unbounded units, and log q contains its log-density. The log-probability of a rounded column is
    a density, in the column's units; for integers and categories it is a mass.
    """

    step: Tensor
    missing: Tensor
    fill_mean: Tensor
    fill_std: Tensor

    def __init__(self, step: Tensor, missing: Tensor, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.event_shape = (step.numel(),)
        self.register_buffer("step", step)
        self.register_buffer("missing", missing)
        self.support = Support(low, high)
        self.register_buffer("fill_mean", torch.zeros_like(step))
        self.register_buffer("fill_std", torch.ones_like(step))
        self.columns_missing = [int(i) for i in missing.nonzero().flatten()]

    def extra_repr(self) -> str:
        lattice, missing = int((self.step > 0).sum()), len(self.columns_missing)
        return (
            f"{self.step.numel()} columns, {lattice} on a lattice, {missing} with missing values"
        )

    def lift(self, x: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        noise, log_q = self._within_step(x, generator)
        y = x + self.step * noise
        if not self.columns_missing:
            return y, log_q
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype, device=x.device)
        fill, log_slope = self.support.elements(self.fill_mean + self.fill_std * noise)
        log_fill = (
            -0.5 * noise.square() - 0.5 * math.log(2 * math.pi) - self.fill_std.log() - log_slope
        )
        absent = x.isnan()
        flags = absent[:, self.columns_missing].to(x.dtype)
        flags = flags + uniform(flags, generator)
        y = torch.cat([torch.where(absent, fill, y), flags], 1)
        return y, log_q + sum_event(log_fill * absent)

    def _within_step(self, x: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Uniform noise in [0, 1], and log q: 0, or inf for a row off the lattices.

        Noise so near to 0 or 1 that rounding could carry it to another step is avoided, and a
        value within rounding of its lattice is on it.
        """
        steps = self._in_steps(x)
        size = (x.abs() + self.support.low.abs()) / self._spacing
        margin = 4 * torch.finfo(x.dtype).eps * (size + 1)
        off = (self.step > 0) & ((steps - steps.round()).abs() > _OFF_LATTICE + margin)
        margin = margin.clamp(max=0.25)
        noise = torch.minimum(torch.maximum(uniform(x, generator), margin), 1 - margin)
        return noise, torch.where(off.any(1), torch.inf, 0.0).to(x.dtype)

    def lower(self, y: Tensor) -> Tensor:
        features = self.event_shape[0]
        x = y[:, :features]
        on_lattice = self.support.low + self._in_steps(x).floor() * self._spacing
        x = torch.where(self.step > 0, on_lattice, x)
        if not self.columns_missing:
            return x
        absent = torch.zeros_like(x, dtype=torch.bool)
        absent[:, self.columns_missing] = y[:, features:] >= 1
        return torch.where(absent, torch.nan, x)

    @property
    def _spacing(self) -> Tensor:
        return torch.where(self.step > 0, self.step, 1.0)

    def _in_steps(self, x: Tensor) -> Tensor:
        """The distance of x in steps from the first point of its lattice, or else from 0."""
        return (x - self.support.low) / self._spacing

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        # Mean and deviation of the Gaussian from which missing values are drawn.
        for column in self.columns_missing:
            present = ~x[:, column].isnan()
            if not present.any():
                continue
            values = self.support.inverse(x.where(present.unsqueeze(1), torch.nan))[0][
                present, column
            ]
            std, mean = torch.std_mean(values, correction=0)
            self.fill_mean[column] = mean
            self.fill_std[column] = std.clamp(min=1e-3)
