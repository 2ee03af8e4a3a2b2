"""Two columns at a time: data beside samples, in the same frames."""

from typing import TYPE_CHECKING, Any

import numpy as np

from caudal.data import Column
from caudal.report.comparison import Comparison
from caudal.report.correlations import rank_correlation
from caudal.report.marginals import limits
from caudal.report.style import DATA, SAMPLES, WIDTH, new_figure, shorten, shorten_all

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

MOST = 5
POINTS = 2000
TICKS, NAMED = 12, 8  # most levels of a category that get a tick, and a name at it


def draw_pairs(comparison: Comparison) -> "Figure":
    """Every pair of up to five columns: two triangles of panels, data left and samples right."""
    chosen = choose(comparison)
    side = WIDTH / 2
    figure = new_figure(WIDTH, side + 0.2)
    parts: Any = figure.subfigures(1, 2)
    for part, rows, colour, title in (
        (parts[0], comparison.data, DATA, comparison.sides[0]),
        (parts[1], comparison.samples, SAMPLES, comparison.sides[1]),
    ):
        part.suptitle(title, color=colour, fontsize=10)
        _triangle(part, comparison, chosen, rows[:POINTS], colour)
    return figure


def choose(comparison: Comparison, most: int = MOST) -> list[int]:
    """The columns of the strongest correlations, in the order of the table."""
    n = len(comparison.columns)
    if n <= most:
        return list(range(n))
    strength = np.triu(np.abs(rank_correlation(comparison.data)), 1)
    chosen: set[int] = set()
    for pair in np.argsort(-strength, axis=None, kind="stable"):
        both = chosen | {int(i) for i in np.unravel_index(pair, strength.shape)}
        chosen = both if len(both) <= most else chosen
        if len(chosen) == most:
            break
    return sorted(chosen)


def _triangle(
    figure: "SubFigure",
    comparison: Comparison,
    chosen: list[int],
    rows: np.ndarray,
    colour: str,
) -> None:
    n = len(chosen) - 1
    panels = figure.subplots(n, n, squeeze=False)
    for down in range(n):
        for across in range(n):
            axes = panels[down, across]
            if across > down:
                axes.remove()
                continue
            pair = (chosen[across], chosen[down + 1])
            _scatter(axes, comparison, pair, rows, colour)
            _label(axes, comparison, pair, bottom=down == n - 1, left=across == 0)
    figure.align_labels()


def _scatter(
    axes: "Axes",
    comparison: Comparison,
    pair: tuple[int, int],
    rows: np.ndarray,
    colour: str,
) -> None:
    x, y = (_jittered(comparison.columns[i], rows[:, i], seed=i) for i in pair)
    axes.scatter(x, y, s=4, color=colour, alpha=0.35, linewidths=0, rasterized=True)
    # The data set the frame of both sides: a sample outside it is not seen, but its lack is.
    axes.set_xlim(_frame(comparison, pair[0]))
    axes.set_ylim(_frame(comparison, pair[1]))
    axes.locator_params(nbins=3)


def _frame(comparison: Comparison, i: int) -> tuple[float, float]:
    column = comparison.columns[i]
    if column.categories is not None:
        return -0.6, len(column.categories) - 0.4
    return limits(comparison.data[:, i])


def _jittered(column: Column, values: np.ndarray, seed: int) -> np.ndarray:
    """Values in steps are spread over their step, or points would hide one another."""
    if not column.step:
        return values
    spread = np.random.default_rng(seed).uniform(-0.35, 0.35, len(values))
    return values + spread * column.step


def _label(
    axes: "Axes", comparison: Comparison, pair: tuple[int, int], *, bottom: bool, left: bool
) -> None:
    """Names and ticks at the outer edges of the triangle only."""
    x, y = (comparison.columns[i] for i in pair)
    if bottom:
        axes.set_xlabel(shorten(x.name, 14))
    if left:
        axes.set_ylabel(shorten(y.name, 14))
    for axis, column, outer in ((axes.xaxis, x, bottom), (axes.yaxis, y, left)):
        if column.categories is not None and len(column.categories) <= TICKS:
            names = shorten_all([str(level) for level in column.categories], 9)
            axis.set_ticks(range(len(names)), names if len(names) <= NAMED else [""] * len(names))
            if axis is axes.xaxis and len(names) > 2:
                axis.set_tick_params(rotation=90)
        axis.set_tick_params(labelsize=7, length=2)
        if not outer:
            axis.set_tick_params(labelleft=False, labelbottom=False)
