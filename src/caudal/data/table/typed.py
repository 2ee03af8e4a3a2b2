"""Numbers as values of the user's arrow types."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.types as pat

from caudal.data import dtypes


def coded(categories: Sequence[Any], codes: np.ndarray, dtype: pa.DictionaryType) -> pa.Array:
    """Codes (N,) as categories of a type that lists them in order; a missing one is null."""
    levels = pa.array([c for c in categories if c is not None], dtypes.value_type(dtype))
    indices = pa.array(codes, mask=codes >= len(levels)).cast(dtype.index_type)
    return pa.DictionaryArray.from_arrays(
        indices, levels.cast(dtype.value_type), ordered=dtype.ordered
    )


def few_digits(values: np.ndarray) -> np.ndarray:
    """Values that are float32 become the float64 of fewest digits: 0.1, not 0.10000000149."""
    single = values.astype(np.float32)
    shortest = pa.array(single).cast(pa.string()).cast(pa.float64()).to_numpy()
    # Large whole numbers keep all of their digits, of which float32 prints too few.
    return np.where((single == values) & (np.abs(values) < 2**24), shortest, values)


def smallest(dtype: pa.DataType) -> float:
    """The smallest number above 0 that both the type and float32 can hold."""
    if pat.is_integer(dtype):
        return 1.0
    if pat.is_decimal(dtype):
        return 10.0**-dtype.scale
    return max(float(np.finfo(dtypes.float_type(dtype)).tiny), float(np.finfo(np.float32).tiny))


def to_type(values: np.ndarray, dtype: pa.DataType, gaps: np.ndarray) -> pa.Array:
    """Numbers (N,) as an array of a type, null where `gaps` says so."""
    plain = dtypes.value_type(dtype)
    if pat.is_integer(plain):
        return dtypes.restore(pa.array(_to_integers(values, plain), mask=gaps), dtype)
    if pat.is_boolean(plain):
        return dtypes.restore(pa.array(np.round(values) > 0, mask=gaps), dtype)
    if dtypes.is_text(plain):  # a text column declared numeric: shortest digits that round-trip
        return dtypes.restore(pa.array([f"{v:.10g}" for v in values], mask=gaps), dtype)
    if pat.is_decimal(dtype):
        most = 10.0 ** (dtype.precision - dtype.scale)
        most = min(most - 10.0**-dtype.scale, float(np.nextafter(most, 0.0)))
        values = np.clip(values, -most, most)
        texts = [f"{v:.{max(dtype.scale, 0)}f}" for v in values]
        return pa.array(texts, mask=gaps).cast(dtype)
    most = float(np.finfo(dtypes.float_type(dtype)).max)
    return dtypes.restore(pa.array(np.clip(values, -most, most), mask=gaps), dtype)


def _to_integers(values: np.ndarray, dtype: pa.DataType) -> np.ndarray:
    info = np.iinfo(dtype.to_pandas_dtype())
    # float(2**63 - 1) rounds up to 2**63, which does not fit: step one float back.
    high = float(info.max)
    high = np.nextafter(high, 0.0) if int(high) > info.max else high
    return np.clip(np.round(values), float(info.min), high).astype(info.dtype)
