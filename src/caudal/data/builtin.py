"""The data that comes with caudal: scikit-learn's digits, the 2-D shapes, and names of sounds."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from caudal.data.shapes import ROWS, SHAPES
from caudal.errors import InputError

TABLES = ("digits", *SHAPES)
SOUNDS = ("vowels",)
NAMES = (*TABLES, *SOUNDS)


@dataclass(frozen=True)
class BuiltIn:
    """A table, the types of its columns, and those to model unless others are named."""

    table: pa.Table
    types: tuple[str, ...]
    columns: tuple[str, ...]


@cache
def built_in(name: str) -> BuiltIn:
    """The built-in data of one of `TABLES`, the same rows each time.

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
