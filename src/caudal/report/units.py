"""Means of log-probabilities, in the unit of a kind of data."""

import math
from dataclasses import dataclass

from torch import Tensor

from caudal.base import FREE
from caudal.data.schema import Unit
from caudal.flow import Flow
from caudal.report.numbers import mean_two_se, ratio_two_se


def units_of(flow: Flow, unit: Unit, scores: Tensor) -> "Units":
    """The unit in which the scores (N, 7) of `caudal.report.scoring` are told."""
    fixed, weighted = FREE not in flow.base.event_shape, bool((scores[:, 6] != 1).any())
    return Units(unit, int(scores[0, 4]) if fixed else None, weighted)


@dataclass(frozen=True)
class Units:
    """Means of log-probabilities in nats, in a unit.

    Attributes:
        unit: of the means.
        elements: of an item; None if they vary.
        weighted: whether items do not all count the same.
    """

    unit: Unit
    elements: int | None
    weighted: bool = False

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where fewer is."""
        return -1 if self.unit.bits else 1

    @property
    def nats(self) -> float:
        """How many nats of an item, or of an element where items vary, make one unit."""
        return (self.elements or 1) * math.log(2) if self.unit.bits else 1.0

    def mean(self, nats: Tensor, scores: Tensor) -> tuple[float, float]:
        """The mean of numbers of items (N,), and two standard errors of it.

        The scores (N, 7) of the items tell their elements and how much each of them counts.
        """
        if self.elements is None:
            return ratio_two_se(nats / (self.sign * self.nats), scores[:, 4])
        mean, two_se = self.mean_of_items(nats, scores)
        return self.sign * mean / self.nats, two_se / self.nats

    def gain(self, ours: Tensor, theirs: Tensor, scores: Tensor) -> tuple[float, float]:
        """By how much `ours` is better than `theirs`, and two standard errors of it."""
        if self.elements is None:
            return ratio_two_se(ours / self.nats - theirs / self.nats, scores[:, 4])
        return self.mean_of_items((ours - theirs) / self.nats, scores)

    def mean_of_items(self, values: Tensor, scores: Tensor) -> tuple[float, float]:
        """The weighted mean of values of items, whatever their elements, and two of its s.e."""
        if not self.weighted:
            return mean_two_se(values)
        return ratio_two_se(values * scores[:, 6], scores[:, 6])
