"""Pictures of whole rows: pairs of columns, the density, correlations."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from caudal.data import Column
from caudal.flow import Flow
from caudal.report.style import (
    DENSITY,
    DIFFERENCE,
    WIDTH,
    bare,
    new_figure,
    shorten,
    shorten_all,
)
from caudal.report.table.comparison import Comparison, level_names, limits, name_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure
    from matplotlib.image import AxesImage

MOST = 5
POINTS = 2000
TICKS, NAMED = 12, 8  # most levels of a category that get a tick, and a name at it
CELLS = 240  # cells of the density along each side
DOTS = 4000  # dots of data and of samples beside it
LABELLED = 16  # most columns of a matrix of correlations that are named


def draw_pairs(comparison: Comparison) -> "Figure":
    """Every pair of up to five columns: two triangles of panels, data left and samples right."""
    chosen = choose(comparison)
    figure = new_figure(WIDTH, WIDTH / 2 + 0.2)
    parts: Any = figure.subfigures(1, 2)
    for part, (title, rows, colour) in zip(parts, comparison.both, strict=True):
        part.suptitle(title, color=colour, fontsize=10)
        _triangle(part, comparison, chosen, rows[:POINTS], colour)
    return figure


def choose(comparison: Comparison) -> list[int]:
    """The columns of the strongest correlations, in the order of the table."""
    n = len(comparison.columns)
    if n <= MOST:
        return list(range(n))
    strength = np.triu(np.abs(rank_correlation(comparison.data)), 1)
    chosen: set[int] = set()
    for pair in np.argsort(-strength, axis=None, kind="stable"):
        both = chosen | {int(i) for i in np.unravel_index(pair, strength.shape)}
        chosen = both if len(both) <= MOST else chosen
        if len(chosen) == MOST:
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
    for (down, across), axes in np.ndenumerate(figure.subplots(n, n, squeeze=False)):
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
    # The data set the frame of both sides. A sample outside it is not seen, but is missing inside.
    axes.set_xlim(_frame(comparison, pair[0]))
    axes.set_ylim(_frame(comparison, pair[1]))
    axes.locator_params(nbins=3)


def _frame(comparison: Comparison, i: int) -> tuple[float, float]:
    column = comparison.columns[i]
    if column.categories is not None:
        return -0.6, len(column.categories) - 0.4
    return limits(comparison.data[:, i])


def _jittered(column: Column, values: np.ndarray, seed: int) -> np.ndarray:
    """Values with those in steps spread over their step, or points would hide one another."""
    if not column.step:
        return values
    spread = np.random.default_rng(seed).uniform(-0.35, 0.35, len(values))
    return values + spread * column.step


def _label(
    axes: "Axes", comparison: Comparison, pair: tuple[int, int], *, bottom: bool, left: bool
) -> None:
    """Writes names and ticks at the outer edges of the triangle only."""
    x, y = (comparison.columns[i] for i in pair)
    if bottom:
        axes.set_xlabel(shorten(x.name, 14))
    if left:
        axes.set_ylabel(shorten(y.name, 14))
    for axis, column, outer in ((axes.xaxis, x, bottom), (axes.yaxis, y, left)):
        if column.categories is not None and len(column.categories) <= TICKS:
            names = shorten_all(level_names(column), 9)
            axis.set_ticks(range(len(names)), names if len(names) <= NAMED else [""] * len(names))
            if axis is axes.xaxis and len(names) > 2:
                axis.set_tick_params(rotation=90)
        else:
            name_ticks(axis, column)
            if axis is axes.xaxis and column.unit:  # dates are longer than a panel is wide
                axis.set_tick_params(rotation=90)
        axis.set_tick_params(labelsize=7, length=2)
        if not outer:
            axis.set_tick_params(labelleft=False, labelbottom=False)


# --- the density ---------------------------------------------------------------------------------


def has_density(flow: Flow, comparison: Comparison) -> bool:
    """Whether the density can be drawn: there are two continuous columns and no context."""
    return len(comparison.columns) == 2 and flow.kind == "exact" and flow.context_shape is None


def draw_density(flow: Flow, comparison: Comparison) -> "Figure":
    """Data, density and samples in equal frames."""
    x_range, y_range = (limits(comparison.data[:, i]) for i in range(2))
    figure = new_figure(WIDTH, WIDTH / 3 + 0.4)
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    for axes, (title, rows, colour) in zip(panels[::2], comparison.both, strict=True):
        x, y = rows[:DOTS].T
        axes.scatter(x, y, s=3, color=colour, alpha=0.4, linewidths=0, rasterized=True)
        axes.set_title(title)
    panels[1].imshow(
        _density(flow, x_range, y_range),
        extent=(*x_range, *y_range),
        origin="lower",
        aspect="auto",
        cmap=DENSITY,
        interpolation="bilinear",
    )
    panels[1].set_title("density of the flow")
    for axes in panels:
        axes.set_xlim(x_range)
        axes.set_ylim(y_range)
        axes.set_xlabel(shorten(comparison.columns[0].name))
    panels[0].set_ylabel(shorten(comparison.columns[1].name))
    return figure


@torch.no_grad()
def _density(flow: Flow, x_range: tuple[float, float], y_range: tuple[float, float]) -> np.ndarray:
    """Density at the centres of CELLS x CELLS cells: (rows of y, columns of x)."""
    x, y = (
        torch.linspace(*ends, 2 * CELLS + 1, dtype=torch.float64)[1::2]
        for ends in (x_range, y_range)
    )
    points = torch.cartesian_prod(y, x).flip(1).to(flow.base.like)
    log_prob = torch.cat([flow.log_prob(part) for part in points.split(8192)])
    density = log_prob.double().exp().reshape(CELLS, CELLS).cpu().numpy()
    # Without a limit, a few cells at a sharp ridge would leave all others pale.
    return np.minimum(density, np.quantile(density, 0.998))


# --- correlations --------------------------------------------------------------------------------


def ordered_columns(comparison: Comparison) -> list[int]:
    """The columns whose values have an order: numbers, and categories of two levels."""
    levels = [column.categories for column in comparison.columns]
    return [i for i, names in enumerate(levels) if names is None or len(names) == 2]


def rank_correlation(rows: np.ndarray) -> np.ndarray:
    """Spearman's correlation (D, D) of rows (N, D); missing values are not counted."""
    ranks = np.stack([_ranks(values) for values in rows.T], axis=1)
    present = (~np.isnan(ranks)).astype(float)
    centred = np.nan_to_num(ranks - np.nanmean(ranks, 0))
    both = np.maximum(present.T @ present, 1)
    spread = np.sqrt((centred**2).sum(0) / np.maximum(present.sum(0), 1))
    spread = np.where(spread > 0, spread, 1.0)
    return np.clip(centred.T @ centred / both / np.outer(spread, spread), -1, 1)


