"""Gaps whose values follow from other columns of their row: nothing is drawn there."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from caudal.data.schema import Column
from caudal.data.table.convert import Place, encode_columns, without_marks
from caudal.data.table.decode import decode_column, into_support
from caudal.data.table.follower import Follower
from caudal.data.table.schema import TableSchema


@dataclass(frozen=True)
class Ruled:
    """What rules say of some rows of a table.

    Attributes:
        schema: of the run.
        x: the rows that a flow takes, with what their sources must be (n, D).
        solved: the mask of these gaps of the sources (n, D).
        told: the values (N,) of each follower that the table has, in all rows; NaN for a gap.
        keep: mask (N,) of the rows of the table that are in x; None if all are.
    """

    schema: TableSchema
    x: Tensor
    solved: Tensor
    told: dict[str, np.ndarray]
    keep: np.ndarray | None

    @classmethod
    def of(
        cls, schema: TableSchema, table: pa.Table, x: Tensor, keep: np.ndarray | None
    ) -> "Ruled":
        """What rules say of the rows of a table, of which x (n, D) are those that are kept."""
        there = [f for f in schema.followers if f.name in table.column_names]
        columns = [follower.column for follower in there]
        table = without_marks(table, {column.name: column.marks for column in columns})
        read = encode_columns(columns, table, Place(unseen=True))
        seen = {f.name: values for f, values in zip(there, read.T, strict=True)}
        rows, names = x.double().numpy().copy(), [column.name for column in schema.columns]
        kept = read if keep is None else read[keep]
        lists: dict[str, list[tuple[Follower, np.ndarray]]] = {}
        sums = []
        for follower, values in zip(there, kept.T, strict=True):
            if not set(follower.sources) <= set(names):
                continue
            if not follower.is_list:
                sums.append((follower, values))
            else:
                lists.setdefault(follower.sources[0], []).append((follower, values))
        for name, told in lists.items():
            _look_up(told, rows[:, names.index(name)])
        rules = [([names.index(name) for name in f.sources], f, values) for f, values in sums]
        for _ in names:  # what one rule fills may be what another one waited for
            gaps = np.isnan(rows).sum()
            for places, follower, values in rules:
                _solve(follower, values, rows, places, schema.columns)
            for place, column in enumerate(schema.columns):
                of_it = [rule for rule in rules if place in rule[0]]
                _solve_together(of_it, rows, place, column)
            if np.isnan(rows).sum() == gaps:
                break
        filled = torch.from_numpy(rows).to(x)
        return cls(schema, filled, x.isnan() & ~filled.isnan(), seen, keep)

    def everywhere(self, kept: Tensor) -> Tensor:
        """A mask (n, D) of the rows that are kept, for all rows (N, D)."""
        if self.keep is None:
            return kept
        every = kept.new_zeros(len(self.keep), kept.shape[1])
        every[torch.from_numpy(self.keep)] = kept
        return every

    def listed(self, x: Tensor, drawn: Tensor) -> Tensor:
        """Rows x (N, D) in which what was drawn, in a mask (N, D), has values that lists allow.

        What no list allows becomes the nearest value that all of them do, if there is one: a city
        that was drawn beside a country lies in it.
        """
        x, names = x.clone(), [column.name for column in self.schema.columns]
        for place, name in enumerate(names):
            lists = [f for f in self.schema.followers if f.is_list and f.sources == (name,)]
            told = [(f, self.told[f.name]) for f in lists if f.name in self.told]
            known: dict[bytes, np.ndarray] = {}
            for row in torch.nonzero(drawn[:, place]).flatten().tolist() if told else ():
                what = np.array([values[row] for _, values in told]).tobytes()
                if what not in known:
                    known[what] = np.array(sorted(_allowed(told, row)))
                if len(keys := known[what]):
                    x[row, place] = float(keys[np.abs(keys - float(x[row, place])).argmin()])
        return x

    def following(
        self, x: Tensor, drawn: Tensor
    ) -> Iterator[tuple[Column, np.ndarray, np.ndarray]]:
        """Each follower with its values in all rows x (N, D), and the mask of its gaps (N,).

        What is new of the rows, in the mask `drawn` (N, D), counts as it is written.
        """
        there = np.ones(len(x), bool) if self.keep is None else self.keep
        asked = {name for follower in self.schema.followers for name in follower.sources}
        known = {}
        each = zip(self.schema.columns, x.double().numpy().T, drawn.numpy().T, strict=True)
        for column, values, new in each:
            if column.name in asked:
                known[column.name] = np.where(there, into_support(column, values), np.nan)
                known[column.name][new] = _as_written(column, values[new])
        for follower in self.schema.followers:
            sources = np.stack([known[name] for name in follower.sources], 1)
            known[follower.name] = values = follower.of(sources)
            gaps = np.isnan(self.told.get(follower.name, np.zeros(len(x)))) & ~np.isnan(values)
            if gaps.any():
                values[gaps] = _as_written(follower.column, values[gaps])
                yield follower.column, values, gaps


def _as_written(column: Column, values: np.ndarray) -> np.ndarray:
    """Values (n,) as they are read again once they are written."""
    table = pa.table([decode_column(column, values)], names=[column.name])
    return encode_columns([column], table, Place())[:, 0]


def _solve(
    follower: Follower,
    values: np.ndarray,
    rows: np.ndarray,
    places: list[int],
    columns: tuple[Column, ...],
) -> None:
    """Fills the one gap among the sources of a row (n, D) of which the follower is known."""
    sources = rows[:, places]
    lone = (np.isnan(sources).sum(1) == 1) & ~np.isnan(values)
    for k, place in enumerate(places):
        at = np.flatnonzero(lone & np.isnan(sources[:, k]))
        rows[at, place] = follower.solved(k, values[at], sources[at], columns[place])


def _solve_together(
    rules: list[tuple[list[int], Follower, np.ndarray]],
    rows: np.ndarray,
    place: int,
    column: Column,
) -> None:
    """Fills gaps of a source by the middle of what all of its rules leave, if that keeps them."""
    at = np.flatnonzero(np.isnan(rows[:, place]))
    low, high = np.full(len(at), -np.inf), np.full(len(at), np.inf)
    for places, follower, values in rules:
        ends = follower.ends(places.index(place), values[at], rows[at][:, places])
        low, high = np.fmax(low, ends[:, 0]), np.fmin(high, ends[:, 1])
    told = np.isfinite(low) & np.isfinite(high) & (low <= high)
    at = at[told]
    rows[at, place] = into_support(column, (low[told] + high[told]) / 2)
    for places, follower, values in rules:
        sources, step = rows[at][:, places], follower.column.step
        if step is None:
            broken = follower.is_broken(values[at], sources)
        else:  # to the step itself
            broken = np.abs(follower.of(sources) - values[at]) > 1e-3 * step
        rows[at[broken], place] = np.nan


def _look_up(told: list[tuple[Follower, np.ndarray]], source: np.ndarray) -> None:
    """Fills the gaps of a source (n,) where lists, all together, leave it one value."""
    for row in np.flatnonzero(np.isnan(source)).tolist():
        keys = _allowed(told, row)
        if len(keys) == 1:
            source[row] = keys.pop()


def _allowed(told: list[tuple[Follower, np.ndarray]], row: int) -> set[float]:
    """The values of a source that make, by all of its lists, what is known of a row."""
    known = [(f, float(values[row])) for f, values in told if not np.isnan(values[row])]
    may = [set(follower.keys_of(value)) for follower, value in known]
    return set.intersection(*may) if may else set()
