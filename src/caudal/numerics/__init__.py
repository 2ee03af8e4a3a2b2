"""Equations without a closed form, and determinants too large to compute: solved and estimated."""

from caudal.numerics.bisection import bisect
from caudal.numerics.drawing import drawing, generator_in_use
from caudal.numerics.fixed_point import Solution, fixed_point, solve
from caudal.numerics.log_det import Law, Roulette, Series, Truncated, estimate, exact, rademacher

__all__ = [
    "Law",
    "Roulette",
    "Series",
    "Solution",
    "Truncated",
    "bisect",
    "drawing",
    "estimate",
    "exact",
    "fixed_point",
    "generator_in_use",
    "rademacher",
    "solve",
]
