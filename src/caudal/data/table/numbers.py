"""Which numbers a column holds: their lattice, ends, atoms, and an offset that 32 bits need."""

import math
import re
from dataclasses import replace

import numpy as np
import pyarrow as pa

from caudal.data.schema import Column
from caudal.data.table.declare import LATTICE_LIMIT, Declared
from caudal.data.table.declare import whole as is_whole
from caudal.data.table.piles import piled_ends
from caudal.data.table.stats import Stats
from caudal.errors import InputError

SKEWED, LEANING = 2.0, 1.0
NEAR = 0.25  # of the distance between the 5 % and 95 % quantiles
SHARES, PERCENTAGES = 0.95, 50.0  # what skewed numbers reach if they are shares of 1, or of 100 %
SPARSE = 0.25  # share of the steps between the ends that a list of prices takes up at most
TIED = 0.5  # share of the values that repeat another one
CODES, OFTEN, OFTEN_SHARE = 20, 5, 0.01  # so few values, the outermost of them seen so often
_LATITUDE, _LONGITUDE = r"(?i)(.*[\W_])?lat(itude)?", r"(?i)(.*[\W_])?(lon|lng|long|longitude)"
ATOM, END_ATOM = 0.05, 0.01  # share of the rows at one value, and at the lowest or the highest
ATOMS = 8  # at most
LEAST = 10  # rows at an atom
NOTHING = 3  # rows at 0 that are the lowest, as nothing can be below
MANY = 20  # different values beside the atoms
MATERIAL = 0.01  # share of the different values that may become equal to another one
FEW = 1024  # among many values without a lattice some always coincide, among so few hardly any


def number_column(
    name: str,
    dtype: pa.DataType,
    stats: Stats,
    declared: Declared,
    gaps: bool,
    form: str | None = None,
) -> Column:
    """The column of numbers that was declared or guessed, with the offset that it needs.

    Raises:
        InputError: 32 bits cannot tell the declared steps apart.
    """
    if pa.types.is_dictionary(dtype):  # samples may have more values than its index type can count
        dtype = dtype.value_type
    if declared.kind == "integer" and declared.low is declared.high is None:
        declared = replace(declared, low=_lower(stats))
    if declared.kind == "circular":
        declared = _around(declared, stats)
    column = Column(
        name,
        declared.kind,
        declared.low,
        declared.high,
        declared.step,
        missing=gaps,
        dtype=str(dtype),
        atoms=declared.atoms,
        atom_width=_width(stats, declared.atoms),
        format=form,
        decimals=None if declared.step else _decimals(stats),
    )
    for offset in (declared.offset, _far(column, stats)):
        if fits(column, stats, offset):
            return _counted_from(offset, column)
    if column.step:
        raise InputError(
            f"{stats.file}, column '{name}': 32 bits cannot tell steps of {column.step:g} apart "
            f"between {stats.low:.12g} and {stats.high:.12g}: declare larger steps, or none"
        )
    return column


def _decimals(stats: Stats) -> int | None:
    """How many decimals all values have; None where they are too many, or values too small."""
    if stats.decimals is None:
        return None
    values = np.append(stats.sample, [stats.low, stats.high])
    off = np.abs(np.round(values, stats.decimals) - values)
    return stats.decimals if (off <= 1e-9 * np.abs(values)).all() else None


def _around(declared: Declared, stats: Stats) -> Declared:
    """The circle with the steps of its values, if all are whole, and the last of them as its end.

    The two ends of a circle are one point, which counts at the lower one.
    """
    low, high = declared.low or 0.0, declared.high or 0.0
    step = declared.step
    if step is None and stats.decimals == 0 and stats.steps is not None:
        spacing, first = stats.steps
        if is_whole((high - low) / spacing) and is_whole((first - low) / spacing):
            step = spacing
    return replace(declared, step=step, high=high - (step or 0.0))


def on_globe(name: str, stats: Stats, declared: Declared) -> Declared:
    """What a column looks like, with the ends that a latitude or longitude has by its name."""
    for names, end in ((_LATITUDE, 90.0), (_LONGITUDE, 180.0)):
        within = -end <= stats.low and stats.high <= end
        even = declared.step is None or is_whole(2 * end / declared.step)
        if re.fullmatch(names, name) and declared.kind == "real" and within and even:
            return replace(declared, kind="interval", low=-end, high=end, offset=0.0)
    return declared


