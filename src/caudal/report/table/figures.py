"""Columns of numbers in figures: data beside samples, and a word where the two differ."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from caudal.report.distilled import ScreenTable
from caudal.report.page import Section
from caudal.report.table.comparison import Comparison, distances

HEAD = ["column", "", "mean", "deviation", "minimum", "maximum", "zeros", "distinct", "differs"]
_LOOKS = "  nnnnnn "
CAPTION = (
    "Numbers of the data, and below them of as many samples; those that differ most stand first. "
    "The last column names what differs by more than chance would have it: the mean by a tenth of "
    "the deviation, the deviation by a quarter, zeros by five in a hundred, or samples beyond the "
    "data by more than their range."
)
_MEAN, _DEVIATION, _ZEROS = 0.1, 0.25, 0.05
_CHANCE = 3.0  # standard errors


@dataclass(frozen=True)
class Figures:
    """Statistics of the values of a column, without missing ones; `count` is their number."""

    count: int
    mean: float
    deviation: float
    low: float
    high: float
    zeros: float
    distinct: int

    @classmethod
    def of(cls, values: np.ndarray) -> "Figures":
        """The figures of values (N,), NaN where missing."""
        values = values[~np.isnan(values)]
        if not len(values):
            return cls(0, np.nan, np.nan, np.nan, np.nan, np.nan, 0)
        ends = float(values.min()), float(values.max())
        zeros, distinct = float((values == 0).mean()), len(np.unique(values))
        return cls(len(values), float(values.mean()), float(values.std()), *ends, zeros, distinct)


def differences(data: Figures, samples: Figures) -> list[str]:
    """How samples differ from data beyond chance, in words."""
    if not data.count or not samples.count:
        return ["values"] if data.count != samples.count else []
    fewest = min(data.count, samples.count)
    chance = _CHANCE * (2 / fewest) ** 0.5
    spread, width = data.deviation, data.high - data.low
    found = {
        "mean": abs(samples.mean - data.mean) > max(_MEAN, chance) * spread,
        "deviation": abs(samples.deviation - spread) > max(_DEVIATION, chance) * spread,
        "zeros": abs(samples.zeros - data.zeros) > max(_ZEROS, 0.5 * chance),
        "minimum": samples.low < data.low - width,
        "maximum": samples.high > data.high + width,
    }
    return [word for word, differs in found.items() if differs]


def numbers_section(comparison: Comparison) -> list[Section]:
    """The section of the page; nothing where all columns are categories."""
    rows = list(_rows(comparison))
    if not rows:
        return []
    return [Section("Numbers", CAPTION, [ScreenTable("", HEAD, rows, _LOOKS)])]


def _rows(comparison: Comparison) -> Iterator[list[str]]:
    places = {column.name: i for i, column in enumerate(comparison.columns)}
    for distance in distances(comparison):
        i = places[distance.name]
        if comparison.columns[i].categories is not None:
            continue
        data, samples = (Figures.of(side[:, i]) for side in (comparison.data, comparison.samples))
        first, second = comparison.sides
        yield [distance.name, first, *_cells(data), ", ".join(differences(data, samples))]
        yield ["", second, *_cells(samples), ""]


def _cells(figures: Figures) -> list[str]:
    if not figures.count:
        return [""] * 6
    numbers = [figures.mean, figures.deviation, figures.low, figures.high]
    zeros = f"{figures.zeros:.1%}" if figures.zeros else ""
    return [*(f"{number:.5g}" for number in numbers), zeros, f"{figures.distinct:,}"]
