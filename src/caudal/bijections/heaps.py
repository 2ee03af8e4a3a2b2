"""Lattices whose values heap up at some places of a period, made even."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Heaps(nn.Module):
    """Gives each step of a lattice as much of the line as values lie there, period by period.

    Let the period of a column have m steps, and let p_j be the share of the values in step j. A
    value x = o + s (n m + j + r), 0 <= r < 1, goes to

    y = o + s m (n + p_0 + .. + p_{j-1} + p_j r).

    So prices that end in 99, ages of which nearly all are whole, and dates that are no Sundays are
    even in y, as far as the shares are the same everywhere: log dy/dx = log(m p_j). Whole periods
    stay where they are.

    Args:
        shares: of the steps of a period, for each of the D columns; often none.
        step: (D,), s.
        low: (D,), the point o from which steps are counted; 0 where it is infinite.
    """

    step: Tensor
    origin: Tensor
    period: Tensor
    share: Tensor
    before: Tensor

    def __init__(self, shares: Sequence[Sequence[float]], step: Tensor, low: Tensor) -> None:
        super().__init__()
        self.columns = [i for i, own in enumerate(shares) if own]
        own = [torch.tensor(shares[i], dtype=step.dtype) for i in self.columns]
        most = max(map(len, own), default=0)
        share = torch.zeros(len(own), most, dtype=step.dtype)
        for row, each in zip(share, own, strict=True):
            row[: len(each)] = each
        period = torch.tensor([float(len(each)) for each in own], dtype=step.dtype)
        chosen = low[self.columns]
        statistics = {
            "step": step[self.columns],
            "origin": chosen.where(chosen.isfinite(), 0.0),
            "period": period,
            "share": share,
            "before": share.cumsum(1) - share,
        }
        for name, value in statistics.items():
            self.register_buffer(name, value, persistent=False)

    def extra_repr(self) -> str:
        return f"{len(self.columns)} columns"

    def spread(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Places y (B, D) of values x, and log dy/dx (B, D); NaN stays, with 0."""
        log_slope = torch.zeros_like(x)
        if not self.columns:
            return x, log_slope
        steps = (x[:, self.columns] - self.origin) / self.step
        whole = (steps / self.period).floor()
        within = (steps - whole * self.period).clamp(min=0.0)
        place = torch.minimum(within.floor(), self.period - 1)
        index = place.nan_to_num(0.0).long()
        share, before = (self._of(each, index) for each in (self.share, self.before))
        periods = whole + before + share * (within - place)
        y = x.clone()
        y[:, self.columns] = self.origin + self.step * self.period * periods
        slopes = (self.period * share).log().to(x)
        log_slope[:, self.columns] = slopes.where(~steps.isnan(), 0.0)
        return y, log_slope

    def gather(self, y: Tensor) -> Tensor:
        """The middles of the steps (B, D) of the lattice in whose places y are."""
        if not self.columns:
            return y
        periods = (y[:, self.columns] - self.origin) / (self.step * self.period)
        whole = periods.floor()
        ends, part = self.before + self.share, (periods - whole).to(self.share)
        place = torch.searchsorted(ends, part.T.contiguous(), right=True).T
        place = torch.minimum(place.to(self.period), self.period - 1)
        x = y.clone()
        steps = whole * self.period + place + 0.5
        x[:, self.columns] = self.origin + self.step * steps
        return x

    def ends(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """Where the ends (D,) of columns are in y; `low` is where steps are counted from."""
        there = high.where(high.isfinite(), 0.0)
        return low, self.spread(there[None])[0][0].where(high.isfinite(), high)

    @staticmethod
    def _of(table: Tensor, index: Tensor) -> Tensor:
        """Entries (B, C) of a table (C, M)."""
        return table.expand(len(index), -1, -1).gather(2, index.unsqueeze(2))[:, :, 0]
