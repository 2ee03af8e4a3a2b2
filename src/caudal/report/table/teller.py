"""The report of a run on a table: pictures of columns, rows of both sides, distances."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from caudal.data import Column
from caudal.data.table.decode import decode_column
from caudal.report.curves import curves
from caudal.report.distilled import DistilledRows, ScreenTable
from caudal.report.numbers import count, span, step
from caudal.report.page import (
    Beside,
    Contents,
    Drawn,
    Picture,
    Section,
    Story,
    Teller,
    picture_sections,
    render,
)
from caudal.report.table import pictures, pixels
from caudal.report.table.comparison import (
    MOST,
    ROWS,
    Comparison,
    compare,
    compare_flows,
    distances,
    draw_marginals,
    spikes,
)
from caudal.report.table.figures import numbers_section
from caudal.report.table.forecast_pictures import draw_predictions
from caudal.report.table.measures import Distance
from caudal.report.two_sample import by_chance

PREVIEW = 6  # rows of each side
MOST_COLUMNS = 12  # columns that are shown of such rows


@dataclass(frozen=True)
class TableTeller(Teller):
    """Tells the story of a run on a table; `rows` of data are compared with as many samples."""

    many: ClassVar[str] = "rows"

    rows: int = ROWS

    def tell(self, story: Story) -> Contents:
        comparison = compare(story.flow, story.dataset, rows=self.rows)
        predicted, notes = _predictions(story)
        drawn = render(_figures(story, comparison))
        sections = [*notes, *_scoreboard(story), *_samples(comparison), *picture_sections(drawn)]
        sections += [*numbers_section(comparison), _columns(story, comparison)]
        schema = story.dataset.schema
        what = count(len(schema.columns), "column", "columns")
        if schema.context:
            what += f" given {', '.join(column.name for column in schema.context)}"
        return Contents(f"{what}; {self.parts(story)}", sections, [*predicted, *drawn])


# --- pictures ------------------------------------------------------------------------------------


def _figures(story: Story, comparison: Comparison) -> Iterator[Drawn]:
    if isinstance(story.distilled, DistilledRows):
        yield from _beside_teacher(compare_flows(story.distilled.samples, comparison.schema))
    if pixels.image_side(comparison.schema):
        yield "images", "Images", IMAGES, pixels.draw_images(comparison)
    flat = pictures.has_density(story.flow, comparison)
    if flat:
        yield "density", "Density", DENSITY, pictures.draw_density(story.flow, comparison)
    drawn = draw_marginals(comparison)
    yield "marginals", "Each column", _marginals(comparison), drawn
    if len(comparison.columns) > 1 and not flat:
        yield "pairs", "Pairs of columns", _pairs(comparison), pictures.draw_pairs(comparison)
    if len(pictures.ordered_columns(comparison)) > 2:
        drawn = pictures.draw_correlations(comparison)
        yield "correlations", "Correlations", CORRELATIONS, drawn
    student = story.distilled is not None
    yield from curves(story, *(LOSSES if student else LIKELIHOODS), -1.0)


def _beside_teacher(comparison: Comparison) -> Iterator[Drawn]:
    if pixels.image_side(comparison.schema):
        yield "teacher-images", "Student and teacher", TEACHER, pixels.draw_images(comparison)
    drawn = draw_marginals(comparison)
    yield "teacher-marginals", "Each column, student and teacher", TEACHER, drawn
    if len(comparison.columns) > 1:
        drawn = pictures.draw_pairs(comparison)
        yield "teacher-pairs", "Pairs of columns, student and teacher", TEACHER, drawn


TEACHER = "As many samples of the teacher as of the student; no data."
IMAGES = "Rows of the data beside samples of the flow. They are not picked: the first are shown."
DENSITY = (
    "The density that the flow learned, between the data it learned from and samples it drew. "
    "Darker is denser."
)
CORRELATIONS = (
    "Spearman's rank correlation of every two columns; categories of more than two levels have "
    "no order and are left out, the others stand in the order of the table. The colours of the "
    "difference have their own scale."
)
LIKELIHOODS = "Mean log-likelihood in nats a row", "log-likelihood of a row (nats)"
LOSSES = (
    "What the student minimised, with its sign turned, in nats a row (validation: "
    "KL(teacher||student) plus KL(student||teacher))",
    "negative loss (nats)",
)


def _marginals(comparison: Comparison) -> str:
    n, most = len(comparison.columns), MOST
    which = f" The {most} of {n} columns that differ most are shown." if n > most else ""
    caption = (
        f"Shares of {comparison.rows} (filled) and of as many samples (line). The frames hold "
        f"99.8 % of the data.{which}"
    )
    if spikes(comparison):
        caption += (
            " A value of more than half of the rows is written as data | samples, and the "
            "histogram is that of the other rows."
        )
    return caption


def _pairs(comparison: Comparison) -> str:
    n, most = len(comparison.columns), pictures.MOST
    which = f"The {most} of {n} columns with the strongest correlations. " if n > most else ""
    return (
        f"{which}Up to {pictures.POINTS} rows on each side, in the same frames; values in steps "
        f"are spread over their step."
    )


# --- predictions ---------------------------------------------------------------------------------


def _predictions(story: Story) -> tuple[list[Picture], list[Section]]:
    """How well the one column of a run with a context is predicted; nothing of other runs."""
    predictions = story.evaluation.target if story.evaluation else None
    if predictions is None:
        return [], []
    table, caption = predictions.table(), f"{predictions.verdict} {predictions.meaning}"
    numbers = Section(f"Predictions of '{predictions.column.name}'", caption, [table])
    drawn = render(draw_predictions(story.flow, predictions))
    return drawn, [numbers, *picture_sections(drawn)]


# --- tables --------------------------------------------------------------------------------------


def _scoreboard(story: Story) -> list[Section]:
    """How good the samples are; nothing where that was not measured."""
    board = None if story.evaluation is None else story.evaluation.scoreboard
    if board is None:
        return []
    return [Section("How good are samples", board.legend, [*board.verdict(), board.table()])]


def _samples(comparison: Comparison) -> list[Section]:
    """The first rows of both sides as they are written to files; nothing if they are wide."""
    columns = comparison.columns
    if len(columns) > MOST_COLUMNS:
        return []
    sides = {"data": comparison.data, "samples": comparison.samples}
    tables = [_preview(title, columns, rows) for title, rows in sides.items()]
    both = Beside(tables, list(sides))
    return [Section("Samples beside data", "The first rows of each.", [both])]


def _preview(title: str, columns: Sequence[Column], rows: np.ndarray) -> ScreenTable:
    shown = [
        [_value(column, number) for column, number in zip(columns, row, strict=True)]
        for row in rows[:PREVIEW]
    ]
    looks = "".join(" " if c.categories is not None else "n" for c in columns)
    return ScreenTable(title, [c.name for c in columns], shown, looks)


def _value(column: Column, number: float) -> str:
    """A value as the user would read it."""
    if math.isnan(number):
        return ""
    if column.categories is not None:
        level = column.categories[int(number)]
        return "" if level is None else str(level)
    if column.unit or column.format or column.offset:
        return str(decode_column(column, np.array([number]))[0])
    # Six digits, as rows come in 32 bits, where 4.1 is 4.0999999.
    return f"{number:.10g}" if column.kind == "integer" else f"{number:.6g}"


def _columns(story: Story, comparison: Comparison) -> Section:
    """What each column is, and how far its samples are from its data, the worst first."""
    chance = by_chance(len(comparison.data))
    caption = (
        f"How far each column's samples are from its data, the worst first: for numbers the "
        f"Kolmogorov-Smirnov distance (KS; up to {chance:.3f} can be chance), for categories "
        f"total variation (TV). Missing shares: data | samples."
    )
    if passed := story.dataset.schema.passed_over:
        shown = "; ".join(f"{p.name} {p.why}" for p in passed[:MOST_COLUMNS])
        more = f"; and {len(passed) - MOST_COLUMNS} more" if len(passed) > MOST_COLUMNS else ""
        caption += f" Not modelled, as they are of no use: {shown}{more}."
    head = ["column", "distance", "", "kind", "support", "step", "missing", "", "values"]
    rows = [_column(story, comparison, distance) for distance in distances(comparison)]
    # What no column has, such as the values seen by a student, who saw none, is left out.
    kept = [i for i in range(len(head)) if any(row[i] for row in rows)]
    looks = "".join(" n   n   "[i] for i in kept)
    cells = [[row[i] for i in kept] for row in (head, *rows)]
    return Section("Columns", caption, [ScreenTable("", cells[0], cells[1:], looks)])


def _column(story: Story, comparison: Comparison, distance: Distance) -> list[str]:
    column = next(c for c in comparison.columns if c.name == distance.name)
    summary = next((s for s in story.dataset.summary if s.name == distance.name), None)
    spacing = step(column) if column.categories is None else ""
    missing = f"{distance.missing[0]:.1%} | {distance.missing[1]:.1%}" if column.missing else ""
    seen = [summary.source, span(summary)] if summary else ["", ""]
    measured = [distance.name, f"{distance.value:.3f}", distance.measure]
    return [*measured, column.kind, column.support, spacing, missing, *seen]
