"""Equations without a closed form, and determinants too large to compute: solved and estimated."""

from caudal.numerics.bisection import bisect
from caudal.numerics.drawing import drawing, generator_in_use, log_dets_wanted, values_alone
from caudal.numerics.fixed_point import Solution, fixed_point
from caudal.numerics.implicit import solve
from caudal.numerics.log_det import (
    Law,
    Push,
    Roulette,
    Series,
    Truncated,
    Weight,
    estimate,
    exact,
    rademacher,
)

__all__ = [
    "Law",
    "Push",
    "Roulette",
    "Series",
    "Solution",
    "Truncated",
    "Weight",
    "bisect",
    "drawing",
    "estimate",
    "exact",
    "fixed_point",
    "generator_in_use",
    "log_dets_wanted",
    "rademacher",
    "solve",
    "values_alone",
]
