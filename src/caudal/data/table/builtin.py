"""The built-in tables: scikit-learn's digits, and clouds of points in the plane."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from caudal.data.names import SOUNDS, TABLES
from caudal.errors import InputError

ROWS = 1 << 16
Generator = np.random.Generator


@dataclass(frozen=True)
class BuiltIn:
    """A table, the types of its columns, and those to model unless others are named."""

    table: pa.Table
    types: tuple[str, ...]
    columns: tuple[str, ...]


@cache
def built_in(name: str) -> BuiltIn:
    """The built-in table of that name, one of `TABLES`, with the same rows each time.

    Raises:
        InputError: the name is that of sounds.
    """
    if name in SOUNDS:
        raise InputError(f"{name} are sounds, and no table: there are {' '.join(TABLES)}")
    return _digits() if name == "digits" else _shape(name)


def _digits() -> BuiltIn:
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = tuple(f"p{row}{column}" for row in range(8) for column in range(8))
    arrays = [*data.data.astype(np.uint8).T, data.target.astype(np.uint8)]
    table = pa.table([pa.array(np.ascontiguousarray(a)) for a in arrays], [*pixels, "digit"])
    types = tuple(f"{pixel}=integer[0,16]" for pixel in pixels)
    return BuiltIn(table, (*types, "digit=categorical"), pixels)


def _shape(name: str) -> BuiltIn:
    points = SHAPES[name](np.random.default_rng(0), ROWS).astype(np.float32)
    table = pa.table([pa.array(np.ascontiguousarray(c)) for c in points.T], ["x", "y"])
    return BuiltIn(table, ("x=real", "y=real"), ("x", "y"))


# --- shapes: each draws a cloud (n, 2), without a loop ---------------------------------------


def moons(rng: Generator, n: int) -> np.ndarray:
    """Two interleaved half circles."""
    lower = rng.integers(2, size=n)
    angle = np.pi * rng.random(n)
    sign = 1 - 2 * lower
    points = np.stack([sign * np.cos(angle) + lower, sign * np.sin(angle) + lower / 2], 1)
    return points + 0.08 * rng.standard_normal((n, 2))


def rings(rng: Generator, n: int) -> np.ndarray:
    """Four circles around one centre, each with its share of the points by length."""
    radius = rng.choice([1.0, 2.0, 3.0, 4.0], size=n, p=[0.1, 0.2, 0.3, 0.4])
    return radius[:, None] * _circle(rng.random(n)) + 0.1 * rng.standard_normal((n, 2))


def checkerboard(rng: Generator, n: int) -> np.ndarray:
    """The dark squares of a 4 by 4 board on [-4, 4]^2; the density is 1/32 on them."""
    column, half = rng.integers(4, size=n), rng.integers(2, size=n)
    row = 2 * half + column % 2
    return 2 * (np.stack([column, row], 1) + rng.random((n, 2))) - 4


def spirals(rng: Generator, n: int) -> np.ndarray:
    """Two arms that wind around each other."""
    turns = 1.5 * np.sqrt(rng.random(n))
    arm = 1 - 2 * rng.integers(2, size=(n, 1))
    return arm * 2 * turns[:, None] * _circle(turns) + 0.1 * rng.standard_normal((n, 2))


def eight_gaussians(rng: Generator, n: int) -> np.ndarray:
    """Eight round blobs on a circle."""
    return 4 * _circle(rng.integers(8, size=n) / 8) + 0.35 * rng.standard_normal((n, 2))


def pinwheel(rng: Generator, n: int) -> np.ndarray:
    """Five blobs, drawn out and bent by a rotation that grows with the radius."""
    radius = 2 + 0.6 * rng.standard_normal(n)
    across = 0.2 * rng.standard_normal(n)
    angle = rng.integers(5, size=n) / 5 + 0.25 * np.exp(radius - 2) / (2 * np.pi)
    along = _circle(angle)
    return radius[:, None] * along + across[:, None] * along[:, ::-1] * [-1, 1]


SHAPES: dict[str, Callable[[Generator, int], np.ndarray]] = {
    "moons": moons,
    "rings": rings,
    "checkerboard": checkerboard,
    "spirals": spirals,
    "eight-gaussians": eight_gaussians,
    "pinwheel": pinwheel,
}


def _circle(turns: np.ndarray) -> np.ndarray:
    angle = 2 * np.pi * turns
    return np.stack([np.cos(angle), np.sin(angle)], 1)
