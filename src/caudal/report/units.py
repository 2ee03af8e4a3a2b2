"""Means of log-probabilities, in the unit of a kind of data."""

import math
from dataclasses import dataclass

from torch import Tensor

from caudal.base import FREE
from caudal.data.schema import Unit
from caudal.flow import Flow
from caudal.report.numbers import mean_two_se, ratio_two_se


def units_of(flow: Flow, unit: Unit, scores: Tensor) -> "Units":
    """The unit in which the scores (N, 6) of `caudal.report.scoring` are told."""
    fixed = FREE not in flow.base.event_shape
    return Units(unit, int(scores[0, 4]) if fixed else None)


@dataclass(frozen=True)
class Units:
    """Means of log-probabilities in nats, in a unit; `elements` of an item, None if they vary."""

    unit: Unit
    elements: int | None

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where fewer is."""
        return -1 if self.unit.bits else 1

    @property
    def nats(self) -> float:
        """How many nats of an item, or of an element where items vary, make one unit."""
        return (self.elements or 1) * math.log(2) if self.unit.bits else 1.0

    def mean(self, nats: Tensor, elements: Tensor) -> tuple[float, float]:
        """The mean score, and two standard errors of it, over items (N,)."""
        if self.elements is None:
            return ratio_two_se(nats / (self.sign * self.nats), elements)
        mean, two_se = mean_two_se(nats)
        return self.sign * mean / self.nats, two_se / self.nats

    def gain(self, ours: Tensor, theirs: Tensor, elements: Tensor) -> tuple[float, float]:
        """By how much `ours` is better than `theirs`, and two standard errors of it."""
        if self.elements is None:
            return ratio_two_se(ours / self.nats - theirs / self.nats, elements)
        return mean_two_se((ours - theirs) / self.nats)
