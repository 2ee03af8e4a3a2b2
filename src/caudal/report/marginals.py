"""Each column by itself: data beside samples."""

from typing import TYPE_CHECKING, Any

import numpy as np

from caudal.data import Column
from caudal.report.comparison import Comparison
from caudal.report.distances import distances
from caudal.report.style import DATA, QUIET, SAMPLES, grid, legend, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 24
LEVELS = 8
BINS = 40


def draw_marginals(comparison: Comparison) -> "Figure":
    """Histograms of numbers and bars of categories, in the data's order; the worst if many."""
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
    legend(figure)
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


def draw_numbers(axes: "Axes", column: Column, data: np.ndarray, samples: np.ndarray) -> None:
    """The data as a filled histogram, the samples as a line over it."""
    bins = edges(column, data)
    filled: Any = {"histtype": "stepfilled", "color": DATA, "alpha": 0.55}
    line: Any = {"histtype": "step", "color": SAMPLES, "linewidth": 1.5}
    for values, look in ((data, filled), (samples, line)):
        values = values[~np.isnan(values)]
        weights = np.full(len(values), 1 / max(len(values), 1))
        axes.hist(values, bins=list(bins), weights=weights, **look)
    axes.set_xlim(bins[0], bins[-1])
    axes.locator_params(axis="x", nbins=4)


def _draw_categories(axes: "Axes", column: Column, data: np.ndarray, samples: np.ndarray) -> None:
    """Horizontal bars, the most frequent category on top."""
    n = len(column.categories or ())
    shares = [np.bincount(v.astype(int), minlength=n) / len(v) for v in (data, samples)]
    order = np.argsort(-shares[0], kind="stable")[:LEVELS]
    places = np.arange(len(order))
    axes.barh(places - 0.2, shares[0][order], 0.4, color=DATA, alpha=0.55)
    axes.barh(places + 0.2, shares[1][order], 0.4, color=SAMPLES)
    axes.invert_yaxis()
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    names = [str(level) if level is not None else "missing" for level in column.categories or ()]
    room = shares[0].max()
    for place, level in zip(places, order, strict=True):
        end = float(max(shares[0][level], shares[1][level]))
        axes.text(
            end + 0.03 * room, float(place), shorten(names[level], 14), va="center", fontsize=8
        )
    axes.set_xlim(0, 1.7 * room)
    if n > LEVELS:
        axes.text(
            1,
            0,
            f"and {n - LEVELS} more",
            transform=axes.transAxes,
            ha="right",
            color=QUIET,
            fontsize=8,
        )


def _title(column: Column, data: np.ndarray, samples: np.ndarray) -> str:
    title = shorten(column.name, 24)
    if column.missing:
        title += f"  (missing {np.isnan(data).mean():.0%} | {np.isnan(samples).mean():.0%})"
    return title
