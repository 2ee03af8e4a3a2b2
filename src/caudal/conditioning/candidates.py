"""Candidates for the free elements of rows, whose other elements are given."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from caudal.bijection import Chain, parts_of
from caudal.bijections import Gaussianise, Support
from caudal.conditioning.law import (
    Scores,
    Told,
    fitted_law,
    lifted,
    lifted_masks,
    without_dequantization,
)
from caudal.errors import NumericalError
from caudal.flow import Flow
from caudal.numerics import normal, uniform


class State(NamedTuple):
    """Where rows are: noise z, lifted y of what is given and its log q, point v; log w.

    All (n, D + M), and log w (n,).
    """

    z: Tensor
    y: Tensor
    log_q: Tensor
    v: Tensor
    log_w: Tensor


class Candidates:
    """Rows some of whose elements are given, and candidates for the others."""

    def __init__(
        self,
        flow: Flow,
        x: Tensor,
        free: Tensor,
        context: Tensor | None,
        gaps: Tensor | None,
        generator: torch.Generator | None,
    ) -> None:
        self.context, self.gaps, self.generator = context, gaps, generator
        self.flow, self.lower = flow, flow.dequantization and flow.dequantization.lower
        parts = parts_of(flow.bijection)
        inner = parts[:-1] if isinstance(parts[-1], Gaussianise | Support) else parts
        self.outer = Chain(parts[len(inner) :])
        self.target = without_dequantization(flow, Chain(inner))
        self.known, self.following = lifted_masks(~free, flow.dequantization, gaps is not None)
        self.scored = self.following.any(0).nonzero().flatten().tolist()
        self.law, covariance = fitted_law(self.target, context, len(x), generator, self._scores)
        self.embedded = flow.embed_linear(context)
        self.mean = self.law.bijection(x.new_zeros(len(x), len(covariance)), self.embedded)[0]
        self.spread = covariance.diagonal().double().sqrt()
        scored = self.following[:, self.scored]
        self.told = Told(covariance, torch.cat([self.known, scored], 1))
        self.drawn = Told(covariance, torch.cat([~self.following, scored], 1))
        self.score = self.scores.of(x[:, self.scored]) if self.scored else x[:, :0]
        self.middle = self.outer(torch.zeros_like(self.known).to(self.mean))[0]
        self.middle[:, free.shape[1] :] = 0.5  # the flag of a value that is there
        middle = self.lower(self.middle) if self.lower else self.middle
        self.x = torch.where(free, middle, x)
        self.barred, *self.gap_ends = self._gap_places(free)

    def candidates(self, state: State | None = None, size: float = 1.0) -> State:
        """New candidates, or moves of a size from a state."""
        noise = normal(self.mean, self.generator)
        fresh, log_q = lifted(self.flow, self.x, self.generator)
        y = torch.where(self.known, fresh, self.middle)
        if state is None:
            z = noise
        else:
            z = math.sqrt(1 - size**2) * state.z + size * noise
            new = uniform(y, self.generator) < size
            y, log_q = torch.where(new, y, state.y), torch.where(new, log_q, state.log_q)
        # The part of the free columns is the same each time.
        known, log_slope = self.outer.inverse(y)
        drawn = self.law.bijection(z, self.embedded)[0]
        v = self.told.moved(drawn, torch.cat([known, self.score], 1))
        log_w = -self._log_q(v)
        v = v[:, : y.shape[1]]
        log_lifted = torch.where(self.known, log_q, 0.0).sum(1)
        if self.scored:
            v, log_slope, log_followed = self._followed(v, y)
            log_lifted = log_lifted + log_followed
        impossible = log_lifted == torch.inf
        log_w = log_w + log_slope - torch.where(impossible, 0.0, log_lifted)
        v, log_slope = self._off_gaps(v)
        log_w = log_w + log_slope + self.target.log_prob(v, self.context)
        if (log_w.isnan() | (log_w == torch.inf)).any():
            raise NumericalError(
                "the density of a candidate is not a number: the flow is damaged, train it again"
            )
        impossible |= self._has_gap(v)
        return State(z, y, log_q, v, log_w.double().masked_fill(impossible, -torch.inf))

    def _followed(self, v: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points v (n, D + M) with what follows from their free elements.

        Further, the log-slope of what is known and of what follows, and log q of the latter.
        """
        follows = self.following[:, : self.x.shape[1]]
        x = torch.where(follows, self.x, self.lowered(v))
        fresh, log_q = lifted(self.flow, x, self.generator)
        known, log_slope = self.outer.inverse(torch.where(self.following, fresh, y))
        log_q = torch.where(self.following, log_q, 0.0).sum(1)
        return torch.where(self.following, known, v), log_slope, log_q

    def _scores(self, v: Tensor) -> Tensor:
        """Scores (B, K) of the values in samples v that others follow from; they fit the scale."""
        if not self.scored:
            return v[:, :0]
        values = self.lowered(v)[:, self.scored]
        self.scores = Scores(values)
        return self.scores.of(values)

    def lowered(self, v: Tensor) -> Tensor:
        """The data (n, D) at points v."""
        y = self.outer(v)[0]
        return self.lower(y) if self.lower else y

    def _gap_places(self, free: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Which elements (n, D + M) are free and must be no gap, and the ends of gaps there."""
        barred, ends = torch.zeros_like(self.known), []
        if self.gaps is None:
            return barred, self.middle, self.middle
        features = free.shape[1]
        barred[:, :features] = free & ~self.gaps.isnan()
        for end, beyond in ((self.gaps, -torch.inf), (self.gaps + 1, torch.inf)):
            y = self.middle.clone()
            y[:, :features] = torch.where(end.isnan(), y[:, :features], end)
            v = self.outer.inverse(y)[0]
            ends.append(torch.where(v.isfinite(), v, beyond))
        return barred, ends[0], ends[1]

    def _off_gaps(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Points in which no free category is a gap, and the log-slope of the map to them (n,).

        With F the column's normal distribution function, and a gap between a and b, a point goes
        to F^-1(u) with u = F(v) (1 - F(b) + F(a)), beyond a to F^-1(u + F(b) - F(a)): a category
        of which nearly all values are missing is found all the same.
        """
        if not self.barred.any():
            return v, torch.zeros_like(v[:, 0])
        features = v.shape[1]
        mean, spread = self.mean[:, :features].double(), self.spread[:features]
        z, low, high = ((each.double() - mean) / spread for each in (v, *self.gap_ends))
        below, within = torch.special.ndtr(low), torch.special.ndtr(high) - torch.special.ndtr(low)
        share = torch.special.ndtr(z) * (1 - within)
        share = torch.where(share < below, share, share + within)
        moved = torch.special.ndtri(share.clamp(1e-300, 1 - 1e-16))
        slope = torch.log1p(-within) + (moved.square() - z.square()) / 2
        log_slope = torch.where(self.barred, slope, 0.0).sum(1)
        return torch.where(self.barred, (mean + spread * moved).to(v), v), log_slope.to(v)

    def _log_q(self, v: Tensor) -> Tensor:
        """Log q(v_free | v_given), up to a constant of the row; what follows is not drawn."""
        if not self.scored:
            away = torch.where(self.known, v - self.mean, 0.0)
            return self.law.log_prob(v, self.embedded) + 0.5 * self.told.distance(away)
        away = v - self.mean
        return 0.5 * (self.told.distance(away) - self.drawn.distance(away))

    def _has_gap(self, v: Tensor) -> Tensor:
        """Mask (n,) of the rows with a category that stands for a gap where there may be none."""
        if self.gaps is None or self.gaps.isnan().all():
            return torch.zeros(len(v), dtype=torch.bool, device=v.device)
        return (self.lowered(v) == self.gaps).any(1)
