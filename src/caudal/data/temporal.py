"""Dates, times and durations as numbers: microseconds, and whole units of them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pat

UNITS = {
    "day": 86_400_000_000,
    "hour": 3_600_000_000,
    "minute": 60_000_000,
    "second": 1_000_000,
    "millisecond": 1_000,
    "microsecond": 1,
}
"""What a datetime may be counted in, in microseconds; or in months, whose length varies."""
_DAY = UNITS["day"]
_NANOSECONDS = 2**63 // 1000 - 1  # the largest timestamp in nanoseconds, in microseconds


def is_modelled(dtype: pa.DataType) -> bool:
    """Whether values are dates, times of day, timestamps or durations."""
    return (
        pat.is_date(dtype)
        or pat.is_time(dtype)
        or pat.is_timestamp(dtype)
        or pat.is_duration(dtype)
    )


def to_microseconds(data: pa.ChunkedArray) -> np.ndarray:
    """Values as float64 (N,): microseconds since 1970 in UTC, since midnight, or of a duration.

    A missing value is NaN. What is finer than a microsecond is cut off.
    """
    dtype = data.type
    if pat.is_date(dtype):
        data = data.cast(pa.timestamp("us"))
    elif pat.is_timestamp(dtype):
        data = data.cast(pa.timestamp("us", dtype.tz), safe=False)
    elif pat.is_time(dtype):
        data = data.cast(pa.time64("us"), safe=False)
    else:
        data = data.cast(pa.duration("us"), safe=False)
    numbers = data.cast(pa.int64()).cast(pa.float64(), safe=False)
    return pc.fill_null(numbers, float("nan")).to_numpy()


def of_microseconds(us: np.ndarray, dtype: pa.DataType, gaps: np.ndarray) -> pa.Array:
    """Whole microseconds (N,) as an array of a temporal type, null where `gaps` says so."""
    whole = us.astype(np.int64)
    if pat.is_time(dtype):
        return pa.array(whole % _DAY, mask=gaps).cast(pa.time64("us")).cast(dtype, safe=False)
    if getattr(dtype, "unit", "") == "ns":
        whole = np.clip(whole, -_NANOSECONDS, _NANOSECONDS)
    numbers = pa.array(whole, mask=gaps)
    if pat.is_duration(dtype):
        return numbers.cast(pa.duration("us")).cast(dtype, safe=False)
    zone = dtype.tz if pat.is_timestamp(dtype) else None
    return numbers.cast(pa.timestamp("us", zone)).cast(dtype, safe=False)


def to_units(us: np.ndarray, unit: str) -> np.ndarray:
    """Microseconds (N,) in units; a moment within a month is a share of the month."""
    if unit != "month":
        return us / UNITS[unit]
    gaps = np.isnan(us)
    moments = np.where(gaps, 0, us).astype("M8[us]")
    months = moments.astype("M8[M]")
    start, end = (m.astype("M8[us]").astype(float) for m in (months, months + 1))
    within = (moments.astype(float) - start) / (end - start)
    return np.where(gaps, np.nan, months.astype(float) + within)


def from_units(numbers: np.ndarray, unit: str) -> np.ndarray:
    """Numbers (N,) of units as whole microseconds; months are rounded to whole ones."""
    if unit == "month":
        return np.round(numbers).astype("M8[M]").astype("M8[us]").astype(float)
    return np.round(numbers * UNITS[unit])


def unit_of(first: int, divisor: int) -> str:
    """The largest unit of which `first` and all distances, multiples of `divisor`, are whole."""
    fits = [n for n, us in UNITS.items() if first % us == 0 and divisor % us == 0]
    return fits[0]


def are_months(us: np.ndarray) -> bool:
    """Whether all moments (N,) begin a month."""
    moments = us.astype("M8[us]")
    return bool((moments.astype("M8[M]").astype("M8[us]") == moments).all())


def words(us: float, dtype: pa.DataType) -> str:
    """A value as people write it: `2024-03-01`, `2024-03-01 08:30:00`, `3 days 02:00:00`."""
    days, left = divmod(int(us), _DAY)
    clock = _clock(left)
    if pat.is_time(dtype):
        return clock
    if pat.is_duration(dtype):
        return f"{days} days {clock}"
    day = str(np.int64(days).astype("M8[D]"))
    return day if left == 0 else f"{day} {clock}"


def _clock(us: int) -> str:
    seconds, fraction = divmod(us, UNITS["second"])
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:06d}".rstrip("0") if fraction else text


def as_text(data: pa.ChunkedArray) -> pa.ChunkedArray:
    """Temporal values as text, without the times of day and the fractions that none needs."""
    us = to_microseconds(data)
    gaps = np.isnan(us)
    numbers = np.where(gaps, 0, us)
    different, places = np.unique(numbers, return_inverse=True)
    texts = [words(number, data.type) for number in different]
    written = [texts[place] for place in places]
    if pat.is_timestamp(data.type) and (numbers[~gaps] % _DAY).any():
        written = [text if " " in text else f"{text} 00:00:00" for text in written]
    zone = "Z" if getattr(data.type, "tz", None) else ""
    column = pa.array([text + zone for text in written], mask=gaps)
    return pa.chunked_array([column], pa.string())
