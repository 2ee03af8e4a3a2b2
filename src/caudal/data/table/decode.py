"""From numbers back to the user's columns, with their names, order, types and support."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.types as pat
from torch import Tensor

from caudal.data import dtypes
from caudal.data.column import Column
from caudal.errors import NumericalError


def decode_columns(columns: Sequence[Column], x: Tensor) -> pa.Table:
    """Turns x (N, D) into a table of D columns, each value inside its column's support.

    Raises:
        ValueError: x does not have D columns.
        NumericalError: a value is infinite, or NaN in a column without missing values.
    """
    if x.ndim != 2 or x.shape[1] != len(columns):
        raise ValueError(f"expected x of shape (N, {len(columns)}), got {tuple(x.shape)}")
    values = x.detach().cpu().double().numpy()
    arrays = [decode_column(c, v) for c, v in zip(columns, values.T, strict=True)]
    return pa.table(arrays, names=[column.name for column in columns])


def decode_column(column: Column, values: np.ndarray) -> pa.Array:
    """Turns float64 (N,) into the column's own type."""
    gaps = np.isnan(values)
    if np.isinf(values).any() or (gaps.any() and not column.missing):
        raise NumericalError(f"column '{column.name}': a sampled value is not finite")
    dtype = dtypes.parse(column.dtype)
    values = np.where(gaps, column.origin, values)
    if pat.is_floating(dtypes.value_type(dtype)):
        values = _few_digits(values)
    values = into_support(column, values)
    if column.categories is not None:
        levels = pa.array(column.categories, dtypes.value_type(dtype))
        chosen = levels.take(pa.array(values.astype(np.int64)))
        if not pat.is_decimal(dtype):
            return dtypes.restore(chosen, dtype)
        values, gaps = chosen.to_numpy(zero_copy_only=False), chosen.is_null().to_numpy(False)
    return _to_type(values, dtype, gaps)


def _few_digits(values: np.ndarray) -> np.ndarray:
    """Values that are float32 become the float64 of fewest digits: 0.1, not 0.10000000149."""
    single = values.astype(np.float32)
    shortest = pa.array(single).cast(pa.string()).cast(pa.float64()).to_numpy()
    # Large whole numbers keep all of their digits, of which float32 prints too few.
    return np.where((single == values) & (np.abs(values) < 2**24), shortest, values)


def into_support(column: Column, values: np.ndarray) -> np.ndarray:
    """Moves each value to the nearest one that the column can hold."""
    low, high = column.low, column.high
    if column.step is not None:
        points = column.origin + np.round((values - column.origin) / column.step) * column.step
        values = np.round(points, 10)  # 3 * 0.1 is 0.3, not 0.30000000000000004
    elif column.kind == "positive":
        low = _smallest(dtypes.parse(column.dtype))
    elif pat.is_integer(dtypes.parse(column.dtype)):
        values = np.round(values)
        low = None if low is None else float(np.ceil(low))
        high = None if high is None else float(np.floor(high))
    return values if low is None and high is None else np.clip(values, low, high)


def _smallest(dtype: pa.DataType) -> float:
    """The smallest number above 0 that both the type and float32 can hold."""
    if pat.is_integer(dtype):
        return 1.0
    if pat.is_decimal(dtype):
        return 10.0**-dtype.scale
    return max(float(np.finfo(dtypes.float_type(dtype)).tiny), float(np.finfo(np.float32).tiny))


def _to_type(values: np.ndarray, dtype: pa.DataType, gaps: np.ndarray) -> pa.Array:
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
