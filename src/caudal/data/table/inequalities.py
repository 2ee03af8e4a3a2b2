"""Which columns are never below others, where samples would break that otherwise."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from caudal.data.schema import Column
from caudal.data.table.dependence import first_rows, rows_of
from caudal.data.table.find import shown
from caudal.data.table.heaps import heaps_of
from caudal.data.table.inequality import Inequality, in_turn
from caudal.data.table.numbers import END_ATOM, LEAST
from caudal.data.table.schema import TableSchema
from caudal.data.table.stats import Stats
from caudal.data.table.tables import PIECE, Tables
from caudal.errors import InputError

_FIRST = (50, 500)  # rows that rule out most pairs of columns, and most of the others
_BROKEN = 10  # rows in which a rule would not hold by chance, and more of many columns
_SLACK = 0.02  # nats, which an estimate of them is off
_SERIES = 16  # columns of one kind
_LOWEST, _NEAR = 10, 0.5  # of so many differences the lowest is half of the highest, at most
_MOST = 3  # columns that one is never below, of those of which none is below another
_BESIDE = 200  # columns that are looked at together, at most
_LOOKED_AT, _DRAWS = 5000, 20_000
_RIDGE = 1e-6


def find_inequalities(
    schema: TableSchema, tables: Sequence[Tables], drop: bool, kept: Collection[str]
) -> tuple[Inequality, ...]:
    """The modelled columns that are never below others of their kind, by no accident.

    A rule holds in every row, while a Gaussian copula of the two columns alone would break it in
    ten rows or more: ranges that are apart, and columns that go together, need no rule. The
    lowest differences come near to 0. And the column is told in no more nats as what it is above
    the others than as itself, with all columns of numbers beside. Many columns of one kind are a
    series, in which some are above others by chance, and have no rules.

    Args:
        schema: of the tables.
        tables: the one to train on, and those for validation and test if given.
        drop: whether rows with gaps that no column allows are left out.
        kept: the names of columns that are modelled by themselves.
    """
    columns = schema.columns
    if not list(_groups(columns)):
        return ()
    rows = first_rows(schema, tables[0], drop)
    found = [rule for rule in _likely(columns, rows) if rule.name not in kept]
    return in_turn(list(_holding(schema, found, tables, drop)))


def asked_inequalities(
    schema: TableSchema,
    tables: Sequence[Tables],
    drop: bool,
    asked: Mapping[str, tuple[str, ...]],
) -> tuple[Inequality, ...]:
    """The inequalities that the user says there are, by the names of the columns.

    Raises:
        InputError: one does not hold in some row, or columns cannot be compared, or are not
            modelled.
    """
    by_name = {column.name: column for column in schema.columns}
    rows = first_rows(schema, tables[0], drop) if asked else np.empty((0, 0))
    inequalities = []
    for name, sources in asked.items():
        for source in (name, *sources):
            if source not in by_name:
                raise InputError(
                    f"`types_from`, column '{name}': no column can be above another where one of "
                    f"them is not modelled, and '{source}' {_why_not(schema, source)}: take "
                    f"`above` out"
                )
        for source in sources:
            if not _comparable(by_name[source], by_name[name]):
                raise InputError(
                    f"`types_from`, column '{name}': it cannot be compared with '{source}', which "
                    f"has other steps, a gap or an end: take `above` out"
                )
        inequalities.append(_inequality(by_name[name], sources, schema.columns, rows))
    held = {rule.name for rule in _holding(schema, inequalities, tables, drop)}
    for rule in inequalities:
        if rule.name not in held:
            raise InputError(
                f"{tables[0].name}, column '{rule.name}' is below {' or '.join(rule.sources)} "
                f"in some row: take `above` out of `types_from`, or correct the row"
            )
    return in_turn(inequalities)


def with_rules(
    columns: Sequence[Column], opened: Sequence[Column], inequalities: Sequence[Inequality]
) -> tuple[Column, ...]:
    """The columns, of which those that a rule needs so have no guessed ends.

    Args:
        columns: as they are guessed.
        opened: the same without ends where values pile up.
        inequalities: found among the latter.
    """
    made, free = ({c.name: c for c in some} for some in (columns, opened))
    made |= {rule.name: free[rule.name] for rule in inequalities}
    for rule in inequalities:
        for name in rule.sources:
            if not _comparable(made[name], made[rule.name]):
                made[name] = free[name]
    return tuple(made[column.name] for column in columns)


def _why_not(schema: TableSchema, name: str) -> str:
    """Why a column is not modelled, as a phrase after its name."""
    why = {column.name: "is given as context" for column in schema.context}
    why |= {passed.name: passed.why for passed in schema.passed_over}
    why |= {follower.name: follower.why for follower in schema.followers}
    return why.get(name, "is left out")


def inequality_notes(
    inequalities: Sequence[Inequality], guessed: Sequence[Column], made: Sequence[Column]
) -> list[str]:
    """What the user should know of the columns that are never below others.

    Args:
        inequalities: of the columns.
        guessed: the columns before `with_rules`.
        made: the columns after it.
    """
    if not inequalities:
        return []
    some = [f"{rule.name} ({', '.join(rule.sources)})" for rule in inequalities]
    line = (
        f"never below another column, in rows and in samples: {shown(some)}; `types` models "
        f"such a column by itself"
    )
    both = zip(guessed, made, strict=True)
    opened = [new.name for old, new in both if _ends(new) != _ends(old)]
    more = (
        f"no end where values pile up, since one column is never below another: {shown(opened)}; "
        f"samples may lie beyond"
    )
    return [line, more] if opened else [line]


def _ends(column: Column) -> list[float | None]:
    """The lowest and the highest value that a column may have."""
    ends = column.low, column.high
    return [None if end is None else end + column.offset for end in ends]


def _groups(columns: Sequence[Column]) -> Iterator[list[int]]:
    """The places of columns that can be compared: numbers in the same steps, or in none."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for i, c in enumerate(columns):
        on_line = c.categories is None and c.period is None and c.kind != "latitude"
        if on_line and not c.atoms and c.whole is None:
            lattice = (c.step,) if c.step else (None, c.decimals, c.offset)
            groups.setdefault((c.unit, *lattice), []).append(i)
    return (group for group in groups.values() if 1 < len(group) <= _SERIES)


