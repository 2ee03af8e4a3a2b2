"""Loops that are compiled by Numba, and the elementwise maps that they know."""

from collections.abc import Callable
from typing import Any

from caudal.numerics.compiled import loop

KINDS = ("shift", "affine", "spline", "logistics", "histogram", "scaled", "soft-spline")
"""The elementwise maps that compiled loops know, by their numbers in `caudal.nets.fast.maps`."""


def block_kernel() -> Callable[..., None] | None:
    """`loops.run_block`; None without Numba."""
    return loop("caudal.nets.fast.loops", "run_block")


def wavenet_kernel() -> Callable[..., None] | None:
    """`loops.run_steps`; None without Numba."""
    return loop("caudal.nets.fast.loops", "run_steps")


def map_of(scalar: Any) -> tuple[int, tuple[float, ...]]:
    """The number of a map and its four constants, as the loops take them."""
    return KINDS.index(scalar.name), (*map(float, scalar.constants), *(0.0,) * 4)[:4]
