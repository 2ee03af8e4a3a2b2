"""Columns that are never below others: a flow sees what they are above these."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from annotated_types import MinLen

from caudal.data.schema import Column
from caudal.errors import InputError
from caudal.fields import check_fields, check_value

_HALF = 0.5  # steps, and a share of 1e-6 of a number, within which two are not told apart


@dataclass(frozen=True)
class Inequality:
    """A column of which no value is below those of others in its row, its sources.

    Rows hold the column itself, and so do samples and files. What a flow sees in its place is the
    difference from the largest of the sources, which is never negative.

    Attributes:
        column: what the difference is, under the name of the column: from 0 up, in the steps that
            both have, with heaps of its own.
        sources: the names of the others, which have no gaps.
    """

    column: Column
    sources: tuple[str, ...]

    @property
    def name(self) -> str:
        """The user's name for the column."""
        return self.column.name

    @property
    def why(self) -> str:
        """The rule as a phrase after the name of the column."""
        return f"is never below {' or '.join(self.sources)}"

    def places(self, columns: Sequence[Column]) -> tuple[int, list[int], list[float]]:
        """Where the column and its sources stand, and what counts their numbers from one point."""
        names = [column.name for column in columns]
        j, sources = names.index(self.name), [names.index(name) for name in self.sources]
        return j, sources, [columns[j].offset - columns[i].offset for i in sources]

    def differences(self, rows: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
        """By how much the column is above its sources in rows (N, D) of the columns, (N,)."""
        j, sources, shifts = self.places(columns)
        above: np.ndarray = (rows[:, [j]] - rows[:, sources] + np.array(shifts)).min(1)
        return above

    def is_broken(self, rows: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
        """Which rows (N, D) of the columns have the column below a source; gaps break nothing."""
        j, sources, _ = self.places(columns)
        size = np.abs(rows[:, [j, *sources]]).max(1)
        room = _HALF * (self.column.step or 0.0) + 1e-6 * size
        return np.asarray(self.differences(rows, columns) < -room)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Inequality":
        """The one that `dataclasses.asdict` described, perhaps through JSON.

        Raises:
            InputError: a value is of another type, or there are no sources.
        """
        rule = cls(Column.from_dict(data["column"]), tuple(data["sources"]))
        check_fields(rule, skip=("column",))
        check_value("sources", rule.sources, Annotated[tuple[str, ...], MinLen(1)])
        return rule


def in_turn(inequalities: Sequence[Inequality]) -> tuple[Inequality, ...]:
    """The inequalities, each after those of its sources.

    Raises:
        InputError: columns are never below each other.
    """
    left, done = {rule.name: rule for rule in inequalities}, list[Inequality]()
    while left:
        ready = [n for n, o in left.items() if left.keys().isdisjoint(o.sources)]
        if not ready:
            raise InputError(
                f"`types_from`: {', '.join(left)}: each is `above` another one: take one out"
            )
        for name in ready:
            done.append(left.pop(name))
    return tuple(done)
