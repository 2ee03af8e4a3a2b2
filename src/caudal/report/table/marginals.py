"""Each column by itself: data beside samples."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caudal.data import Column
from caudal.report.style import DATA, INK, QUIET, SAMPLES, grid, legend, shorten
from caudal.report.table.comparison import Comparison, distances

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 24
LEVELS = 8
BINS = 40


def draw_marginals(comparison: Comparison) -> "Figure":
    """Histograms of numbers and bars of categories, in the data's order; of many, the worst."""
    worst = [d.name for d in distances(comparison)[:MOST]]
    shown = [i for i, c in enumerate(comparison.columns) if c.name in worst]
    figure, panels = grid(len(shown), across=4)
    for axes, i in zip(panels, shown, strict=True):
        column, data, samples = (
            comparison.columns[i],
            comparison.data[:, i],
            comparison.samples[:, i],
        )
        draw = _draw_categories if column.categories is not None else draw_numbers
        draw(axes, column, data, samples)
        axes.set_title(_title(column, data, samples), loc="left")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    legend(figure, data=comparison.sides[0], samples=comparison.sides[1])
    return figure


def limits(values: np.ndarray) -> tuple[float, float]:
    """The range of all but the outermost 0.2 % of the values, and a little more."""
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, [0.001, 0.999])
    if low == high:
        low, high = values.min(), values.max()
    margin = 0.03 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def edges(column: Column, values: np.ndarray) -> np.ndarray:
    """Edges of bins over the values' range; with steps, each bin covers whole steps."""
    low, high = limits(values)
    if column.step is None:
        return np.linspace(low, high, BINS + 1)
    first = np.ceil((low - column.origin) / column.step)
    last = np.floor((high - column.origin) / column.step)
    width = max(1, int(np.ceil((last - first + 1) / BINS)))
    # Half a step off the lattice, so that no value lies on an edge.
    return column.origin + (np.arange(first, last + width + 1, width) - 0.5) * column.step


def spike(values: np.ndarray) -> float | None:
    """The value of more than half of the rows, if beside it the others would be too flat."""
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    if len(distinct) <= LEVELS or 2 * counts.max() <= counts.sum():
        return None
    return float(distinct[counts.argmax()])


def spikes(comparison: Comparison) -> bool:
    """Whether a column of numbers has such a value."""
    pairs = zip(comparison.columns, comparison.data.T, strict=True)
    return any(column.categories is None and spike(data) is not None for column, data in pairs)


def draw_numbers(axes: "Axes", column: Column, data: np.ndarray, samples: np.ndarray) -> None:
    """Draws a filled histogram of the data and a line for the samples; words name a spike."""
    sides = [values[~np.isnan(values)] for values in (data, samples)]
    common = spike(data)
    if common is None:
        _histograms(axes, column, sides, [len(values) for values in sides])
        return
    near = (column.step or 0) / 2
    rest = [values[np.abs(values - common) > near] for values in sides]
    highest = _histograms(axes, column, rest, [len(values) for values in sides])
    # The data set the height, as samples may heap up beside the spike.
    axes.set_ylim(0, 1.35 * highest)
    shares = [1 - len(r) / max(len(v), 1) for r, v in zip(rest, sides, strict=True)]
    words = f"{common:.6g} in {shares[0]:.0%} | {shares[1]:.0%}; the rest:"
    axes.text(1, 1, words, transform=axes.transAxes, ha="right", va="top", color=QUIET, fontsize=8)


def _histograms(
    axes: "Axes", column: Column, sides: Sequence[np.ndarray], counts: Sequence[int]
) -> float:
    """Draws both sides as shares of so many rows; returns the height of the data."""
    bins = edges(column, sides[0])
    filled: Any = {"histtype": "stepfilled", "color": DATA, "alpha": 0.55}
    line: Any = {"histtype": "step", "color": SAMPLES, "linewidth": 1.5}
    highest = []
    for values, n, look in zip(sides, counts, (filled, line), strict=True):
        weights = np.full(len(values), 1 / max(n, 1))
        heights, _, _ = axes.hist(values, bins=list(bins), weights=weights, **look)
        highest.append(float(np.max(heights)))
    axes.set_xlim(bins[0], bins[-1])
    whole = column.kind == "integer"
    axes.locator_params(axis="x", nbins=4, integer=whole, min_n_ticks=1 if whole else 2)
    return highest[0]


def _draw_categories(axes: "Axes", column: Column, data: np.ndarray, samples: np.ndarray) -> None:
    """Draws horizontal bars, the most frequent category on top."""
    levels = column.categories or ()
    shares = [np.bincount(v.astype(int), minlength=len(levels)) / len(v) for v in (data, samples)]
    order = np.argsort(-shares[0], kind="stable")[:LEVELS]
    places = np.arange(len(order))
    axes.barh(places - 0.2, shares[0][order], 0.4, color=DATA, alpha=0.55)
    axes.barh(places + 0.2, shares[1][order], 0.4, color=SAMPLES)
    axes.set_ylim(len(order) - (0.4 if len(levels) <= LEVELS else -0.4), -0.6)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    room = float(max(share[order].max() for share in shares))
    axes.set_xlim(0, 1.7 * room)
    for place, level in zip(places, order, strict=True):
        end = float(max(shares[0][level], shares[1][level])) / room
        name = "missing" if levels[level] is None else str(levels[level])
        # The shorter the bars, the longer the name may be.
        _beside(axes, end, float(place), shorten(name, int(34 - 20 * end)), INK)
    if len(levels) > LEVELS:
        _beside(axes, 0, len(order), f"and {len(levels) - LEVELS} more", QUIET)


def _beside(axes: "Axes", end: float, place: float, words: str, colour: str) -> None:
    """Writes words after a bar, whose `end` is a share of the longest one."""
    x = (end + 0.03) * axes.get_xlim()[1] / 1.7
    axes.text(x, place, words, va="center", color=colour, fontsize=8)


def _title(column: Column, data: np.ndarray, samples: np.ndarray) -> str:
    title = shorten(column.name, 24)
    if column.missing:
        title += f"  (missing {np.isnan(data).mean():.0%} | {np.isnan(samples).mean():.0%})"
    return title
