"""The values of a column, in order, with how much each of them counts."""

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Values:
    """Values x_1 <= ... <= x_N with weights w_i > 0 that sum to the effective number of values.

    That is Kish's n = (sum w)^2 / sum w^2: weights that are all alike count as none, and a value
    of weight 0 as one that is not there. Where all weights are alike every number here is that of
    the values alone, to the last digit.
    Reference: Kish, Survey sampling, 1965.

    Attributes:
        x: the values (N,), ascending.
        weights: of them (N,); None where all are alike.
    """

    x: np.ndarray
    weights: np.ndarray | None = None

    @classmethod
    def of(cls, x: np.ndarray, weights: np.ndarray | None = None) -> Self:
        """Numbers (N,) in any order, without the NaN and those of weight 0."""
        kept = ~np.isnan(x) if weights is None else ~np.isnan(x) & (weights > 0)
        x = x[kept]
        if weights is None or len(x) == 0:
            return cls(np.sort(x))
        weights = weights[kept]
        if (weights == weights[0]).all():
            return cls(np.sort(x))
        order = np.argsort(x, kind="stable")
        weights = weights[order]
        return cls(x[order], weights * (weights.sum() / np.square(weights).sum()))

    def take(self, which: np.ndarray) -> Self:
        """Some of the values, by a mask (N,) or by ascending places."""
        return type(self).of(self.x[which], None if self.weights is None else self.weights[which])

    @property
    def n(self) -> float:
        """How many values there are, or how many equal weights would tell as much."""
        return float(self._up_to[-1])

    @property
    def each(self) -> np.ndarray:
        """The weights (N,), which are 1 where all are alike."""
        return np.ones(len(self.x)) if self.weights is None else self.weights

    @cached_property
    def _up_to(self) -> np.ndarray:
        """The sums of the first 0, 1, ..., N weights."""
        if self.weights is None:
            return np.arange(len(self.x) + 1.0)
        return np.append(0.0, np.cumsum(self.weights))

    def below(self, ends: np.ndarray) -> np.ndarray:
        """How many values are below each of some ends."""
        return np.asarray(self._up_to[np.searchsorted(self.x, ends, "left")])

    def mean(self) -> float:
        """The weighted mean."""
        return float(np.average(self.x, weights=self.weights))

    def std(self) -> float:
        """The weighted standard deviation."""
        if self.weights is None:
            return float(self.x.std())
        return float(np.sqrt(np.average(np.square(self.x - self.mean()), weights=self.weights)))

    def quantile(self, levels: np.ndarray) -> np.ndarray:
        """The quantiles of some levels, linear between the middles of the weights."""
        if self.weights is None:
            return np.asarray(np.quantile(self.x, levels))
        middles = self._up_to[1:] - self.weights / 2
        span = middles[-1] - middles[0]
        places = (middles - middles[0]) / (span if span > 0 else 1.0)
        return np.asarray(np.interp(levels, places, self.x))
