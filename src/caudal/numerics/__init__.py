"""Equations without a closed form, and determinants too large to compute: solved and estimated."""

from caudal.numerics.bisection import bisect
from caudal.numerics.drawing import drawing, generator_in_use
from caudal.numerics.fixed_point import Solution, fixed_point, solve

__all__ = ["Solution", "bisect", "drawing", "fixed_point", "generator_in_use", "solve"]