def _comparable(low: Column, high: Column) -> bool:
    """Whether a column may be one that another one is never below."""
    return bool(list(_groups((low, high)))) and _may(low, high)


def _may(low: Column, high: Column) -> bool:
    """Whether a column may be what another one of its group is never below.

    It has no gaps, and the other one has no end beyond which a sum of both might lie.
    """
    if low.missing or high.high is not None:
        return False
    if high.low is not None:
        below = low.low is None or low.low + low.offset < high.low + high.offset
        if below or (high.kind == "positive" and low.kind != "positive" and not high.step):
            return False
    if not low.step:
        return True
    apart = (high.offset + high.origin - low.offset - low.origin) / low.step
    return abs(apart - round(apart)) < 1e-6


def _likely(columns: Sequence[Column], rows: np.ndarray) -> Iterator[Inequality]:
    """Inequalities that hold in rows (N, D), are no accident, and cost no nats."""
    beside = _Beside(columns, rows)
    least = _BROKEN + 2 * np.log(len(columns))
    for group in _groups(columns):
        values = rows[:, group] + np.array([columns[i].offset for i in group])
        holds = _never_below(values, columns[group[0]].step or 0.0)
        for k, place in enumerate(group):
            own = columns[place]
            below = [i for i in np.flatnonzero(holds[:, k]) if _may(columns[group[i]], own)]
            bound = [i for i in below if len(rows) * _broken(values[:, i], values[:, k]) > least]
            nearest = [i for i in bound if not any(holds[i, j] for j in bound)]
            for some in ([nearest[:_MOST]] if nearest else []) + [[i] for i in nearest[1:]]:
                names = tuple(columns[group[i]].name for i in some)
                rule = _inequality(own, names, columns, rows)
                above = rule.differences(rows, columns)
                above = np.sort(above[~np.isnan(above)])
                if _ends_at_0(above, own.step or 0.0) and beside.gains(rule, place):
                    yield rule
                    break


def _never_below(values: np.ndarray, step: float) -> np.ndarray:
    """Which pairs (i, j) have no row of values (N, D) with x_j below x_i, and some above."""
    holds = ~np.eye(values.shape[1], dtype=bool)
    for most in (*_FIRST, len(values)):
        for i, may in enumerate(holds):
            at = np.flatnonzero(may)
            may[at] = ~(values[:most, at] < values[:most, [i]] - 0.5 * step).any(0)
    return holds & ~holds.T


def _broken(low: np.ndarray, high: np.ndarray) -> float:
    """The share of rows in which a Gaussian copula of two columns (N,) has one below the other."""
    there = ~np.isnan(high)
    low, high = low[there], high[there]
    if len(low) < 2 * LEAST or low.max() <= high.min():
        return 0.0
    correlation = np.corrcoef(_scores(low), _scores(high))[0, 1]
    z = np.random.default_rng(0).normal(size=(2, _DRAWS))
    z[1] = correlation * z[0] + np.sqrt(max(1 - correlation**2, 0.0)) * z[1]
    from scipy.special import ndtr

    drawn = [np.quantile(x, u) for x, u in zip((low, high), ndtr(z), strict=True)]
    return float((drawn[1] < drawn[0]).mean())


