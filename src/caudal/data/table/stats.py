"""What one streaming pass learns of a column, in memory that does not grow with the rows."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from caudal.data.column import MAX_LEVELS, Column
from caudal.data.splits import hash_rows

MAX_DECIMALS = 4
SAMPLE = 1 << 16


@dataclass
class Stats:
    """Counts, levels and, for numbers, moments, decimals and a sample of one column.

    After `close`, further tables widen what the column can hold (its ends, levels, decimals and
    gaps) and no longer change what it looks like (count, moments, sample).
    """

    file: str = ""  # the first that was read
    rows: int = 0  # including those without a value
    missing: int = 0
    count: int = 0  # values taken in
    words: int = 0  # texts that are no numbers
    first_word: tuple[str, str] | None = None  # place and value of the first of them
    first_gap: tuple[str, int] | None = None  # file and row of the first missing value
    levels: dict[Any, int] | None = field(default_factory=dict)  # None: too many
    low: float = float("inf")
    high: float = float("-inf")
    decimals: int | None = 0  # all values are multiples of 10^-decimals; None if of no such step
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    sample: np.ndarray = field(default_factory=lambda: np.empty(0))
    keys: np.ndarray = field(default_factory=lambda: np.empty(0))
    n_levels: int | None = None  # different values in the table to train on
    closed: bool = False

    @property
    def skewness(self) -> float:
        """Third standardised moment, 0 for a constant."""
        variance = self.m2 / max(self.count, 1)
        return 0.0 if variance <= 0 else self.m3 / self.count / variance**1.5

    @property
    def ties(self) -> float:
        """Share of the sampled values that repeat another one."""
        return 1.0 - len(np.unique(self.sample)) / max(len(self.sample), 1)

    @property
    def all_different(self) -> bool:
        """Whether no value occurs twice in the table to train on."""
        levels = len(self.levels) if self.n_levels is None and self.levels else self.n_levels
        return levels == self.count

    def close(self) -> None:
        """Values that are added after this come from other tables than the one to train on."""
        self.closed = True
        self.n_levels = None if self.levels is None else len(self.levels)

    def few(self, most: int) -> np.ndarray:
        """At most `most` of the sampled values, a fair choice of them."""
        return self.sample[np.argsort(self.keys, kind="stable")[:most]]

    def add_gaps(self, gaps: np.ndarray, file: str, first_row: int) -> None:
        """Counts rows, and those without a value, of which `gaps` (N,) is the mask."""
        self.file = self.file or file
        self.rows += len(gaps)
        count = int(gaps.sum())
        self.missing += count
        if count and self.first_gap is None:
            self.first_gap = (file, first_row + int(gaps.argmax()))

    def add_levels(self, levels: list[Any], counts: list[int]) -> None:
        """Counts how often each value occurs, until there are too many values to be categories."""
        if self.levels is None or len(levels) > MAX_LEVELS:
            self.levels = None
            return
        for level, count in zip(levels, counts, strict=True):
            self.levels[level] = self.levels.get(level, 0) + count
        if len(self.levels) > MAX_LEVELS:
            self.levels = None

    def add_numbers(self, values: np.ndarray, rows: np.ndarray, resolution: float) -> None:
        """Takes in numbers (N,) without NaN, their row numbers, and their type's precision."""
        if len(values) == 0:
            return
        if self.levels is not None:
            levels, counts = np.unique(values, return_counts=True)
            self.add_levels(levels.tolist(), counts.tolist())
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self._add_decimals(values, resolution)
        if not self.closed:
            self._add_moments(values, self.count)
            self._add_sample(values, rows)
            self.count += len(values)

    def _add_moments(self, values: np.ndarray, before: int) -> None:
        # Pebay, "Formulas for robust, one-pass parallel computation", 2008, eqs. 2.1-2.3.
        n, mean = len(values), float(values.mean())
        centred = values - mean
        m2, m3 = float((centred**2).sum()), float((centred**3).sum())
        total, delta = before + n, mean - self.mean
        self.m3 += m3 + delta**3 * before * n * (before - n) / total**2
        self.m3 += 3 * delta * (before * m2 - n * self.m2) / total
        self.m2 += m2 + delta**2 * before * n / total
        self.mean += delta * n / total

    def _add_decimals(self, values: np.ndarray, resolution: float) -> None:
        while self.decimals is not None and not _on_grid(values, self.decimals, resolution):
            self.decimals = self.decimals + 1 if self.decimals < MAX_DECIMALS else None

    def _add_sample(self, values: np.ndarray, rows: np.ndarray) -> None:
        # The rows with the smallest hashes are a fair sample, however the file is sorted.
        sample = np.concatenate([self.sample, values])
        keys = np.concatenate([self.keys, hash_rows(rows, 0)])
        if len(keys) > SAMPLE:
            kept = np.sort(np.argpartition(keys, SAMPLE)[:SAMPLE])
            sample, keys = sample[kept], keys[kept]
        self.sample, self.keys = sample, keys


def _on_grid(values: np.ndarray, decimals: int, resolution: float) -> bool:
    """Whether all values are multiples of 10^-decimals, to the precision of their type."""
    scaled = values * 10.0**decimals
    away = np.abs(scaled - np.rint(scaled))
    if decimals == 0:
        return bool((away == 0).all())
    error = 2 * resolution * np.abs(scaled)
    # Where a type hardly tells neighbouring grid points apart, every value looks like one.
    return bool((error < 0.02).all() and (away <= error + 1e-12).all())


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
