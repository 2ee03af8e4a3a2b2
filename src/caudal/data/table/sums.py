"""Columns that are sums of others: totals, differences, and the same in other units."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from math import floor, inf, log10

import numpy as np

from caudal.data.schema import Column
from caudal.data.table.follower import Follower, without_ends

MOST = 3  # columns in a sum
EVIDENCE = 20.0  # nats for each number of a rule, by which it holds less likely by chance
_LEFT = 0.6  # steps that a rounded sum is off at most, before its slopes are rounded
_LITTLE = 0.35  # deviations that are left of a rounded sum, of one of three levels a third
_NEARLY = 1e-5  # deviations that a sum without steps is off
_FIRST = 500  # rows, from all over the table, that rule out most rounded sums
_HARD = 2000  # rows with the largest errors, which decide about the slopes of a rounded sum
_DIGITS = 10  # of slopes, of which the rule of fewest digits is taken


def find_sums(
    columns: Sequence[Column], rows: np.ndarray, kept: Collection[str]
) -> Iterator[Follower]:
    """Columns that are a constant and multiples of at most three others, but for rounding.

    They are gone through from the one of the finest steps to the coarsest, which may be a rounded
    one. A column of which nothing but rounding errors is left beside those before is a sum of
    them, or one of them is.

    Args:
        columns: of the rows, all of them numbers without gaps.
        rows: some of them (N, D), in float64.
        kept: the names of columns that are no followers.
    """
    names = [column.name for column in columns]
    decided: set[str] = set()
    for place, choices in _dependent(columns, rows):
        for sources in choices:
            members = [place, *sources]
            free = [i for i in members if names[i] not in kept]
            free = [i for i in free if i == place or names[i] not in decided]
            found = _one_of(columns, rows, members, free)
            if found is not None:
                decided |= {found.name, *found.sources}
                yield found
                break


def _dependent(
    columns: Sequence[Column], rows: np.ndarray
) -> Iterator[tuple[int, list[list[int]]]]:
    """Columns that nearly are linear in others, and choices of these, the smallest first."""
    from scipy.linalg import solve_triangular

    scale = rows.std(0)
    steps = np.array([column.step or 0.0 for column in columns])
    allowed = np.maximum(np.minimum(_LEFT * steps, _LITTLE * scale), _NEARLY * scale)
    used = np.flatnonzero(scale > 0)
    used = used[np.argsort(steps[used] / scale[used], kind="stable")]
    x = (rows - rows.mean(0)) / np.where(scale > 0, scale, 1.0)
    gram = x.T @ x / len(x)
    chosen: list[int] = []
    factor = np.zeros((len(used), len(used)))  # of the correlations of the chosen, L L^T
    for i in used:
        k = len(chosen)
        half = solve_triangular(factor[:k, :k], gram[chosen, i], lower=True) if k else np.empty(0)
        left = float(np.sqrt(max(gram[i, i] - half @ half, 0.0)))
        if left * scale[i] <= allowed[i] and k:
            shares = solve_triangular(factor[:k, :k], half, lower=True, trans="T")
            largest = [chosen[j] for j in np.argsort(-np.abs(shares), kind="stable")]
            orders = (largest, _pursuit(gram, int(i), chosen))
            counts = range(1, min(MOST, k) + 1)
            yield int(i), [order[:count] for count in counts for order in orders]
        elif left > 1e-6 and k < len(rows) / 4:  # more would fit whatever there is
            factor[k, :k], factor[k, k] = half, left
            chosen.append(int(i))


def _pursuit(gram: np.ndarray, i: int, chosen: Sequence[int]) -> list[int]:
    """The chosen columns that tell a column best, each what those before it leave of it.

    Shares in a sum mislead where chosen columns are nearly sums of each other.
    """
    found: list[int] = []
    left = gram[:, i]
    while len(found) < min(MOST, len(chosen)):
        found.append(max((j for j in chosen if j not in found), key=lambda j: abs(left[j])))
        slopes = np.linalg.lstsq(gram[np.ix_(found, found)], gram[found, i], rcond=None)[0]
        left = gram[:, i] - gram[:, found] @ slopes
    return found


def _one_of(
    columns: Sequence[Column], rows: np.ndarray, members: Sequence[int], free: Sequence[int]
) -> Follower | None:
    """The free one that is a sum of the other members, if one is.

    Best is one whose sums stay in its support: a total, and no part of it, which would be a
    difference; then the one of the shortest slopes, the one whose values keep furthest from its
    ends, such as the largest of shares that sum to 1, and the last of the table.
    """
    tried = []
    for i in free:
        others = sorted(j for j in members if j != i)
        sources, y, x = [columns[j] for j in others], rows[:, i], rows[:, others]
        slopes = _slopes(y, x, columns[i].step)
        found = None if slopes is None else _sum(columns[i], sources, slopes, y, x)
        if found is not None:
            slopes = np.array(found.slopes)
            beyond = len(sources) > 1 and _is_beyond(columns[i], sources, slopes)
            room = _room(columns[i], y) if beyond else inf
            tried.append((beyond, sum(map(_digits, slopes)), -room, -i, found))
    return min(tried, key=lambda each: each[:4])[4] if tried else None


def _slopes(y: np.ndarray, x: np.ndarray, step: float | None) -> np.ndarray | None:
    """Slopes with which a constant and multiples of x (N, S) are nearest to y (N,).

    Where sums are rounded, the largest error is the smallest possible, since none may be above
    half a step; None where that is not so, of some of the rows or of all.
    """
    every = len(y) // _FIRST  # 1 in the call for these rows
    if step is not None and every > 1:
        some = slice(0, every * _FIRST, every)
        if _slopes(y[some], x[some], step) is None:
            return None
    centred = x - x.mean(0)
    slopes = np.linalg.lstsq(centred, y - y.mean(), rcond=None)[0]
    off = y - y.mean() - centred @ slopes
    if step is None or np.abs(off).max() < 1e-3 * step:
        return np.asarray(slopes)
    if np.ptp(off) > 1.5 * step:
        return None
    from scipy.optimize import linprog

    hard = np.argsort(-np.abs(off - (off.max() + off.min()) / 2))[:_HARD]
    scale = np.maximum(centred.std(0), 1e-300)
    a, ones = centred[hard] / scale, np.ones((len(hard), 1))
    # The variables are what is to be added to the slopes, the constant, and the error.
    above, below = np.hstack([a, ones, -ones]), np.hstack([-a, -ones, -ones])
    bounds = [(None, None)] * (x.shape[1] + 2)
    sides = np.concatenate([off[hard], -off[hard]]) / step
    cost = [0.0] * (x.shape[1] + 1) + [1.0]
    found = linprog(cost, np.vstack([above, below]), sides, bounds=bounds, method="highs")
    if not found.success or found.fun > 0.5 + 1e-3:
        return None
    return np.asarray(slopes + step * found.x[: x.shape[1]] / scale)


def _is_beyond(column: Column, sources: Sequence[Column], slopes: np.ndarray) -> bool:
    """Whether multiples of the sources can lie below the lower end of a column's support."""
    if column.low is None:
        return False
    pairs = list(zip(sources, slopes, strict=True))
    ends = [(c.low if slope > 0 else c.high) for c, slope in pairs]
    return any(
        end is None or slope * (end + c.offset) < 0
        for (c, slope), end in zip(pairs, ends, strict=True)
    )