def _scores(values: np.ndarray) -> np.ndarray:
    """Normal scores of values (N,), those of equal ones in the middle of their places."""
    from scipy.special import ndtri

    ordered = np.sort(values)
    left, right = (np.searchsorted(ordered, values, side) for side in ("left", "right"))
    return np.asarray(ndtri((left + right) / (2 * len(values))))


def _inequality(
    column: Column, sources: tuple[str, ...], columns: Sequence[Column], rows: np.ndarray
) -> Inequality:
    """The inequality, with what its differences in rows (N, D) are like."""
    kind = column.kind if column.kind in ("integer", "datetime") else "real"
    above = Column(column.name, kind, 0.0, None, column.step, missing=column.missing)
    rule = Inequality(above, sources)
    heaps = heaps_of(above, _stats(rule.differences(rows, columns))) if column.step else ()
    return replace(rule, column=replace(above, heaps=heaps))


def _stats(values: np.ndarray) -> Stats:
    """What numbers (N,) are like, but for gaps."""
    stats, values = Stats(), values[~np.isnan(values)]
    stats.add_numbers(values, np.arange(len(values)), float(np.finfo(float).eps))
    return stats


def _ends_at_0(above: np.ndarray, step: float) -> bool:
    """Whether ascending differences (N,) begin near 0, and none has a probability of its own.

    On a lattice they all have one.
    """
    if above[0] > max(step, _NEAR * above[min(_LOWEST, len(above)) - 1]):
        return False
    _, counts = np.unique(above, return_counts=True)
    return bool(step) or bool(counts.max() < max(LEAST, END_ATOM * len(above)))


class _Beside:
    """What columns tell of each other, in nats a row, by their fitted copula.

    Args:
        columns: of the rows.
        rows: some of them (N, D).
    """

    def __init__(self, columns: Sequence[Column], rows: np.ndarray) -> None:
        self._columns, self._rows = columns, rows[:_LOOKED_AT]
        numbers = [i for i, c in enumerate(columns) if c.categories is None and not c.missing]
        self._others = numbers[:_BESIDE]
        self._z = {i: _scores(self._rows[:, i]) for i in self._others}

    def gains(self, rule: Inequality, place: int) -> bool:
        """Whether a column is told in no more nats as a difference than as itself."""
        there = ~np.isnan(self._rows[:, place])
        own, above = self._columns[place], rule.differences(self._rows, self._columns)
        others = [self._z[i][there] for i in self._others if i != place]
        x = np.stack([*others, np.ones(there.sum())], 1)
        values = ((own, self._rows[there, place]), (rule.column, above[there]))
        itself, difference = (_nats(column, v, x) for column, v in values)
        return difference <= itself + _SLACK


def _nats(column: Column, values: np.ndarray, others: np.ndarray) -> float:
    """The nats of a value (N,) of a column, given the normal scores of others (N, K)."""
    z = _scores(values)
    gram = others.T @ others + _RIDGE * len(z) * np.eye(others.shape[1])
    left = z - others @ np.linalg.solve(gram, others.T @ z)
    unexplained = float(left.var() / max(z.var(), 1e-12))
    return _entropy(column, values) + 0.5 * float(np.log(max(unexplained, 1e-12)))


def _entropy(column: Column, values: np.ndarray) -> float:
    """The entropy of values (N,) of a column in nats, by the distances of every m-th of them.

    Reference: Vasicek, A test for normality based on sample entropy, 1976.
    """
    step = column.step or 0.0
    noise = np.random.default_rng(0).random(len(values))
    x, m = np.sort(values + step * noise), max(int(len(values) ** 0.5), 1)
    gaps = np.maximum(x[m:] - x[:-m], 1e-12 * max(float(np.ptp(x)), 1e-300))
    entropy = float(np.log(gaps * len(x) / m).mean())
    if not column.heaps:
        return entropy
    shares = np.array(column.heaps)
    places = np.rint((values - column.origin) / step).astype(int) % len(shares)
    return entropy - float(np.log(shares[places] * len(shares)).mean())


def _holding(
    schema: TableSchema, inequalities: Sequence[Inequality], tables: Sequence[Tables], drop: bool
) -> Iterator[Inequality]:
    """The inequalities that hold in all rows of the tables."""
    left = list(inequalities)
    for table in tables if left else ():
        for rows in rows_of(schema, table, drop, PIECE):
            left = [rule for rule in left if not rule.is_broken(rows, schema.columns).any()]
    yield from left
