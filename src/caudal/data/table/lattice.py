"""The lattice that the numbers of a column lie on, found value by value."""

import math
from dataclasses import dataclass

import numpy as np

MAX_DECIMALS = 4
BY_CHANCE = 1e-3  # how likely random whole numbers may have a larger step in common
_NOISE = 1e-9  # in units of the last decimal, that differences such as 0.3 - 0.1 leave behind
_MOST = 2.0**62  # in units of the last decimal, that 64 bits hold


@dataclass
class Lattice:
    """All values are multiples of 10^-decimals, and `first` + k `divisor` in units of that.

    Attributes:
        decimals: the fewest that all values have, None if they have more than `MAX_DECIMALS`.
        first: the first value seen, in units of 10^-decimals; None before.
        divisor: the greatest common divisor of the distances to it; 0 for a constant.
    """

    decimals: int | None = 0
    first: int | None = None
    divisor: int = 0

    def add(self, values: np.ndarray, resolution: float) -> None:
        """Takes in values (N,), at least one, of a type with this relative precision."""
        while self.decimals is not None and not _on_grid(values, self.decimals, resolution):
            self.decimals = self.decimals + 1 if self.decimals < MAX_DECIMALS else None
            self.first = None if self.first is None else 10 * self.first
            self.divisor *= 10
        if self.decimals is None:
            return
        scaled = np.rint(values * 10.0**self.decimals)
        if np.abs(scaled).max() >= _MOST:
            self.divisor = 1
            return
        whole = scaled.astype(np.int64)
        self.first = int(whole[0]) if self.first is None else self.first
        distances = np.abs(whole - self.first)
        self.divisor = math.gcd(self.divisor, int(np.gcd.reduce(distances)))

    def of(self, distinct: int) -> tuple[float, float] | None:
        """The step of `distinct` different values, and the first lattice point from 0 on."""
        if self.decimals is None:
            return None
        divisor = likely(self.divisor, distinct)
        unit = 10**self.decimals
        return divisor / unit, (self.first or 0) % divisor / unit


def likely(divisor: int, distinct: int) -> int:
    """The divisor of the distances of different whole numbers, or 1 where it may be chance.

    The distances of n random numbers have the divisor d in common with probability d^(1 - n).
    """
    by_chance = -math.log(max(divisor, 1)) * (distinct - 1)
    return divisor if by_chance < math.log(BY_CHANCE) else 1


def _on_grid(values: np.ndarray, decimals: int, resolution: float) -> bool:
    """Whether all values are multiples of 10^-decimals, to the precision of their type."""
    scaled = values * 10.0**decimals
    away = np.abs(scaled - np.rint(scaled))
    if decimals == 0:
        return bool((away == 0).all())
    error = 2 * resolution * np.abs(scaled)
    # Where a type hardly tells neighbouring grid points apart, every value looks like one.
    return bool((error < 0.02).all() and (away <= error + _NOISE).all())
