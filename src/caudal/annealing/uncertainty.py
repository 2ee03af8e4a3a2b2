"""How uncertain log Z is after annealing: by the rows' ancestors, and by rows that lag behind."""

import math

import torch
from torch import Tensor

from caudal.weights import effective_share

_CLEAR = 2.0  # errors of a lag beyond which it is no chance
_MATTERS = 0.5  # of the standard error: a lag below that is within what is told
_LITTLE = 0.01  # nats: what lies where the start is 0 may be missed by that
_MOST_KEPT = 0.95  # correlation; nearer to 1, how slowly rows forget is not known


class Uncertainty:
    """What is uncertain about log Z, from n rows as they are weighed, resampled and moved.

    Rows with a common ancestor among those drawn first are one find, not several. If S_i is the
    share of the last weights that descendants of ancestor i have, the variance of log Z is about

        V = sum_i S_i^2 - 1 / n,

    but no less than the effective sizes of all steps say, as if rows forgot where they come from.

    The rows of a step also have to move to the places that the new temperature gives weight to.
    If moves change the mean of r = log p / q by d, and r of a row has a correlation c with what it
    was before them, a mean that relaxes as rows forget has d c / (1 - c) to go. The integral of
    that over beta is the lag: log Z would change by about as much, and often by more, if rows came
    to rest at each temperature.
    At the last temperature rows may move to where q, a flow with ends, is 0. If k of n do, log Z
    is too low by about log((n + 1) / (n + 1 - k)) more.
    Reference: Lee, Whiteley, Variance estimation in the particle filter, 2018, arXiv:1509.00394;
    d log Z / d beta = E r is thermodynamic integration.
    """

    def __init__(self, n: int) -> None:
        self._ancestor: Tensor | None = None
        self._n = n
        self._shares = self._least = self._missed = 0.0
        self._steps: list[tuple[float, float, float]] = []

    def weighed(self, log_w: Tensor, chosen: Tensor) -> None:
        """Rows have weights with logarithms (n,), by which those of these numbers were chosen."""
        ancestor = torch.arange(self._n, device=log_w.device)
        ancestor = ancestor if self._ancestor is None else self._ancestor
        shares = torch.zeros_like(log_w).index_add(0, ancestor, log_w.softmax(0))
        self._shares = float(shares.square().sum()) - 1 / self._n
        self._least += (1 / effective_share(log_w) - 1) / self._n
        self._ancestor = ancestor[chosen]

    def moved(self, by: float, before: Tensor, after: Tensor) -> None:
        """At a temperature that is higher by so much, moves took r of each row from n to n."""
        outside = int((after == torch.inf).sum())
        self._missed = math.log((self._n + 1) / (self._n + 1 - outside))
        finite = after.isfinite()
        if finite.sum() < 2:
            self._steps.append((by, 0.0, 0.0))
            return
        before, after = before[finite], after[finite]
        change = after - before
        correlation = torch.corrcoef(torch.stack([before, after]))[0, 1]
        kept = float(correlation.nan_to_num(0.0).clamp(0.0, _MOST_KEPT))
        to_go = kept / (1 - kept)
        error = float(change.std()) / math.sqrt(len(change))
        self._steps.append((by, to_go * float(change.mean()), to_go * error))

    @property
    def by_ancestors(self) -> float:
        """The standard error of log Z in nats, without the lag."""
        return math.sqrt(max(self._shares, self._least, 0.0))

    @property
    def lag(self) -> tuple[float, float]:
        """The lag in nats, and its standard error."""
        widths = [by for by, _, _ in self._steps] + [0.0]
        halves = [0.5 * (one + other) for one, other in zip(widths, widths[1:], strict=False)]
        pairs = list(zip(halves, self._steps, strict=True))
        lag = sum(half * to_go for half, (_, to_go, _) in pairs)
        return lag, math.hypot(*(half * error for half, (_, _, error) in pairs))

    @property
    def bias(self) -> float:
        """By how many nats log Z is too low: the lag, and what lies where q is 0."""
        return self.lag[0] + self._missed

    @property
    def settled(self) -> bool:
        """Whether the lag is within chance, or small by the error, and little lies outside q."""
        lag, error = self.lag
        small = _MATTERS * self.by_ancestors
        return abs(lag) <= max(_CLEAR * error, small) and self._missed <= max(_LITTLE, small)
