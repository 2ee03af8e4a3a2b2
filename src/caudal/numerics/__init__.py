"""Equations without a closed form are solved, and determinants too large to compute estimated."""

from caudal.numerics.equations import Solution, bisect, fixed_point, solve
from caudal.numerics.log_det import (
    Law,
    Push,
    Roulette,
    Series,
    Truncated,
    Weight,
    drawing,
    estimate,
    exact,
    generator_in_use,
    log_dets_wanted,
    rademacher,
    values_alone,
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
