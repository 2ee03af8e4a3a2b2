"""Which kind of column the values look like.

Guessed supports are wide: the density is 0 outside of them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from caudal.data import dtypes
from caudal.data.schema import Column
from caudal.data.table.cells import Form
from caudal.data.table.convert import show
from caudal.data.table.decide import constant, refusal, too_many
from caudal.data.table.declare import Declared, as_word
from caudal.data.table.follower import Follower
from caudal.data.table.inequality import Inequality
from caudal.data.table.moments import around_midnight, around_the_day, datetime_column
from caudal.data.table.moments import words as moments
from caudal.data.table.numbers import TIED, fits, guessed, merged, number_column, on_globe
from caudal.data.table.oddities import oddities
from caudal.data.table.passed import PassedOver
from caudal.data.table.stats import Stats
from caudal.data.table.survey import is_numeric
from caudal.data.temporal import is_modelled

PASSED = "passed over"
FOLLOWS = "follows"
ALPHABETICAL = 100  # more categories are ordered by how often they occur


def make_column(
    name: str,
    dtype: pa.DataType,
    stats: Stats,
    declared: Declared | None,
    gaps: bool,
    marks: tuple[str, ...] = (),
    form: Form | None = None,
    piles: bool = True,
) -> Column:
    """The column that was declared, or else the one that its values look like.

    Args:
        name: of the column.
        dtype: its type.
        stats: what its values are like.
        declared: what the user says that it is.
        gaps: whether values may be missing.
        marks: texts that stand for missing numbers; a column that has some is one of numbers.
        form: in which its text is read as dates or numbers.
        piles: whether it ends where its values pile up.

    Raises:
        InputError: the column is constant, has too many categories, or steps that 32 bits cannot
            tell apart.
    """
    if form is None and not marks and not is_numeric(dtype, declared):
        return _categorical(name, dtype, stats, gaps)
    if form.is_date if form else is_modelled(dtypes.value_type(dtype)):
        column = datetime_column(name, dtype, stats, form, gaps)
        is_circle = declared is not None and declared.kind == "circular"
        return around_the_day(column, stats) if is_circle else column
    text_format = form.format if form else None
    likely = declared or on_globe(name, stats, guessed(stats, text_format, gaps, piles))
    if likely.kind == "categorical":
        return _categorical(name, dtype, stats, gaps)
    # A declared lattice gets rounding noise, so that even a constant has a density.
    if stats.low == stats.high and not (declared and likely.step):
        raise refusal(stats.file, constant(name, dtype, stats), stats)
    return replace(number_column(name, dtype, stats, likely, gaps, text_format), marks=marks)


def notes_on(
    columns: Sequence[Column], stats: Mapping[str, Stats], forms: Mapping[str, Form]
) -> list[str]:
    """Notes on the columns: how text is read, ties in continuous ones, words among numbers."""
    lines = [line for name, form in forms.items() for line in _read_as(name, form, stats[name])]
    smooth = [c for c in columns if not (c.step or c.atoms or c.whole or c.unit)]
    tied = [column.name for column in smooth if stats[column.name].ties > TIED]
    if tied:
        lines.append(
            f"continuous columns whose values often repeat: {', '.join(tied)}; a density can grow "
            f"at such values without limit: declare a step, such as `types` "
            f"{as_word(tied[0], 'real:0.1')}"
        )
    for column in columns:
        seen = stats[column.name]
        lines += [*oddities(column, seen), *around_midnight(column, seen)]
        if column in smooth and not fits(column, seen, column.offset):
            values, kept = merged(seen, column.offset)
            lines.append(
                f"'{column.name}' is taken as continuous: of {values} different values 32 bits "
                f"tell {kept} apart"
            )
        if seen.first_word and seen.words < seen.count / 2:
            cell, word = seen.first_word
            lines.append(
                f"{cell} is {show(word)} though most values there are numbers: the column is "
                f"taken as categories"
            )
    return lines


def _read_as(name: str, form: Form, stats: Stats) -> list[str]:
    """What a person should know of a column of text that is read as dates or numbers."""
    lines = []
    if not form.is_date:
        lines.append(
            f"'{name}', such as {show(form.example)}, is read as numbers in the format "
            f"{form.format}: `types` {as_word(name, 'categorical')} makes categories of it"
        )
    if form.other is not None:
        lines.append(
            f"'{name}', such as {show(form.example)}, is read as {form.format}: where days and "
            f"months change places, `types` {as_word(name, f'datetime:{form.other}')}"
        )
    if stats.first_odd is not None:
        cell, text = stats.first_odd
        lines.append(
            f"{cell}: {show(text)} is not in the format {form.format}, as {stats.odd} of "
            f"{stats.rows} values: such a value counts as missing"
        )
    return lines


def _categorical(name: str, dtype: pa.DataType, stats: Stats, gaps: bool) -> Column:
    levels = stats.levels
    if levels is None:
        raise refusal(stats.file, too_many(name, dtype, stats), stats)
    if len(levels) + gaps == 1:
        raise refusal(stats.file, constant(name, dtype, stats), stats)
    order = sorted(levels)
    if stats.order:  # the order of the user's own type
        order.sort(key=stats.order.index)
    elif len(order) > ALPHABETICAL:  # then the distribution of their codes is smooth
        order.sort(key=levels.__getitem__, reverse=True)
    values = (*_in_type(order, dtype), *((None,) if gaps else ()))
    return Column.of_categories(name, values, str(dtype))


def _in_type(levels: list, dtype: pa.DataType) -> list:
    """Numbers as the user has them: 1, and not 1.0, where the type is an integer."""
    return [int(level) for level in levels] if pa.types.is_integer(dtype) else levels


@dataclass(frozen=True)
class Summary:
    """One column in words and numbers.

    Attributes:
        name: the column.
        role: event, context, passed over, or follows, from other columns.
        kind: its kind.
        source: guessed or declared; of a column that is not modelled, what samples have there.
        support: such as `[0, inf)` or `7 categories`.
        step: lattice spacing, None for continuous and categorical columns.
        missing: share of the rows without a value, 0..1.
        gaps: what becomes of them: "modelled", in a context "told" to the flow, or "dropped" with
            their rows; empty without any.
        change: the argument that decides otherwise, where something was decided.
        why: what a column that is not modelled is like.
        low, median, high: of the values, None for categories; where there are more than 65,536
            rows, the median is that of a sample.
        unit: for a datetime, what a step of 1 is.
        words: for a datetime, the lowest, median and highest value as people write them.
        top: the most frequent categories and their shares of the rows, largest first.
        heaped: whether values of a lattice heap up at some of its steps.
        above: the names of columns that it is never below.
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
    unit: str | None = None
    words: tuple[str, ...] = ()
    top: tuple[tuple[str, float], ...] = ()
    heaped: bool = False
    above: tuple[str, ...] = ()

    @property
    def values(self) -> str:
        """The values on one line: `low .. median .. high`, or the top categories."""
        if self.low is not None:
            return f"{self.low:.6g} .. {self.median:.6g} .. {self.high:.6g}"
        if self.why:
            return self.why
        if self.words:
            return " .. ".join(self.words)
        return ", ".join(f"{level} {share:.0%}" for level, share in self.top)


