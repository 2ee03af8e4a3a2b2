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
    drawing_part,
    estimate,
    exact,
    generator_in_use,
    log_dets_wanted,
    rademacher,
    values_alone,
)
from caudal.numerics.noise import Repeats, RowGenerator, RowNoise, bound, normal, signs, uniform

__all__ = [
    "Law",
    "Push",
    "Repeats",
    "Roulette",
    "RowGenerator",
    "RowNoise",
    "Series",
    "Solution",
    "Truncated",
    "Weight",
    "bisect",
    "bound",
    "drawing",
    "drawing_part",
    "estimate",
    "exact",
    "fixed_point",
    "generator_in_use",
    "log_dets_wanted",
    "normal",
    "rademacher",
    "signs",
    "solve",
    "uniform",
    "values_alone",
]
