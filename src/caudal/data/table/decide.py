"""What is decided about columns that a flow cannot model as they are, and about gaps.

Each of these is a refusal where the user named the column, or asked for `strict`.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from caudal.data import dtypes, temporal
from caudal.data.schema import MAX_LEVELS
from caudal.data.table.convert import Place, gap_error, show
from caudal.data.table.passed import PassedOver
from caudal.data.table.stats import Stats
from caudal.data.table.survey import Survey
from caudal.errors import InputError

POLICIES = ("auto", "refuse", "drop", "model")
FEW_ROWS = 0.02  # share of the rows that may be left out for their gaps
MIXED = 0.2  # share of words among numbers up to which they stand for missing numbers
_ENOUGH_NUMBERS = 10  # different ones, so that they are no codes
_ENOUGH_ROWS = 20  # rows; so many numbers never count up from 0 or 1 by chance
_FAR, _YEARS = 100, (1500, 2200)  # where other numbers count from, and a year in each row
_SENTINEL = re.compile(r"-?9{3,6}")
_HARDLY = 0.05  # share of identifiers that repeat another one
_FEW_LEVELS = 10  # categories that even a few rows may have
_INDEX = re.compile(r"(unnamed[\W_]*\d*(_level_\d+)?|__index_level_\d+__|)", re.IGNORECASE)
_IDENTIFIER = re.compile(
    r"(?:.*[\W_])?(?:[iI]d|ID|u?uid|UU?ID|guid|GUID|index|key)|.*[a-z](?:Id|ID)"
)


# --- columns that are passed over ----------------------------------------------------------------


def of_no_use(name: str, dtype: pa.DataType, stats: Stats | None = None) -> PassedOver | None:
    """Why a column is not modelled unless the user says what it is; None for any other.

    Without `stats` its type alone is judged.
    """
    if stats is None:
        if (reason := dtypes.refusal(dtype)) is None:
            return None
        named = str(dtype) if dtypes.has_name(dtype) else "null"
        return PassedOver(name, named, reason.partition(":")[0])
    if not stats.count:
        return PassedOver(name, str(dtype), "has no values")
    # A constant that is often missing is modelled, for its gaps.
    seldom = stats.missing <= max(1, FEW_ROWS * stats.rows)
    if stats.levels is not None and len(stats.levels) == 1 and seldom:
        return constant(name, dtype, stats)
    plain = dtypes.value_type(dtype)
    if dtypes.is_number(plain):
        return _running(name, dtype, stats)
    if temporal.is_modelled(plain):
        return None
    levels = stats.n_levels
    crowded = levels is None or (levels > _FEW_LEVELS and levels > stats.count / 2)
    different = stats.all_different and stats.count > 1
    return too_many(name, dtype, stats) if crowded or different else None


def constant(name: str, dtype: pa.DataType, stats: Stats) -> PassedOver:
    """A column of one value."""
    only, plain = next(iter(stats.levels or (stats.low,))), dtypes.value_type(dtype)
    is_date = temporal.is_modelled(plain)
    value = int(only) if pa.types.is_integer(plain) or is_date else only
    shown = f"{only:g}" if isinstance(only, float) else show(only)
    shown = temporal.words(only, plain) if is_date else shown
    return PassedOver(name, str(dtype), f"is constant ({shown} in every row)", value)


def too_many(name: str, dtype: pa.DataType, stats: Stats) -> PassedOver:
    """A column of texts that are too many for the rows: names, identifiers, free text."""
    many = f"more than {MAX_LEVELS}" if stats.n_levels is None else f"{stats.n_levels}"
    example = f" (such as {show(stats.first_word[1])})" if stats.first_word else ""
    why = f"has {many} different values{example} and looks like an identifier or free text"
    return PassedOver(name, str(dtype), why)


def _running(name: str, dtype: pa.DataType, stats: Stats) -> PassedOver | None:
    """Whole numbers that count the rows, or that their name calls identifiers."""
    if stats.decimals != 0:
        return None
    following = int(stats.high) + 1
    is_year = stats.low >= _YEARS[0] and stats.high <= _YEARS[1]
    begins = stats.low in (0, 1) or (stats.low >= _FAR and not is_year)
    counts = stats.counting and not stats.missing and begins
    if counts and (_INDEX.fullmatch(name) or stats.count >= _ENOUGH_ROWS):
        why = f"counts the rows ({stats.low:g} .. {stats.high:g})"
        return PassedOver(name, str(dtype), why, first=following)
    different = stats.rising or stats.ties == 0
    hardly = stats.ties < _HARDLY and stats.count > _ENOUGH_ROWS
    if (different or hardly) and stats.count > 1 and _IDENTIFIER.fullmatch(name):
        alike = "no two" if different else "hardly two"
        why = f"is an identifier ({show(int(stats.low))} .., {alike} alike)"
        return PassedOver(name, str(dtype), why, first=following)
    return None


def refusal(file: str, passed: PassedOver, stats: Stats | None) -> InputError:
    """The error for a column that would be passed over."""
    if stats is not None and stats.first_word and 0 < stats.words < stats.count / 2:
        cell, word = stats.first_word
        return InputError(
            f"{cell}: {show(word)} is not a number, though most values there are: correct it, or "
            f"write it as NA if it is missing"
        )
    return InputError(
        f"{file}, column '{passed.name}' {passed.why}: leave it out with `exclude` {passed.name}"
    )


# --- words among numbers -------------------------------------------------------------------------


def marks_in(stats: Stats) -> tuple[str, ...]:
    """The few words in a column of numbers that stand for missing ones, the most frequent first.

    None do where the numbers may be codes: few different ones, or some that begin with zeros.
    """
    words = stats.kinds_of_words
    if words is None or stats.padded or not 0 < stats.words <= MIXED * stats.count:
        return ()
    if stats.levels is not None:
        different = len(stats.levels) - len(words)
        if different <= max(2, min(_ENOUGH_NUMBERS, (stats.count - stats.words) / 2)):
            return ()
    return tuple(word for word, _ in words.most_common())


def sentinel_in(stats: Stats) -> str | None:
    """A number of nines, such as -999, that stands for missing ones, if a column has one.

    It is the lowest or the highest, in several rows, and farther from the others than these are
    from each other by twice.
    """
    if stats.decimals is None or stats.levels is None and not len(stats.sample):
        return None
    values, counts = np.unique(stats.rounded, return_counts=True)
    if len(values) <= _ENOUGH_NUMBERS:
        return None
    for end, next_one, other in ((0, 1, -1), (-1, -2, 0)):
        value, reach = values[end], abs(values[next_one] - values[other])
        alone = abs(value - values[next_one]) > 2 * reach
        if alone and counts[end] > 1 and _SENTINEL.fullmatch(f"{value:g}"):
            return f"{value:g}"
    return None


# --- gaps ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gaps:
    """What becomes of missing values.

    Attributes:
        modelled: columns whose gaps are learned.
        dropped: columns whose gaps leave their rows out.
        rows: how many rows those are.
    """

    modelled: frozenset[str] = frozenset()
    dropped: frozenset[str] = frozenset()
    rows: int = 0


def decide_gaps(
    policy: str,
    found: Survey,
    chosen: Mapping[str, str],
    context: Collection[str] = (),
    target: str | None = None,
) -> Gaps:
    """Where rows are left out, and where gaps are modelled.

    With "auto" rows are left out for the columns with the fewest gaps, as long as they are at most
    one in fifty, or a single one; never for those of the context, whose gaps a net is told, and
    always for a target, about which a row with a gap says nothing.

    Args:
        policy: one of `POLICIES`.
        found: by the survey, of the columns that are used.
        chosen: "drop" or "model" for columns of which the user said so.
        context: the columns to condition on.
        target: the column to predict.

    Raises:
        InputError: there is a gap and the policy is "refuse".
    """
    holed = {name: s.missing for name, s in found.stats.items() if s.missing}
    if policy == "refuse" and holed:
        stats = found.stats[name := next(iter(holed))]
        file, row = stats.first_gap or ("", 0)
        raise gap_error(Place(file, row, declarable=True), 0, name, stats.missing)
    dropped = {name for name in holed if chosen.get(name) == "drop"}
    open_ones = sorted(holed.keys() - chosen.keys(), key=lambda n: (holed[n], n))
    if policy == "drop":
        dropped |= set(open_ones)
    elif policy == "auto":
        dropped |= {name for name in open_ones if name == target}
        most = max(1, FEW_ROWS * found.rows, rows_with(found.patterns, dropped))
        for name in (n for n in open_ones if n not in context):
            if rows_with(found.patterns, {*dropped, name}) <= most:
                dropped.add(name)
    modelled = frozenset(holed.keys() - dropped)
    return Gaps(modelled, frozenset(dropped), rows_with(found.patterns, dropped))


def rows_with(patterns: Counter[frozenset[str]], names: Collection[str]) -> int:
    """How many rows have a gap in one of these columns."""
    return sum(rows for gaps, rows in patterns.items() if not gaps.isdisjoint(names))