def summarize(
    column: Column,
    stats: Stats,
    form: Form | None,
    is_context: bool,
    is_declared: bool,
    dropped: bool,
) -> Summary:
    """The summary of a column, from what the survey saw; its gaps may be dropped."""
    kept = "told" if is_context else "modelled"
    gaps = "" if not stats.missing else "dropped" if dropped else kept
    change = {"dropped": '`missing="model"`', "": ""}.get(gaps, '`missing="drop"`')
    if column.marks or form is not None:
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
        unit=column.unit,
        heaped=bool(column.heaps),
    )
    if column.categories is not None:
        return replace(head, top=_top(stats))
    if column.unit is not None:
        return replace(head, words=moments(stats, dtypes.parse(column.dtype), form))
    return replace(head, low=stats.low, median=float(np.median(stats.sample)), high=stats.high)


def summarize_passed(passed: PassedOver, stats: Stats | None) -> Summary:
    """The summary of a column that is passed over."""
    missing = stats.missing / max(stats.rows, 1) if stats else 0.0
    change = "`types`" if stats and stats.count else ""
    head = (passed.name, PASSED, "", passed.back, "", None)
    return Summary(*head, missing=missing, change=change, why=passed.why)


def with_followers(
    summary: Sequence[Summary], followers: Sequence[Follower]
) -> tuple[Summary, ...]:
    """The summary, of which some columns are known now to follow from others."""
    rules = {follower.name: follower.why for follower in followers}
    return tuple(
        replace(s, role=FOLLOWS, source="computed", change="`types`", why=rules[s.name])
        if s.name in rules
        else s
        for s in summary
    )


def with_inequalities(
    summary: Sequence[Summary], inequalities: Sequence[Inequality], columns: Sequence[Column]
) -> tuple[Summary, ...]:
    """The summary, of which some columns are known now to be never below others."""
    above = {rule.name: rule for rule in inequalities}
    now = {column.name: column for column in columns}
    summary = [
        replace(s, kind=c.kind, support=c.support) if (c := now.get(s.name)) else s
        for s in summary
    ]
    return tuple(
        replace(s, above=rule.sources, heaped=bool(rule.column.heaps), change="`types`")
        if (rule := above.get(s.name)) is not None
        else s
        for s in summary
    )


def _top(stats: Stats) -> tuple[tuple[str, float], ...]:
    """The three most frequent values of a column, with their shares."""
    levels = dict(stats.levels or {})
    if stats.missing:
        levels[None] = stats.missing
    first = sorted(levels.items(), key=lambda item: -item[1])[:3]
    return tuple((_words(level), count / stats.rows) for level, count in first)


def _words(level: object) -> str:
    if level is None:
        return "missing"
    return f"{level:g}" if isinstance(level, float) else " ".join(str(level).split())
