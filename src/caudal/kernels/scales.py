"""How compiled maps are compiled, and the log-scales they share: `caudal.elementwise.affine`'s."""

import math
from functools import partial

from numba import njit as compiled

njit = partial(compiled, error_model="numpy")


@njit()
def shift_of(floor):
    """What makes a floored log-scale zero at zero; 0 without a floor."""
    return math.log(-math.expm1(floor)) if floor < 0 else 0.0


@njit()
def log_scale_of(raw, bound, floor, shift):
    """Bounded, or with a floor below 0 kept above it."""
    if floor < 0:
        raw = raw - floor + shift
        return floor + max(raw, 0.0) + math.log1p(math.exp(-abs(raw)))
    return raw / (1 + abs(raw) / bound)