def draw_correlations(comparison: Comparison) -> "Figure":
    """Three matrices: the data's, the samples', and their difference."""
    columns = ordered_columns(comparison)
    data = rank_correlation(comparison.data[:, columns])
    samples = rank_correlation(comparison.samples[:, columns])
    figure = new_figure(WIDTH, 3.7 if len(columns) <= LABELLED else 3.0)
    panels = figure.subplots(1, 3)
    difference = samples - data
    np.fill_diagonal(difference, 0)  # a column may be constant in one of them
    largest = max(0.1, float(np.abs(difference).max()))
    _matrix(panels[0], data, 1.0, "data")
    image = _matrix(panels[1], samples, 1.0, "samples")
    figure.colorbar(image, ax=panels[:2], location="bottom", shrink=0.4, aspect=30)
    image = _matrix(panels[2], difference, largest, "samples − data")
    figure.colorbar(image, ax=panels[2], location="bottom", shrink=0.8, aspect=30)
    if len(columns) <= LABELLED:
        names = [shorten(comparison.columns[i].name, 18) for i in columns]
        panels[0].set_yticks(range(len(names)), names)
        for axes in panels:
            axes.set_xticks(range(len(names)), names, rotation=90)
            axes.tick_params(length=0)
    else:
        panels[0].set_ylabel(f"{len(columns)} columns, from the top")
        for axes in panels:
            axes.set_xlabel("the same, from the left")
    return figure


def _ranks(values: np.ndarray) -> np.ndarray:
    """Ranks with ties averaged, NaN where missing."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    middle = last - (counts - 1) / 2
    return np.where(np.isnan(values), np.nan, middle[inverse])


def _matrix(axes: "Axes", matrix: np.ndarray, most: float, title: str) -> "AxesImage":
    image = axes.imshow(matrix, cmap=DIFFERENCE, vmin=-most, vmax=most)
    axes.set_title(title)
    bare(axes)
    return image


# --- rows that are images ------------------------------------------------------------------------
