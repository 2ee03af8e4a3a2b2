"""What is known of a column after some of its values."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data.schema import MAX_LEVELS
from caudal.data.table.lattice import Lattice

SAMPLE = 1 << 16
FEW_WORDS = 5  # kinds of words among numbers that are told apart


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
    kinds_of_words: Counter[str] | None = field(default_factory=Counter)  # None: more than a few
    padded: bool = False  # whether a number begins with zeros, as codes do
    odd: int = 0  # texts that are not in the form of their column
    first_odd: tuple[str, str] | None = None  # place and value of the first of them
    first_gap: tuple[str, int] | None = None  # file and row of the first missing value
    order: list[Any] = field(default_factory=list)  # of the categories, if their type has one
    levels: dict[Any, int] | None = field(default_factory=dict)  # None: too many
    low: float = float("inf")
    high: float = float("-inf")
    lattice: Lattice = field(default_factory=Lattice)
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    sample: np.ndarray = field(default_factory=lambda: np.empty(0))
    keys: np.ndarray = field(default_factory=lambda: np.empty(0))
    n_levels: int | None = None  # different values in the table to train on
    rising: bool = True  # whether each number is above the one before
    last: float = float("-inf")
    counting: bool = False  # whether they are successive whole numbers
    closed: bool = False

    @property
    def skewness(self) -> float:
        """Third standardised moment, 0 for a constant."""
        variance = self.m2 / max(self.count, 1)
        return 0.0 if variance <= 0 else self.m3 / self.count / variance**1.5

    @property
    def decimals(self) -> int | None:
        """How many decimals all values have, None if too many."""
        return self.lattice.decimals

    @property
    def steps(self) -> tuple[float, float] | None:
        """The step of the lattice that all values lie on, and its first point from 0 on."""
        return self.lattice.of(MAX_LEVELS if self.levels is None else len(self.levels))

    @property
    def rounded(self) -> np.ndarray:
        """The sampled values, rounded to the decimals that all have, if any."""
        return self.sample if self.decimals is None else np.round(self.sample, self.decimals)

    @property
    def ties(self) -> float:
        """Share of the sampled values that repeat another one."""
        return 1.0 - len(np.unique(self.rounded)) / max(len(self.sample), 1)

    @property
    def all_different(self) -> bool:
        """Whether no value occurs twice in the table to train on."""
        levels = len(self.levels) if self.n_levels is None and self.levels else self.n_levels
        return levels == self.count

    def close(self) -> None:
        """Values that are added after this come from other tables than the one to train on."""
        self.closed = True
        self.n_levels = None if self.levels is None else len(self.levels)
        successive = self.rising and self.high - self.low == self.count - 1
        self.counting = successive and self.count > 1 and self.decimals == 0

    def few(self, most: int) -> np.ndarray:
        """At most `most` of the sampled values, chosen evenly."""
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

    def add_numbers(self, values: np.ndarray, keys: np.ndarray, resolution: float) -> None:
        """Takes in numbers (N,) without NaN, hashes of their rows, and their type's precision."""
        if len(values) == 0:
            return
        if self.levels is not None:
            self.add_levels(*_counted(values))
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self.lattice.add(values, resolution)
        if not self.closed:
            self._add_moments(values, self.count)
            self._add_sample(values, keys)
            self.count += len(values)
            self.rising = self.rising and bool((np.diff(values, prepend=self.last) > 0).all())
            self.last = float(values[-1])

    def add_words(self, words: pa.Array, counts: pa.Array) -> None:
        """Counts the different texts that are no numbers, as long as they are few."""
        self.words += pc.sum(counts).as_py() or 0
        if self.kinds_of_words is None:
            return
        trimmed = pc.utf8_trim_whitespace(words)
        if len(trimmed) <= FEW_WORDS or len(pc.unique(trimmed)) <= FEW_WORDS:
            for word, count in zip(trimmed.to_pylist(), counts.to_pylist(), strict=True):
                self.kinds_of_words[word] += count
            if len(self.kinds_of_words) <= FEW_WORDS:
                return
        self.kinds_of_words = None

    def _add_moments(self, values: np.ndarray, before: int) -> None:
        # Pebay, "Formulas for robust, one-pass parallel computation", 2008, eqs. 2.1-2.3.
        n, mean = len(values), float(values.mean())
        centred = values - mean
        squares = centred * centred
        m2, m3 = float(squares.sum()), float((squares * centred).sum())
        total, delta = before + n, mean - self.mean
        self.m3 += m3 + delta**3 * before * n * (before - n) / total**2
        self.m3 += 3 * delta * (before * m2 - n * self.m2) / total
        self.m2 += m2 + delta**2 * before * n / total
        self.mean += delta * n / total

    def _add_sample(self, values: np.ndarray, keys: np.ndarray) -> None:
        # The rows with the smallest hashes are a fair sample, however the file is sorted.
        if len(self.keys) == SAMPLE:
            nearer = keys < self.keys.max()
            values, keys = values[nearer], keys[nearer]
        sample, keys = np.concatenate([self.sample, values]), np.concatenate([self.keys, keys])
        if len(keys) > SAMPLE:
            kept = np.sort(np.argpartition(keys, SAMPLE)[:SAMPLE])
            sample, keys = sample[kept], keys[kept]
        self.sample, self.keys = sample, keys


def _counted(values: np.ndarray) -> tuple[list[float], list[int]]:
    """The different numbers of some (N,) in their order, and how often each occurs."""
    counted = pa.array(values + 0.0).value_counts()  # -0 is 0
    levels, counts = (counted.field(i).to_numpy() for i in (0, 1))
    order = levels.argsort()
    return levels[order].tolist(), counts[order].tolist()
