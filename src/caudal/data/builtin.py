"""The data that comes with caudal: scikit-learn's digits and the 2-D shapes."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from caudal.data.shapes import ROWS, SHAPES

NAMES = ("digits", *SHAPES)


@dataclass(frozen=True)
class BuiltIn:
    """A table, the types of its columns, and those to model unless others are named."""

    table: pa.Table
    types: tuple[str, ...]
    columns: tuple[str, ...]


@cache
def built_in(name: str) -> BuiltIn:
    """The built-in data of one of `NAMES`, the same rows each time."""
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
