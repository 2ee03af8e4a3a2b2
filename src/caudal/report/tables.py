"""The tables of the report: rows of both sides, and what each column is."""

import math

import numpy as np

from caudal.data import Column
from caudal.report.distances import Distance, by_chance, distances
from caudal.report.html import section, table
from caudal.report.numbers import span
from caudal.report.story import Story

PREVIEW = 6
MOST_COLUMNS = 12


def samples_section(story: Story) -> str:
    """The first rows of both, as they stand in files."""
    comparison, columns = story.comparison, story.comparison.columns
    if len(columns) > MOST_COLUMNS:
        return ""
    sides = [
        f'<div><span class="tag {look}">{title}</span>{_preview(columns, rows)}</div>'
        for look, title, rows in (
            ("data", "data", comparison.data),
            ("samples", "samples", comparison.samples),
        )
    ]
    both = f'<div class="pair">{"".join(sides)}</div>'
    return section("Samples beside data", "The first rows of each.", both)


def _preview(columns: tuple[Column, ...], rows: np.ndarray) -> str:
    shown = [
        [_value(column, number) for column, number in zip(columns, row, strict=True)]
        for row in rows[:PREVIEW]
    ]
    numbers = "".join(" " if c.categories is not None else "n" for c in columns)
    return table([c.name for c in columns], shown, numbers)


def _value(column: Column, number: float) -> str:
    """A value as the user would read it."""
    if math.isnan(number):
        return ""
    if column.categories is not None:
        level = column.categories[int(number)]
        return "" if level is None else str(level)
    # Six digits: rows come in 32 bits, where 4.1 is 4.0999999.
    return f"{number:.10g}" if column.kind == "integer" else f"{number:.6g}"


def columns_section(story: Story) -> str:
    """What each column is, and how far its samples are from its data, the worst first."""
    chance = by_chance(len(story.comparison.data))
    caption = (
        f"How far each column's samples are from its data, the worst first: for numbers the "
        f"Kolmogorov-Smirnov distance (KS; up to {chance:.3f} can be chance), for categories "
        f"total variation (TV). Missing shares: data | samples."
    )
    head = ["column", "distance", "", "kind", "support", "step", "missing", "", "values"]
    rows = [_row(story, distance) for distance in distances(story.comparison)]
    return section("Columns", caption, table(head, rows, " n   n"))


def _row(story: Story, distance: Distance) -> list[str]:
    column = next(c for c in story.comparison.columns if c.name == distance.name)
    summary = next((s for s in story.dataset.summary if s.name == distance.name), None)
    step = f"{column.step:g}" if column.step and column.categories is None else ""
    missing = f"{distance.missing[0]:.1%} | {distance.missing[1]:.1%}" if column.missing else ""
    told = [summary.source, span(summary)] if summary else ["", ""]
    measured = [distance.name, f"{distance.value:.3f}", distance.measure]
    return [*measured, column.kind, column.support, step, missing, *told]
