"""What a column of dates, times of day or durations looks like: its unit, step and ends."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from caudal.data import dtypes, temporal
from caudal.data.schema import Column
from caudal.data.table.cells import Form, kind_of, write_dates
from caudal.data.table.dates import arrow_type
from caudal.data.table.declare import LATTICE_LIMIT, as_word
from caudal.data.table.lattice import likely
from caudal.data.table.numbers import are_codes
from caudal.data.table.stats import Stats
from caudal.errors import InputError

_AT_MIDNIGHT = 0.01  # share of the times in the first hour of the day, and in the last


def datetime_column(
    name: str, dtype: pa.DataType, stats: Stats, form: Form | None, gaps: bool
) -> Column:
    """The column for values of which the survey has seen the microseconds.

    It is counted in the largest unit of which all values are whole, from its first value on; if
    32 bits cannot tell the steps apart it is continuous, and samples are rounded to the unit.
    """
    if pa.types.is_dictionary(dtype):
        dtype = dtype.value_type
    kind = arrow_type(form.format) if form else dtype
    few = are_codes(stats)
    unit, step, first = _lattice(stats, kind, few)
    low, high = temporal.to_units(np.array([stats.low, stats.high]), unit)
    is_lattice = high - low <= step * LATTICE_LIMIT
    ends: tuple[float | None, float | None] = (None, None)
    offset = low
    if few and is_lattice:
        ends = (0.0, float(high - low))
    elif pa.types.is_time(kind):
        day = temporal.UNITS["day"] / temporal.UNITS[unit]
        last = np.floor((day - 1 - first) / step) * step if is_lattice else day
        ends, offset = (0.0, float(last)), first
    elif pa.types.is_duration(kind) and low >= 0:
        ends, offset = (0.0, None), first
    return Column(
        name,
        "datetime",
        *ends,
        float(step) if is_lattice else None,
        missing=gaps,
        dtype=str(dtype),
        offset=float(offset),
        unit=unit,
        format=form.format if form else None,
    )


def around_the_day(column: Column, stats: Stats) -> Column:
    """A column of times of day as a circle, whose ends are midnight.

    Raises:
        InputError: the column has dates or durations.
    """
    if not pa.types.is_time(kind_of(column)):
        raise InputError(
            f"{stats.file}, column '{column.name}': dates and durations do not go around: only "
            f"times of day can be circular without ends"
        )
    day = temporal.UNITS["day"] / temporal.UNITS[str(column.unit)]
    step, offset = column.step, column.offset
    if step and day % step:  # a lattice that does not close
        step, offset = 1.0, 0.0
    first = offset % step if step else 0.0
    around = replace(column, kind="circular", low=0.0, high=day - (step or 0.0))
    return replace(around, step=step, offset=first)


def around_midnight(column: Column, stats: Stats) -> list[str]:
    """A note on times of day at both ends of the day, where the density has a seam."""
    if column.unit is None or column.period or not pa.types.is_time(kind_of(column)):
        return []
    hours = stats.sample / temporal.UNITS["hour"]
    if min((hours < 1).mean(), (hours >= 23).mean()) < _AT_MIDNIGHT:
        return []
    return [
        f"'{column.name}' has times of day before and after midnight: `types` "
        f"{as_word(column.name, 'circular')} makes midnight one point, around which times go on"
    ]


def _lattice(stats: Stats, kind: pa.DataType, few: bool) -> tuple[str, float, float]:
    """The unit; the step, and the first lattice point from 0 on, in units.

    A few values that occur again and again have the step that they have in common; else it must
    be unlikely by chance.
    """
    us = np.unique([*stats.sample, stats.low, stats.high])
    is_day = pa.types.is_timestamp(kind) or pa.types.is_date(kind)
    if is_day and temporal.are_months(us):
        months = temporal.to_units(us, "month").astype(int)
        divisor = int(np.gcd.reduce(np.diff(months)))
        step = divisor if few else likely(divisor, len(months))
        return "month", float(step), float(months[0] % step)
    first, divisor = stats.lattice.first or 0, stats.lattice.divisor
    unit = temporal.unit_of(first, divisor)
    size = temporal.UNITS[unit]
    step = divisor // size if few else likely(divisor // size, len(us))
    return unit, float(step), float(first // size % step)


def words(stats: Stats, dtype: pa.DataType, form: Form | None) -> tuple[str, str, str]:
    """The lowest value, the median and the highest, as people write them."""
    kind = arrow_type(form.format) if form else dtypes.value_type(dtype)
    three = stats.low, float(np.median(stats.sample)), stats.high
    if form and pa.types.is_duration(kind):  # `7h 01m`, as the column has it
        low, median, high = write_dates(
            np.round(three), form.format, np.zeros(3, bool)
        ).to_pylist()
    else:
        low, median, high = (temporal.words(us, kind) for us in three)
    return low, median, high
