"""Which kind of column the values look like.

Guessed supports are wide: the density is 0 outside of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from caudal.data.schema import Column
from caudal.data.table.convert import show
from caudal.data.table.decide import constant, refusal, too_many
from caudal.data.table.declare import LATTICE_LIMIT, Declared
from caudal.data.table.passed import PassedOver
from caudal.data.table.survey import Stats, is_numeric
from caudal.errors import InputError

MATERIAL = 0.01  # share of the different values that may become equal to another one
FEW = 1024  # among many values without a lattice some always coincide, among so few hardly any
SKEWED = 2.0
TIED = 0.5
PASSED = "passed over"


def make_column(
    name: str,
    dtype: pa.DataType,
    stats: Stats,
    declared: Declared | None,
    gaps: bool,
    marks: tuple[str, ...] = (),
) -> Column:
    """The column that was declared, or else the one that its values look like.

    Args:
        name: of the column.
        dtype: its type.
        stats: what its values are like.
        declared: what the user says that it is.
        gaps: whether values may be missing.
        marks: texts that stand for missing numbers; a column that has some is one of numbers.

    Raises:
        InputError: the column is constant, has too many categories, or numbers that become equal
            in 32 bits.
    """
    if not marks and not is_numeric(dtype, declared):
        return _categorical(name, dtype, stats, gaps)
    column = _declared(declared, stats) if declared else _guessed(stats, gaps)
    if column.kind == "categorical":
        return _categorical(name, dtype, stats, gaps)
    # A declared lattice gets rounding noise, so that even a constant has a density.
    if stats.low == stats.high and not (declared and column.step):
        raise refusal(stats.file, constant(name, dtype, stats), stats)
    if pa.types.is_dictionary(dtype):  # samples may have more values than its index type can count
        dtype = dtype.value_type
    support = (column.kind, column.low, column.high, column.step)
    made = Column(name, *support, missing=gaps, dtype=str(dtype), marks=marks)
    check_resolution(made, stats)
    return made


def _declared(declared: Declared, stats: Stats) -> Declared:
    if declared.kind == "integer" and declared.low is declared.high is None:
        return Declared("integer", _lower(stats), None, declared.step)
    return declared


def _lower(stats: Stats) -> float | None:
    return 0.0 if stats.low >= 0 else None


def _guessed(stats: Stats, gaps: bool) -> Declared:
    levels = len(stats.levels or ())
    if levels == 2 or (levels == 1 and gaps):
        return Declared("categorical")
    largest = max(abs(stats.low), abs(stats.high))
    skewed = stats.low > np.finfo(np.float32).tiny and stats.skewness > SKEWED
    decimals = stats.decimals
    if decimals is not None and largest * 10.0**decimals <= LATTICE_LIMIT:
        if decimals == 0:
            return Declared("integer", _lower(stats), None, 1.0)
        if stats.ties > TIED:
            step = 10.0**-decimals
            kind, low = ("positive", 0.0) if skewed else ("real", _lower(stats))
            return Declared(kind, low, None, step)
    if skewed:
        return Declared("positive", 0.0)
    if stats.low >= 0 and stats.high <= 1:
        return Declared("interval", 0.0, 1.0)
    return Declared("real")


def notes_on(columns: Sequence[Column], stats: Mapping[str, Stats]) -> list[str]:
    """Notes on the columns: ties in continuous ones, words among numbers."""
    lines = []
    tied = [c.name for c in columns if c.step is None and stats[c.name].ties > TIED]
    if tied:
        lines.append(
            f"continuous columns whose values often repeat: {', '.join(tied)}; a density can grow "
            f"at such values without limit: declare a step, such as `types` {tied[0]}=real:0.1"
        )
    for column in columns:
        seen = stats[column.name]
        if seen.first_word and seen.words < seen.count / 2:
            cell, word = seen.first_word
            lines.append(
                f"{cell} is {show(word)} though most values there are numbers: the column is "
                f"taken as categories"
            )
    return lines


def _categorical(name: str, dtype: pa.DataType, stats: Stats, gaps: bool) -> Column:
    levels = stats.levels
    if levels is None:
        raise refusal(stats.file, too_many(name, dtype, stats), stats)
    if len(levels) + gaps == 1:
        raise refusal(stats.file, constant(name, dtype, stats), stats)
    values = (*_in_type(sorted(levels), dtype), *((None,) if gaps else ()))
    return Column.of_categories(name, values, str(dtype))


def _in_type(levels: list, dtype: pa.DataType) -> list:
    """Numbers as the user has them: 1, and not 1.0, where the type is an integer."""
    return [int(level) for level in levels] if pa.types.is_integer(dtype) else levels


def check_resolution(column: Column, stats: Stats) -> None:
    """Refuses numbers that would become equal in 32 bits, in which rows are kept."""
    largest = max(abs(stats.low), abs(stats.high))
    where = f"{stats.file}, column '{column.name}'"
    if column.step and largest > column.step * LATTICE_LIMIT:
        raise InputError(
            f"{where}: 32 bits cannot tell steps of {column.step:g} apart at values such as "
            f"{largest:.12g}: {_advice(stats)}"
        )
    values = np.unique(stats.sample if stats.decimals is not None else stats.few(FEW))
    kept = len(np.unique(values.astype(np.float32)))
    if kept == 1 < len(values):
        raise InputError(
            f"{where} is constant in 32 bits (between {stats.low:.17g} and {stats.high:.17g}): "
            f"{_advice(stats)}"
        )
    if len(values) - kept > MATERIAL * len(values):
        raise InputError(
            f"{where}: of {len(values)} different values such as {stats.high:.17g} 32 bits tell "
            f"only {kept} apart: {_advice(stats)}"
        )


def _advice(stats: Stats) -> str:
    return f"subtract an offset such as {stats.low:.12g} first, or give it in other units"


@dataclass(frozen=True)
class Summary:
    """One column in words and numbers.

    Attributes:
        name: the column.
        role: event, context, or passed over.
        kind: its kind.
        source: guessed or declared; of a column that is passed over, what samples have there.
        support: such as `[0, inf)` or `7 categories`.
        step: lattice spacing, None for continuous and categorical columns.
        missing: share of the rows without a value, 0..1.
        gaps: what becomes of them: "modelled", or "dropped" with their rows; empty without any.
        change: the argument that decides otherwise, where something was decided.
        why: what a column that is passed over is like.
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
    gaps: str = ""
    change: str = ""
    why: str = ""
    low: float | None = None
    median: float | None = None
    high: float | None = None
    top: tuple[tuple[str, float], ...] = ()

    @property
    def values(self) -> str:
        """The values on one line: `low .. median .. high`, or the top categories."""
        if self.low is not None:
            return f"{self.low:.6g} .. {self.median:.6g} .. {self.high:.6g}"
        if self.why:
            return self.why
        return ", ".join(f"{level} {share:.0%}" for level, share in self.top)