def guessed(
    stats: Stats, form: str | None = None, gaps: bool = False, piles: bool = True
) -> Declared:
    """What a column of numbers looks like; those in text of some form are no categories.

    Unless there are `piles`, it has no end because values pile up there.
    """
    levels = len(stats.levels or ())
    if form is None and (levels == 2 or (levels == 1 and gaps)):
        return Declared("categorical")
    if stats.steps is not None:
        step, first = stats.steps
        coarse = step > 1.5 * 10.0 ** -(stats.decimals or 0)
        if form is None and is_list(stats):
            return Declared("categorical")
        if stats.high - stats.low <= step * LATTICE_LIMIT and (
            stats.decimals == 0 or coarse or stats.ties > TIED or _find_atoms(stats, piles)
        ):
            return _lattice(stats, step, first, form, piles)
    if _are_few(stats) and form is None:
        return Declared("categorical")
    percent = form is not None and form.endswith("%")
    return _continuous(stats, percent, piles)


def _are_few(stats: Stats) -> bool:
    """Whether numbers without a lattice are so few that all are categories.

    More that repeat stay numbers: other data may have values between them.
    """
    levels = stats.levels
    return levels is not None and len(levels) <= CODES and stats.count > OFTEN * len(levels)


def is_list(stats: Stats) -> bool:
    """Whether numbers with decimals are few, none of them rare, and far apart on their lattice."""
    levels, lattice = stats.levels, stats.lattice
    if not lattice.decimals or not lattice.divisor or not levels or not _are_few(stats):
        return False
    reach = (stats.high - stats.low) * 10**lattice.decimals / lattice.divisor + 1
    return min(levels.values()) >= OFTEN and len(levels) <= SPARSE * reach


def _lower(stats: Stats) -> float | None:
    return 0.0 if stats.low >= 0 else None


def _lattice(stats: Stats, step: float, first: float, form: str | None, piles: bool) -> Declared:
    whole = stats.decimals == 0
    if whole and are_codes(stats):  # few steps of decimals may be a narrow range of measurements
        return Declared("integer", stats.low, stats.high, step)
    low, offset = (first, 0.0) if stats.low >= 0 else (None, first)
    if low == 0 and stats.high <= 100 and form and form.endswith("%") and is_whole(100 / step):
        return Declared("integer" if whole else "interval", 0.0, 100.0, step)
    floor, cap = piled_ends(stats, step) if piles else (None, None)
    if floor is not None:
        low, offset = floor, 0.0
    if whole:
        return Declared("integer", low, cap, step, offset=offset)
    if low is not None and cap is not None:
        return Declared("interval", low, cap, step)
    kind = "positive" if cap is None and stats.low > 0 and stats.skewness > SKEWED else "real"
    return Declared(kind, low, cap, step, offset=offset)


def are_codes(stats: Stats) -> bool:
    """Whether there are few values, and so many rows at either end that none lies beyond.

    If 0 is among them, nothing lies below it anyhow.
    """
    levels = stats.levels
    if levels is None or not 2 < len(levels) <= CODES:
        return False
    least = max(OFTEN, OFTEN_SHARE * stats.count)
    return levels[stats.high] >= least and (stats.low == 0 or levels[stats.low] >= least)


def _continuous(stats: Stats, percent: bool, piles: bool) -> Declared:
    # Amounts below 1 are often skewed.
    whole, least = (100.0, PERCENTAGES) if percent else (1.0, SHARES)
    atoms = _find_atoms(stats, piles)
    rest = _without(stats.sample, atoms)
    skewness = _skewness(rest) if stats.low >= 0 else 0.0
    skewed = skewness > SKEWED
    if stats.low >= 0 and stats.high <= whole and (not skewed or stats.high > least):
        return Declared("interval", 0.0, whole, atoms=atoms)
    low = atoms[0] if atoms and atoms[0] <= stats.low else None
    high = atoms[-1] if atoms and atoms[-1] >= stats.high else None
    if low is None and skewed and high is None and stats.low > np.finfo(np.float32).tiny:
        return Declared("positive", 0.0, atoms=atoms)
    ends_there = np.count_nonzero(stats.sample == 0) >= NOTHING or _begins_near(rest, skewness)
    if low is None and stats.low >= 0 and (skewed or atoms or ends_there):
        low = 0.0
    kind = "real" if low is None or high is None else "interval"
    return Declared(kind, low, high, atoms=atoms)


