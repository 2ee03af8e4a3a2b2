"""The pass over a table that finds out what its columns are like, before training."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from caudal.data import dtypes
from caudal.data.schema import MAX_LEVELS
from caudal.data.splits import hash_rows
from caudal.data.table.cells import Form
from caudal.data.table.convert import NUMBER, Place, gaps_in, to_numbers, without_marks
from caudal.data.table.declare import Declared, outside
from caudal.data.table.lattice import Lattice
from caudal.data.table.tables import Tables
from caudal.data.temporal import is_modelled
from caudal.errors import InputError

SAMPLE = 1 << 16
FEW_WORDS = 5  # kinds of words among numbers that are told apart
_PADDED = r"^\s*[+-]?0\d"


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
    order: list[Any] = field(default_factory=list)  # of categories whose type has one
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


class Survey(NamedTuple):
    """What a pass over tables found.

    Attributes:
        stats: of each column.
        patterns: how many rows have gaps in exactly these columns.
        rows: how many there are in all tables.
    """

    stats: dict[str, Stats]
    patterns: Counter[frozenset[str]]
    rows: int


def survey(
    tables: Sequence[Tables],
    names: Sequence[str],
    declared: Mapping[str, Declared],
    marks: Mapping[str, Collection[str]] | None = None,
    forms: Mapping[str, Form] | None = None,
    whole: Collection[str] = (),
) -> Survey:
    """One streaming pass over all tables, into `Stats` for each name.

    What a column looks like is judged by the first table alone; what it can hold (its ends,
    categories and gaps) by all of them.

    Args:
        tables: the file to train on, and those for validation and test if given.
        names: the columns to look at.
        declared: what the user says they are; values that contradict it are refused.
        marks: texts that stand for missing numbers, by the name of their column, which is read as
            numbers then.
        forms: of columns of text that are read as dates or numbers; what is not in its form is
            missing.
        whole: columns without whose value a row is ignored.

    Raises:
        InputError: a value is infinite, no number, or outside the declared support.
    """
    columns = {name: Stats() for name in names}
    patterns: Counter[frozenset[str]] = Counter()
    for table in tables:
        for chunk in table.chunks(names):
            place = Place(table.name, chunk.first + 1, declarable=True)
            rows = without_marks(chunk.table, marks or {})
            rows = _read(columns, rows, forms or {}, place)
            gaps = {name: gaps_in(rows[name]) for name in names}
            patterns += _patterns(gaps)
            _add(columns, rows, gaps, declared, marks or {}, whole, place)
        for stats in columns.values():
            if not stats.closed:
                stats.close()
    return Survey(columns, patterns, sum(table.n_rows for table in tables))


def _patterns(gaps: Mapping[str, np.ndarray]) -> Counter[frozenset[str]]:
    """How many rows have gaps in exactly these columns."""
    names = [name for name, mask in gaps.items() if mask.any()]
    if not names:
        return Counter()
    masks = np.stack([gaps[name] for name in names], 1)
    found, counts = np.unique(masks[masks.any(1)], axis=0, return_counts=True)
    return Counter(
        {
            frozenset(np.array(names)[mask].tolist()): int(count)
            for mask, count in zip(found, counts, strict=True)
        }
    )


def is_numeric(dtype: pa.DataType, declared: Declared | None) -> bool:
    """Whether a column is read as numbers, by what is declared or else by its type."""
    if declared is not None and declared.kind != "categorical":
        return True
    plain = dtypes.value_type(dtype)
    return dtypes.is_number(plain) or is_modelled(plain)


def _read(
    columns: Mapping[str, Stats], table: pa.Table, forms: Mapping[str, Form], place: Place
) -> pa.Table:
    """The table with what its text stands for; what is not in a form is counted."""
    for name, form in forms.items():
        texts = dtypes.plain(table[name])
        if not dtypes.is_text(texts.type):
            continue
        values = form.read(texts)
        odd = values.null_count - texts.null_count
        if odd:
            stats = columns[name]
            at = int(np.argmax(pc.and_(pc.is_null(values), pc.is_valid(texts)).to_numpy()))
            stats.odd += odd
            stats.first_odd = stats.first_odd or (place.cell(at, name), texts[at].as_py())
        table = table.set_column(table.schema.get_field_index(name), name, values)
    return table


def _add(
    columns: Mapping[str, Stats],
    table: pa.Table,
    gaps: Mapping[str, np.ndarray],
    declared: Mapping[str, Declared],
    marks: Mapping[str, Collection[str]],
    whole: Collection[str],
    place: Place,
) -> None:
    ignored = np.logical_or.reduce([np.zeros(table.num_rows, bool), *(gaps[n] for n in whole)])
    keys = hash_rows(place.first_row + np.arange(table.num_rows), 0)
    for name, stats in columns.items():
        stats.add_gaps(gaps[name], place.file, place.first_row)
        keep = ~(ignored | gaps[name])
        column, here, near = table[name], place, keys
        if not keep.all():
            column, here, near = column.filter(pa.array(keep)), place.choose(keep), keys[keep]
        if name in marks or is_numeric(column.type, declared.get(name)):
            _add_numbers(stats, column, near, name, declared.get(name), here)
        else:
            _add_order(stats, column)
            _add_texts(stats, dtypes.plain(column), name, here)


def _add_numbers(
    stats: Stats,
    column: pa.ChunkedArray,
    keys: np.ndarray,
    name: str,
    declared: Declared | None,
    place: Place,
) -> None:
    values = to_numbers(column, name, place)
    if declared is not None:
        problem, bad = outside(declared, values)
        if bad.any():
            at = int(bad.argmax())
            raise InputError(
                f"{place.cell(at, name)}: {values[at]:g} {problem}: correct it or declare "
                f"another type"
            )
    stats.add_numbers(values, keys, float(np.finfo(dtypes.float_type(column.type)).eps))


def _add_order(stats: Stats, column: pa.ChunkedArray) -> None:
    """Takes in the order of the categories, where their type has one."""
    if pa.types.is_dictionary(column.type) and column.type.ordered:
        for chunk in column.chunks:
            known = set(stats.order)
            stats.order += [v for v in chunk.dictionary.to_pylist() if v not in known]


def _add_texts(stats: Stats, values: pa.ChunkedArray, name: str, place: Place) -> None:
    counted = values.value_counts()
    levels, counts = counted.field("values"), counted.field("counts")
    stats.add_levels(levels.to_pylist(), counts.to_pylist())
    stats.count += 0 if stats.closed else len(values)
    if dtypes.is_text(values.type) and not stats.closed:
        is_word = pc.invert(pc.match_substring_regex(levels, NUMBER))
        words = levels.filter(is_word)
        stats.add_words(words, counts.filter(is_word))
        stats.padded |= bool(pc.any(pc.match_substring_regex(levels, _PADDED)).as_py())
        if stats.first_word is None and len(words):
            first = words[0].as_py()  # levels are in the order in which they come
            at = pc.index(values, first).as_py()
            stats.first_word = (place.cell(at, name), first)