def summarize(
    column: Column, stats: Stats, is_context: bool, is_declared: bool, dropped: bool
) -> Summary:
    """The summary of a column, from what the survey saw; its gaps may be dropped."""
    gaps = "" if not stats.missing else "dropped" if dropped else "modelled"
    change = {"dropped": '`missing="model"`', "modelled": '`missing="drop"`', "": ""}[gaps]
    if column.marks:
        change = "`types`"
    head = Summary(
        name=column.name,
        role="context" if is_context else "event",
        kind=column.kind,
        source="declared" if is_declared else "guessed",
        support=column.support,
        step=None if column.categories is not None else column.step,
        missing=stats.missing / max(stats.rows, 1),
        gaps=gaps,
        change=change,
    )
    if column.categories is not None:
        return replace(head, top=_top(stats))
    return replace(head, low=stats.low, median=float(np.median(stats.sample)), high=stats.high)


def summarize_passed(passed: PassedOver, stats: Stats | None) -> Summary:
    """The summary of a column that is passed over."""
    missing = stats.missing / max(stats.rows, 1) if stats else 0.0
    change = "`types`" if stats and stats.count else ""
    head = (passed.name, PASSED, "", passed.back, "", None)
    return Summary(*head, missing=missing, change=change, why=passed.why)


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
