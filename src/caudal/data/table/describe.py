"""What was found out about each column, as rows of a table to print."""

from dataclasses import dataclass, replace

import numpy as np

from caudal.data.column import Column
from caudal.data.table.stats import Stats


@dataclass(frozen=True)
class Summary:
    """One column in words and numbers.

    Attributes:
        name: the column.
        role: event or context.
        kind: its kind.
        source: guessed or declared.
        support: such as `[0, inf)` or `7 categories`.
        step: lattice spacing, None for continuous and categorical columns.
        missing: share of the rows without a value, 0..1.
        low, median, high: of the values, None for categories; where there are more than 65,536
            rows, the median is that of a sample.
        top: the most frequent categories and their shares of the rows, largest first.
    """

    name: str
    role: str
    kind: str
    source: str
    support: str
    step: float | None
    missing: float
    low: float | None = None
    median: float | None = None
    high: float | None = None
    top: tuple[tuple[str, float], ...] = ()

    @property
    def values(self) -> str:
        """The values on one line: `low .. median .. high`, or the top categories."""
        if self.low is not None:
            return f"{self.low:.6g} .. {self.median:.6g} .. {self.high:.6g}"
        return ", ".join(f"{level} {share:.0%}" for level, share in self.top)


def summarize(column: Column, stats: Stats, is_context: bool, is_declared: bool) -> Summary:
    """The summary of a column, from what the survey saw."""
    head = Summary(
        name=column.name,
        role="context" if is_context else "event",
        kind=column.kind,
        source="declared" if is_declared else "guessed",
        support=column.support,
        step=None if column.categories is not None else column.step,
        missing=stats.missing / max(stats.rows, 1),
    )
    if column.categories is not None:
        return replace(head, top=_top(stats))
    return replace(head, low=stats.low, median=float(np.median(stats.sample)), high=stats.high)


def _top(stats: Stats, most: int = 3) -> tuple[tuple[str, float], ...]:
    levels = dict(stats.levels or {})
    if stats.missing:
        levels[None] = stats.missing
    first = sorted(levels.items(), key=lambda item: -item[1])[:most]
    return tuple((_words(level), count / stats.rows) for level, count in first)


def _words(level: object) -> str:
    if level is None:
        return "missing"
    return f"{level:g}" if isinstance(level, float) else str(level)
