"""From tables, and what the user says of their columns, to a schema."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from caudal.data import dtypes, temporal
from caudal.data.builtin import BuiltIn
from caudal.data.refusals import check_names, check_width
from caudal.data.schema import Column
from caudal.data.table.cells import Form
from caudal.data.table.convert import NUMBER, show
from caudal.data.table.decide import (
    Gaps,
    decide_gaps,
    marks_in,
    of_no_use,
    refusal,
    sentinel_in,
)
from caudal.data.table.declare import Declared, as_word, parse_types
from caudal.data.table.dialect import Written
from caudal.data.table.forms import find_forms
from caudal.data.table.guess import (
    Summary,
    make_column,
    notes_on,
    summarize,
    summarize_passed,
)
from caudal.data.table.heaps import heaps_of
from caudal.data.table.listed import Listed, read_columns
from caudal.data.table.numbers import is_list
from caudal.data.table.passed import PassedOver
from caudal.data.table.schema import TableSchema
from caudal.data.table.stats import Stats
from caudal.data.table.survey import Survey, survey
from caudal.data.table.tables import Tables
from caudal.data.table.weighing import check_weights
from caudal.data.table.wholes import with_wholes
from caudal.data.table.wishes import Wishes, choose_columns, with_own_types
from caudal.errors import InputError

SHOWN = 8  # names in a note


class Found(NamedTuple):
    """A schema, a summary of each column, and notes on what was decided.

    Further, whether rows with gaps are left out, the columns that the user says something of, what
    is declared of some, and what others would be without ends where values pile up.
    """

    schema: TableSchema
    summary: tuple[Summary, ...]
    notes: list[str]
    drops: bool
    said: frozenset[str]
    declared: Mapping[str, Declared]
    opened: Mapping[str, Column]


def find_schema(tables: Sequence[Tables], wishes: Wishes, known: BuiltIn | None) -> Found:
    """Columns as declared or else as guessed, without those of no use.

    Args:
        tables: the one to train on, and those for validation and test if given.
        wishes: what the user says.
        known: the built-in data that the first table is, if it is.

    Raises:
        InputError: what the user says does not fit the table, or a column that was named, or any
            one with `strict`, cannot be modelled, or none is left.
    """
    main, names = tables[0], tables[0].names
    listed = read_columns(wishes.types_from, names) if wishes.types_from else Listed()
    wishes = replace(wishes, exclude=(*wishes.exclude, *listed.excluded))
    chosen, context = choose_columns(main.name, names, wishes, known)
    used = [*chosen, *context]
    weights = wishes.named["weights"]
    for table in tables[1:]:
        if table.unnamed and main.unnamed:
            check_width(table.name, len(table.names), main.name, len(names))
        check_names(used, table.names, table.name)
        for name in weights:
            check_weights(name, table.names, table.name)
    listed_types = {n: d for n, d in listed.declared.items() if n in used}
    declared = {**listed_types, **parse_types(with_own_types(wishes.types, known, used), used)}
    work = _Search(tables, wishes, declared, listed, frozenset(context))
    work.look([*chosen, *context])
    return work.found(chosen, context)


@dataclass
class _Search:
    """The search for the columns of a table.

    Attributes:
        context: the columns to condition on.
        passed: the columns that are passed over, by name.
        named: columns that would be passed over if the user had not named them.
        marks: texts that stand for missing numbers, by the name of their column.
        forms: in which text is read as dates or numbers, by the name of its column.
        seen: what the survey saw.
        gaps: what becomes of missing values.
    """

    tables: Sequence[Tables]
    wishes: Wishes
    declared: dict[str, Declared]
    listed: Listed
    context: frozenset[str] = frozenset()
    passed: dict[str, PassedOver] = field(default_factory=dict)
    named: dict[str, PassedOver] = field(default_factory=dict)
    marks: dict[str, tuple[str, ...]] = field(default_factory=dict)
    forms: dict[str, Form] = field(default_factory=dict)
    seen: dict[str, Stats] = field(default_factory=dict)
    gaps: Gaps = Gaps()

    def look(self, names: Sequence[str]) -> None:
        """Surveys the columns, and decides what becomes of each."""
        names = self._useful(names, {})
        self.marks = {n: m for n, m in self.listed.marks.items() if n in names}
        listed = {n for n, d in self.declared.items() if d is self.listed.declared.get(n)}
        self.forms = find_forms(self.tables[0], names, self.declared, listed)
        survey = self._survey(names)
        if few := [n for n, form in self.forms.items() if _is_few(form, survey.stats[n])]:
            for name in few:  # they come back as they are written
                del self.forms[name]
            survey = self._survey(names)
        if marks := {n: m for n in names if (m := self._marks(n, survey.stats[n]))}:
            self.marks |= marks
            survey = self._survey(names)
        names = self._useful(names, survey.stats)
        self.seen |= survey.stats
        survey = survey._replace(stats={name: survey.stats[name] for name in names})
        if not names:
            raise self._nothing_left()
        asked = self.wishes.policy, survey, self.listed.gaps
        self.gaps = decide_gaps(*asked, self.context, self.wishes.target)
        if self.gaps.dropped:
            self.seen |= self._survey(names, self.gaps.dropped).stats
            if not all(self.seen[name].count for name in names):
                raise InputError(
                    f"{self.tables[0].name}: every row has a missing value, so that none is left"
                )
            self._useful(names, self.seen)

    def found(self, chosen: Sequence[str], context: Sequence[str]) -> Found:
        """The schema and what there is to tell."""
        text = self.tables[0].text
        decimals = {} if text is None else text.decimals
        modelled = (self._column(n) for n in chosen if n not in self.passed)
        columns = tuple(with_decimals(c, decimals.get(c.name)) for c in modelled)
        beside = tuple(self._column(n) for n in context if n not in self.passed)
        if not columns:
            raise self._nothing_left()
        if self.wishes.target is not None and not beside:
            raise self._nothing_left(f"predict '{self.wishes.target}' from")
        passed = tuple(self.passed[n] for n in (*chosen, *context) if n in self.passed)
        if len(columns) == 1:  # its quantiles or the masses of its values are what is asked for
            columns = (replace(columns[0], heaps=(), whole=None),)
        made = (*columns, *beside)
        plain = [c.name for c in made] + [p.name for p in passed]
        order = [n for n in self.tables[0].names if n in plain]
        if self.wishes.columns or order == plain:
            order = []
        summary = [
            summarize(
                c,
                self.seen[c.name],
                self.forms.get(c.name),
                c in beside,
                c.name in self.declared,
                c.name in self.dropped,
            )
            for c in made
        ]
        summary += [summarize_passed(p, self.seen.get(p.name)) for p in self.passed.values()]
        schema = TableSchema(
            columns, beside, passed_over=passed, order=tuple(order), written=self._written(plain)
        )
        notes = [*self._notes(), *notes_on(made, self.seen, self._forms_of(made))]
        said = frozenset({*self.declared, *sum(self.wishes.named.values(), ())})
        opened = {
            c.name: with_decimals(self._column(c.name, piles=False), decimals.get(c.name))
            for c in columns
            if c.name not in self.declared and (c.high is not None or c.low or c.atoms or c.offset)
        }
        drops = bool(self.dropped)
        return Found(schema, tuple(summary), notes, drops, said, self.declared, opened)

    @property
    def dropped(self) -> frozenset[str]:
        """The columns whose gaps leave their rows out."""
        return self.gaps.dropped

    def _useful(self, names: Sequence[str], stats: Mapping[str, Stats]) -> list[str]:
        """The names without those of columns that are passed over, or refused where named."""
        kept = []
        for name in names:
            passed = None if name in self.declared else self._passed(name, stats.get(name))
            if passed is None:
                kept.append(name)
                continue
            named = name in sum(self.wishes.named.values(), ())
            if name == self.wishes.target and passed.first is None:
                file = self.tables[0].name
                raise InputError(f"{file}, column '{name}' {passed.why}: choose another `target`")
            if named and passed.first is not None:
                kept.append(name)
                self.named[name] = passed
            elif named or self.wishes.strict:
                raise refusal(self.tables[0].name, passed, stats.get(name))
            else:
                self.passed[name] = passed
        return kept

    def _passed(self, name: str, stats: Stats | None) -> PassedOver | None:
        dtype = self._type(name, stats)
        passed = of_no_use(name, dtype, stats)
        if passed is None and stats is not None and name in self.listed.passed:
            return PassedOver(name, str(dtype), self.listed.passed[name])
        return passed

    def _marks(self, name: str, stats: Stats) -> tuple[str, ...]:
        if self.wishes.strict or name in self.declared or name in self.marks:
            return ()
        if marks := marks_in(stats):
            return marks
        dtype = dtypes.value_type(self._type(name, stats))
        sentinel = (
            sentinel_in(stats) if dtypes.is_number(dtype) and name not in self.forms else None
        )
        return () if sentinel is None else (sentinel,)

    def _survey(self, names: Sequence[str], whole: Collection[str] = ()) -> Survey:
        return survey(self.tables, names, self.declared, self.marks, self.forms, whole)

    def _type(self, name: str, stats: Stats | None) -> pa.DataType:
        """The type of what a column of text stands for; that of any other column."""
        if stats is not None and (name in self.marks or name in self.forms):
            is_date = name in self.forms and self.forms[name].is_date
            return pa.timestamp("us") if is_date else pa.float64()
        return self.tables[0].schema.field(name).type

    def _column(self, name: str, piles: bool = True) -> Column:
        stats = self.seen[name]
        if not stats.count:
            form = self.forms.get(name)
            of = f" in the format {form.format}" if form else ""
            raise InputError(
                f"{self.tables[0].name}, column '{name}' has no value{of}: correct what is "
                f"declared, or leave it out with `exclude` {name}"
            )
        gaps = name in self.gaps.modelled
        dtype, marks = self.tables[0].schema.field(name).type, self.marks.get(name, ())
        declared, form = self.declared.get(name), self.forms.get(name)
        column = make_column(name, dtype, stats, declared, gaps, marks, form, piles)
        if column.period is not None or column.kind == "latitude":  # no ends or steps of note
            return column
        if name in self.context:
            return with_ends_seen(column, stats)
        return replace(with_wholes(column, stats), heaps=heaps_of(column, stats))

    def _forms_of(self, columns: Sequence[Column]) -> dict[str, Form]:
        return {c.name: self.forms[c.name] for c in columns if c.name in self.forms}

    def _written(self, names: Sequence[str]) -> Written:
        """How the table is written, as far as these columns are concerned."""
        table = self.tables[0]
        pairs = () if table.unnamed else zip(table.names, table.headers, strict=True)
        headers = {name: header for name, header in pairs if name in names and name != header}
        if table.text is None:
            return Written(headers)
        dialect = table.text.dialect
        delimiter = dialect.delimiter if dialect.delimiter in (";", "|") else ","
        decimals = {n: count for n, count in table.text.decimals.items() if n in names}
        return Written(headers, str(delimiter), dialect.decimal or ".", decimals)

    def _nothing_left(self, to: str = "model") -> InputError:
        name, passed = next(iter(self.passed.items()))
        return InputError(
            f"{self.tables[0].name} leaves no column to {to} ('{name}' {passed.why}, ...): say "
            f"what a column is with `types`, such as {name}=categorical"
        )

    def _notes(self) -> list[str]:
        lines = [
            f"'{name}' {passed.why}: it is used since it is named, though such a column tells "
            f"nothing"
            for name, passed in self.named.items()
        ]
        if self.passed:
            some = [
                f"{p.name or 'the one without a name'} ({p.back})" for p in self.passed.values()
            ]
            lines.append(
                f"passed over, and what samples have there: {shown(some)}; `types` says what a "
                f"column is, `exclude` leaves it out"
            )
        if self.marks:
            some = [f"{', '.join(map(_shown, marks))} in {n}" for n, marks in self.marks.items()]
            first = next(iter(self.marks))
            number = re.fullmatch(NUMBER, self.marks[first][0])
            kind, what = "categorical", "makes categories of them"
            if number:
                kind = "integer" if self.seen[first].decimals == 0 else "real"
                what = "reads it as a number"
            lines.append(
                f"marks among numbers, taken as missing: {shown(some)}; "
                f"`types` {as_word(first, kind)} {what}"
            )
        rows = rows_in_words(self.gaps.rows)
        if self.wishes.missing == "drop":
            lines += [f"dropped {rows} with missing values"] if self.dropped else []
        elif self.dropped:
            lines.append(
                f"dropped {rows} with gaps in {shown(sorted(self.dropped))}; "
                f'`missing="model"` models such gaps'
            )
        gaps = self.gaps.modelled & self.context
        for names, what in ((self.gaps.modelled - gaps, "modelled"), (gaps, "told to the flow")):
            if names:
                lines.append(
                    f"gaps are {what} in {shown(sorted(names))}; "
                    f'`missing="drop"` leaves their rows out'
                )
        return lines


def _shown(mark: str) -> str:
    return mark if re.fullmatch(NUMBER, mark) else show(mark)


def with_ends_seen(column: Column, stats: Stats) -> Column:
    """A column of the context with the ends of the numbers that training has seen."""
    if column.categories is not None:
        return column
    ends = np.array([stats.low, stats.high])
    low, high = ends if column.unit is None else temporal.to_units(ends, column.unit)
    return replace(column, seen=(float(low - column.offset), float(high - column.offset)))


def with_decimals(column: Column, written: int | None) -> Column:
    """A column whose samples have as many decimals as the numbers of its file are written with."""
    free = column.step is None and column.decimals is None
    return replace(column, decimals=written) if free else column


def _is_few(form: Form, stats: Stats) -> bool:
    """Whether text that could be read as numbers or dates is a constant, or a list of prices."""
    return len(stats.levels or "  ") == 1 or (not form.is_date and is_list(stats))


def rows_in_words(count: int) -> str:
    """How many rows, in words."""
    return "1 row" if count == 1 else f"{count} rows"


def shown(names: Sequence[str]) -> str:
    """Some names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
