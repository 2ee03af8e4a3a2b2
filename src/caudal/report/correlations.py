"""How columns go together, in the data and in the samples."""

from typing import TYPE_CHECKING

import numpy as np

from caudal.report.comparison import Comparison
from caudal.report.style import DIFFERENCE, WIDTH, new_figure, shorten

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

NAMED = 16


def ordered_columns(comparison: Comparison) -> list[int]:
    """The columns whose values have an order: numbers, and categories of two levels."""
    return [
        i
        for i, column in enumerate(comparison.columns)
        if column.categories is None or len(column.categories) == 2
    ]


def rank_correlation(rows: np.ndarray) -> np.ndarray:
    """Spearman's correlation (D, D) of rows (N, D); of a missing value, nothing is counted."""
    ranks = np.stack([_ranks(values) for values in rows.T], axis=1)
    present = (~np.isnan(ranks)).astype(float)
    centred = np.nan_to_num(ranks - np.nanmean(ranks, 0))
    both = np.maximum(present.T @ present, 1)
    spread = np.sqrt((centred**2).sum(0) / np.maximum(present.sum(0), 1))
    spread = np.where(spread > 0, spread, 1.0)
    return np.clip(centred.T @ centred / both / np.outer(spread, spread), -1, 1)


def draw_correlations(comparison: Comparison) -> "Figure":
    """Three matrices: of the data, of the samples, and their difference."""
    columns = ordered_columns(comparison)
    data = rank_correlation(comparison.data[:, columns])
    samples = rank_correlation(comparison.samples[:, columns])
    figure = new_figure(WIDTH, 3.7 if len(columns) <= NAMED else 3.0)
    panels = figure.subplots(1, 3)
    difference = samples - data
    np.fill_diagonal(difference, 0)  # of a column that is constant in one of them
    largest = max(0.1, float(np.abs(difference).max()))
    _matrix(panels[0], data, 1.0, "data")
    image = _matrix(panels[1], samples, 1.0, "samples")
    figure.colorbar(image, ax=panels[:2], location="bottom", shrink=0.4, aspect=30)
    image = _matrix(panels[2], difference, largest, "samples − data")
    figure.colorbar(image, ax=panels[2], location="bottom", shrink=0.8, aspect=30)
    _names(panels, [shorten(comparison.columns[i].name, 18) for i in columns])
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
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    return image


def _names(panels: np.ndarray, names: list[str]) -> None:
    """Names at the left and under every matrix; none where they would not fit."""
    if len(names) <= NAMED:
        panels[0].set_yticks(range(len(names)), names)
        for axes in panels:
            axes.set_xticks(range(len(names)), names, rotation=90)
            axes.tick_params(length=0)