def _room(column: Column, values: np.ndarray) -> float:
    """How far values (N,) of a column keep from the ends of its support, in their deviations."""
    ends = [end for end in (column.low, column.high) if end is not None]
    return min((float(np.abs(values - end).min() / values.std()) for end in ends), default=inf)


def _sum(
    column: Column,
    sources: Sequence[Column],
    slopes: np.ndarray,
    y: np.ndarray,
    x: np.ndarray,
) -> Follower | None:
    """The column as a sum of the sources, with slopes of the fewest digits; None if it is none."""
    if surprise(y) < EVIDENCE * (len(sources) + 1):
        return None
    free, names = without_ends(column), tuple(source.name for source in sources)
    y = y - (free.offset - column.offset)  # counted from the offset of the follower
    by = np.array([source.offset for source in sources])
    best, fewest = None, inf
    for digits in range(1, _DIGITS + 1):
        few = np.array([_rounded(slope, digits) for slope in slopes])
        if not few.all():
            return None
        rest = y - x @ few
        low, high = float(rest.min()), float(rest.max())
        follower = Follower(free, names, "", tuple(few.tolist()), (low + high) / 2)
        room = (free.step or 2 * float(follower.tolerance(x).max())) - (high - low)
        if room < -1e-9 * abs(high):
            continue
        shift = free.offset - float(few @ by)
        for constant in (0.0, _simplest(follower.constant + shift, 0.45 * max(room, 0.0))):
            follower = replace(follower, constant=constant - shift)
            if fits(follower, y, x):
                break
        else:
            continue
        total = sum(map(_digits, few)) + (_digits(constant) + 1 if constant else 0)
        if total < fewest:
            is_rounded = free.step is not None and high - low > 1e-3 * free.step
            why = _words(column, sources, few, constant, is_rounded)
            best, fewest = replace(follower, why=why), float(total)
    return best


def fits(follower: Follower, y: np.ndarray, x: np.ndarray) -> bool:
    """Whether sums of x (N, S) are the values y (N,), but for rounding in 32 bits."""
    if (step := follower.column.step) is None:
        return not follower.is_broken(y, x).any()
    return bool((np.abs(follower.of(x) - y) < 1e-3 * step).all())


def surprise(values: np.ndarray) -> float:
    """The nats by which it is unlikely that others (N,) have these values by chance."""
    _, counts = np.unique(values, return_counts=True)
    return float(-(counts * np.log(counts / len(values))).sum())


def _rounded(number: float, digits: int) -> float:
    """A number with so many significant digits."""
    return round(float(number), digits - 1 - floor(log10(abs(number)))) if number else 0.0


def _simplest(number: float, off: float) -> float:
    """The number of fewest decimals that is at most so far off."""
    for decimals in range(-12, 13):
        if abs(round(number, decimals) - number) <= off:
            return round(number, decimals) + 0.0
    return number


def _digits(number: float) -> int:
    """The significant digits of a number, 0 of 0."""
    return len(f"{abs(number):.12e}".partition("e")[0].replace(".", "").rstrip("0"))


def _words(
    column: Column, sources: Sequence[Column], slopes: np.ndarray, constant: float, rounded: bool
) -> str:
    """The rule as a phrase, in the user's numbers; of dates the sources alone."""
    if any(c.unit is not None for c in (column, *sources)):
        return f"follows from {' and '.join(source.name for source in sources)}"
    text = ""
    for source, slope in zip(sources, slopes, strict=True):
        sign = ("-" if slope < 0 else "") if not text else (" - " if slope < 0 else " + ")
        text += sign + (f"{abs(slope):g} " if abs(slope) != 1 else "") + source.name
    if constant:
        text += f" {'-' if constant < 0 else '+'} {abs(constant):g}"
    return f"is {text}" + (" (rounded)" if rounded else "")
