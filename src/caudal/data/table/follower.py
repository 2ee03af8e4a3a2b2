"""Columns that follow from others: they are modelled once, and computed in samples."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from caudal.data.schema import Column
from caudal.data.table.convert import Place, encode_columns
from caudal.data.table.decode import decode_column, into_support
from caudal.errors import InputError
from caudal.fields import check_fields

_DIGITS = 10  # decimals of what is computed of numbers without steps
_NEAR, _ZERO = 1e-6, 1e-12  # how far two numbers of a list that are the same are apart


@dataclass(frozen=True)
class Follower:
    """A column whose values are those of other columns of the row, by a rule.

    The rule is a sum, `y = constant + sum_i slopes_i x_i`, or the product of the user's numbers,
    either rounded to the steps of the column; or a list, with a value of y for each value of one
    other column. All are numbers as rows have them: codes of categories, and numbers counted from
    the `offset` of their column.

    Attributes:
        column: what y is; it has no ends, which are those that the rule gives it.
        sources: the names of the others.
        why: the rule as a phrase after the name of the column: "is a + b", "follows from city".
        slopes: of a sum, one for each source.
        constant: of a sum.
        keys: of a list, the values of the source, ascending.
        values: of a list, those of y.
        offsets: of a product, that of each source.
        levels: of a product, the numbers that the codes of each source are; none for numbers.
    """

    column: Column
    sources: tuple[str, ...]
    why: str
    slopes: tuple[float, ...] = ()
    constant: float = 0.0
    keys: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    offsets: tuple[float, ...] = ()
    levels: tuple[tuple[float, ...], ...] = ()

    @property
    def name(self) -> str:
        """The user's name for the column."""
        return self.column.name

    @property
    def is_list(self) -> bool:
        """Whether the rule is a list."""
        return not self.slopes and not self.offsets

    def of(self, sources: np.ndarray) -> np.ndarray:
        """What sources (N, S) make of the column (N,), NaN where one of them is missing.

        A value that is not in the list has that of the nearest which is.
        """
        if not self.is_list:
            return self._on_steps(self.exact(sources))
        x = sources[:, 0]
        return np.where(np.isnan(x), np.nan, np.array(self.values)[_nearest(self.keys, x)])

    def is_broken(self, values: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Which values (N,) are not what sources (N, S) make of the column; gaps break nothing."""
        if not self.is_list:
            off = np.abs(values - self.exact(sources))
            return off > self.tolerance(sources) + 0.75 * (self.column.step or 0.0)
        keys, x = np.array(self.keys), sources[:, 0]
        known = _same_key(x, keys[_nearest(keys, x)]) & ~np.isnan(values)
        return known & ~_same(values, self.of(sources), _NEAR)

    def _on_steps(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers (N,) on the steps of the column, halves up."""
        if (step := self.column.step) is None:
            return numbers
        # What is a half but for the rounding errors of a sum is one.
        return np.asarray(np.floor(numbers / step + 0.5 + 1e-7) * step)

    def exact(self, sources: np.ndarray) -> np.ndarray:
        """The sum or the product (N,) of sources (N, S), before it is rounded."""
        if self.slopes:
            return np.asarray(self.constant + sources @ np.array(self.slopes))
        factors = [self._factor(k, values) for k, values in enumerate(sources.T)]
        return np.asarray(np.prod(factors, 0) - self.column.offset)

    def _factor(self, k: int, values: np.ndarray) -> np.ndarray:
        """Values (N,) of a factor as the user has them, NaN for a category that is new."""
        if not (levels := np.array(self.levels[k])).size:
            return values + self.offsets[k]
        known = np.isfinite(values) & (values >= 0) & (values < len(levels))
        return np.where(known, levels[np.where(known, values, 0).astype(int)], np.nan)

    def tolerance(self, sources: np.ndarray) -> np.ndarray:
        """The error of a sum or a product of numbers in 32 bits (N,)."""
        if not self.slopes:
            return 4e-7 * (np.abs(self.exact(sources)) + abs(self.column.offset))
        return 4e-7 * (abs(self.constant) + np.abs(sources) @ np.abs(np.array(self.slopes)))

    def solved(
        self, k: int, values: np.ndarray, sources: np.ndarray, source: Column
    ) -> np.ndarray:
        """What source k must be in rows (N, S) of the others, for values (N,) of the column.

        NaN where no value of the source makes that of the column, or more than one may: a rounded
        sum tells a source whose steps make at least its own.
        """
        if not self.slopes:
            return self._factored(k, values, sources, source)
        slope, step = self.slopes[k], self.column.step
        if step is not None and abs(slope) * (source.step or 0.0) < step * (1 - 1e-9):
            return np.full(len(values), np.nan)
        rest = self.constant + np.delete(sources, k, 1) @ np.delete(np.array(self.slopes), k)
        # Halves are rounded up: of two values that are as near, the sum of one is below.
        x = into_support(source, (values - 1e-3 * (step or 0.0) - rest) / slope)
        if step is None:
            wanted = sources.copy()
            wanted[:, k] = x
            return np.where(self.is_broken(values, wanted), np.nan, x)
        made = self._on_steps(rest + slope * x)
        return np.where(np.abs(made - values) < 1e-3 * step, x, np.nan)

    def ends(self, k: int, values: np.ndarray, sources: np.ndarray) -> np.ndarray:
        """Between what source k lies in rows (N, S) of the others, for values (N,): (N, 2).

        NaN where the column does not tell.
        """
        # Halves are rounded up: of two values that are as near, the sum of one is below.
        y = values[:, None] + np.array([-0.5, 0.498]) * (self.column.step or 0.0)
        if self.slopes:
            rest = np.delete(sources, k, 1) @ np.delete(np.array(self.slopes), k)
            return np.sort((y - self.constant - rest[:, None]) / self.slopes[k], 1)
        rest = np.prod([self._factor(i, x) for i, x in enumerate(sources.T) if i != k], 0)
        rest = np.where((rest == 0) | bool(self.levels[k]), np.nan, rest)
        return np.sort((y + self.column.offset) / rest[:, None] - self.offsets[k], 1)

    def _factored(
        self, k: int, values: np.ndarray, sources: np.ndarray, source: Column
    ) -> np.ndarray:
        """What factor k must be, as `solved` has it."""
        others = [self._factor(i, x) for i, x in enumerate(sources.T) if i != k]
        rest, step = np.prod(others, 0), self.column.step or 0.0
        if levels := self.levels[k]:
            made = np.stack([rest * level for level in levels], 1) - self.column.offset
            near = np.abs(made - values[:, None]) <= 0.5 * step + 1e-6 * np.abs(made)
            return np.where(near.sum(1) == 1, near.argmax(1), np.nan)
        with np.errstate(divide="ignore", invalid="ignore"):
            exact = (values + self.column.offset) / rest - self.offsets[k]
        told = (rest != 0) & (np.abs(rest) * (source.step or 0.0) >= step * (1 - 1e-9))
        x = into_support(source, np.where(told & np.isfinite(exact), exact, 0.0))
        wanted = sources.copy()
        wanted[:, k] = x
        return np.where(told & ~self.is_broken(values, wanted), x, np.nan)

    def give_back(self, value: float, sources: Sequence[Column]) -> float | None:
        """The value of its one source, as rows have them, that makes a value of the column.

        None if there are several sources, or not exactly one such value.
        """
        if len(sources) > 1:
            return None
        if self.slopes:
            (x,) = self.solved(0, np.array([value]), np.zeros((1, 1)), sources[0])
            return None if np.isnan(x) else float(x)
        keys = self.keys_of(value)
        return keys[0] if len(keys) == 1 else None

    def keys_of(self, value: float) -> list[float]:
        """The values of the source that make a value of the column, by a list."""
        levels = np.unique(self.values)
        near = levels[_nearest(levels, np.array([value]))[0]]
        if not _same(value, near):
            return []
        return [k for k, v in zip(self.keys, self.values, strict=True) if v == near]

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Follower":
        """The one that `dataclasses.asdict` described, perhaps through JSON.

        Raises:
            InputError: a value is of another type, or it is no rule of its sources.
        """
        values = {name: _tuples(value) for name, value in data.items()}
        follower = cls(**{**values, "column": Column.from_dict(data["column"])})
        check_fields(follower, skip=("column",))
        if not follower._is_whole():
            raise InputError(f"column '{follower.name}': it has no rule that its sources have")
        return follower

    def _is_whole(self) -> bool:
        """Whether a rule says something of each of the sources, or a list of its one source."""
        n, keys = len(self.sources), len(self.keys)
        if self.is_list:
            return n == 1 and 0 < keys == len(self.values)
        if self.slopes:
            return n == len(self.slopes)
        return n == len(self.offsets) == len(self.levels)


def _tuples(value: Any) -> Any:
    """A value with tuples in the place of lists, at any depth."""
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _nearest(levels: Sequence[float] | np.ndarray, x: np.ndarray) -> np.ndarray:
    """The places (N,) of the nearest of the levels, ascending, to x (N,)."""
    levels = np.asarray(levels)
    right = np.searchsorted(levels, x).clip(min(1, len(levels) - 1), len(levels) - 1)
    left = (right - 1).clip(0)
    return np.where(x - levels[left] <= levels[right] - x, left, right)


def _same(x: np.ndarray | float, level: np.ndarray, zero: float = _ZERO) -> np.ndarray:
    """Whether numbers are the same but for what 32 bits and steps make of them; NaN never is.

    Two whole numbers are the same if they are equal, or if 32 bits make one of the other.
    """
    with np.errstate(over="ignore"):
        whole = (x == level) | (np.float32(x) == level) | (x == np.float32(level))
    return np.where(_whole(x, level), whole, np.isclose(x, level, rtol=_NEAR, atol=zero))


def _same_key(x: np.ndarray, key: np.ndarray) -> np.ndarray:
    """Whether numbers are the same but for what steps make of them; whole ones must be equal."""
    return np.where(_whole(x, key), x == key, np.isclose(x, key, rtol=_NEAR, atol=_ZERO))


def _whole(x: np.ndarray | float, level: np.ndarray) -> np.ndarray:
    return np.asarray((np.floor(x) == x) & (np.floor(level) == level))


def without_ends(column: Column) -> Column:
    """A column whose values a rule gives: its steps stay, its ends and its atoms do not."""
    if column.categories is not None:
        return column
    kind = column.kind if column.kind in ("integer", "datetime") else "real"
    by = column.origin if column.step else 0.0
    free = replace(column, kind=kind, low=None, high=None, atoms=(), whole=None, heaps=())
    return replace(free, offset=column.offset + by)


def sources_of(follower: Follower, columns: Sequence[Column]) -> list[Column]:
    """The columns that a follower follows, in its order."""
    by_name = {column.name: column for column in columns}
    return [by_name[name] for name in follower.sources]


def add_followers(
    table: pa.Table, followers: Sequence[Follower], columns: Sequence[Column]
) -> pa.Table:
    """A table of the user's columns with those that follow from them on its right."""
    known = (*columns, *(follower.column for follower in followers))
    for follower in followers:
        sources = encode_columns(sources_of(follower, known), table, Place())
        values = follower.of(sources)
        if follower.column.step is None and not follower.is_list:
            values = np.round(values, _DIGITS)
        table = table.append_column(follower.name, decode_column(follower.column, values))
    return table