def _begins_near(values: np.ndarray, skewness: float) -> bool:
    """Whether numbers that are never negative are skewed and begin near to 0.

    Prices and depths do; lengths of people, and temperatures around 10 degrees, do not.
    """
    if skewness <= LEANING:
        return False
    low, high = np.quantile(values, [0.05, 0.95])
    return bool(values.min() < NEAR * (high - low))


def _find_atoms(stats: Stats, piles: bool) -> tuple[float, ...]:
    """The values at which so many rows are that they are no accident of a continuous column."""
    values, counts = np.unique(stats.rounded, return_counts=True)
    share = counts / max(len(stats.sample), 1)
    at_end = (values == stats.low) | (values == stats.high)
    finest = 0.0 if stats.decimals is None else 10.0**-stats.decimals
    ends = piled_ends(stats, finest) if piles else ()
    piled = np.isin(values, [end for end in ends if end is not None])
    heavy = (counts >= LEAST) & (piled | (share >= np.where(at_end, END_ATOM, ATOM)))
    chosen = np.flatnonzero(heavy)
    if not 0 < len(chosen) <= ATOMS or len(values) - len(chosen) < MANY:
        return ()
    return tuple(values[chosen].tolist())


def _without(values: np.ndarray, atoms: tuple[float, ...]) -> np.ndarray:
    return values[~np.isin(values, atoms)] if atoms else values


def _skewness(values: np.ndarray) -> float:
    """Third standardised moment, 0 for a constant."""
    spread = values.std()
    return float((((values - values.mean()) / spread) ** 3).mean()) if spread > 0 else 0.0


def _width(stats: Stats, atoms: tuple[float, ...]) -> float:
    """A power of two near the middle half of the values that are no atoms."""
    rest = _without(stats.sample, atoms)
    if not atoms or not len(rest):
        return 1.0
    low, high = np.quantile(rest, [0.25, 0.75])
    spread = (high - low) or rest.std() or max(map(abs, atoms)) or 1.0
    return float(2.0 ** round(math.log2(spread)))


# --- 32 bits -------------------------------------------------------------------------------------


def fits(column: Column, stats: Stats, offset: float) -> bool:
    """Whether rows in 32 bits, counted from an offset, tell the values of a column apart."""
    if column.step:
        return (
            max(abs(stats.low - offset), abs(stats.high - offset)) <= column.step * LATTICE_LIMIT
        )
    values, kept = merged(stats, offset)
    return not kept == 1 < values and values - kept <= MATERIAL * values


def merged(stats: Stats, offset: float) -> tuple[int, int]:
    """How many different values some of the rows have, and how many 32 bits tell apart."""
    values = np.unique(stats.rounded if stats.decimals is not None else stats.few(FEW))
    return len(values), len(np.unique((values - offset).astype(np.float32)))


def _far(column: Column, stats: Stats) -> float:
    """An offset for values far from 0: where a lattice begins, else a round number below them."""
    if column.step:
        return stats.low
    size = 10.0 ** math.floor(math.log10(max(stats.high - stats.low, np.finfo(float).tiny)))
    return math.floor(stats.low / size) * size


def _counted_from(offset: float, column: Column) -> Column:
    """The column with an offset; an end that is too far from it for 32 bits is none."""
    if offset and not column.step and column.kind in ("positive", "interval", "latitude"):
        column = replace(column, kind="real", low=None, high=None)
    most = column.step * LATTICE_LIMIT if column.step else math.inf
    ends = [None if end is None else end - offset for end in (column.low, column.high)]
    low, high = (None if end is None or abs(end) > most else end for end in ends)
    atoms = tuple(atom - offset for atom in column.atoms)
    return replace(column, low=low, high=high, atoms=atoms, offset=offset)
