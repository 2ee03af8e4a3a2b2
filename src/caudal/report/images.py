"""Rows that are little images, such as the built-in digits."""

from typing import TYPE_CHECKING, Any

import numpy as np

from caudal.data import TableSchema
from caudal.report.comparison import Comparison
from caudal.report.style import DATA, SAMPLES, WIDTH, bare, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

ROWS, ACROSS = 6, 10


def image_side(schema: TableSchema) -> int | None:
    """Side of the square images whose pixels are the columns p00, p01, ... in reading order."""
    side = round(len(schema.columns) ** 0.5)
    pixels = [f"p{row}{column}" for row in range(side) for column in range(side)]
    is_image = 2 <= side <= 10 and [c.name for c in schema.columns] == pixels
    return side if is_image else None


def draw_images(comparison: Comparison) -> "Figure":
    """Real images left and sampled ones right; with a class as context, a class in each column."""
    figure = new_figure(WIDTH, WIDTH / 2 * ROWS / ACROSS + 0.25)
    chosen, classes = _choose(comparison)
    parts: Any = figure.subfigures(1, 2, wspace=0.04)
    for part, rows, colour, title in (
        (parts[0], comparison.data, DATA, comparison.sides[0]),
        (parts[1], comparison.samples, SAMPLES, comparison.sides[1]),
    ):
        part.suptitle(title, color=colour, fontsize=10)
        _tiles(part, rows, chosen, image_side(comparison.schema) or 1, classes)
    return figure


def _choose(comparison: Comparison) -> tuple[np.ndarray, list[str]]:
    """Indices (ROWS, ACROSS) of the rows to show, and the classes of the columns if there are."""
    context, columns = comparison.context, comparison.schema.context
    levels = columns[0].categories if columns else None
    if context is None or levels is None or len(columns) != 1 or len(levels) > ACROSS:
        most = min(ROWS, max(1, len(comparison.data) // ACROSS))
        return np.arange(most * ACROSS).reshape(most, ACROSS) % len(comparison.data), []
    members = [np.flatnonzero(context[:, 0] == code) for code in range(len(levels))]
    shown = [np.resize(m, ROWS) for m in members if len(m)]
    names = [str(level) for level, m in zip(levels, members, strict=True) if len(m)]
    return np.stack(shown, axis=1), names


def _tiles(
    figure: "SubFigure", rows: np.ndarray, chosen: np.ndarray, side: int, classes: list[str]
) -> None:
    """One large image of all tiles, with a pixel of paper between them."""
    pad = np.full((side + 1, side + 1), np.nan)
    tiles = []
    for i in chosen.ravel():
        tile = pad.copy()
        tile[:side, :side] = rows[i].reshape(side, side)
        tiles.append(tile)
    down, across = chosen.shape
    stacked = np.array(tiles).reshape(down, across, side + 1, side + 1)
    sheet = stacked.transpose(0, 2, 1, 3).reshape(down * (side + 1), across * (side + 1))
    axes = figure.subplots()
    axes.imshow(sheet[:-1, :-1], cmap="gray_r", interpolation="nearest")
    bare(axes)
    if classes:
        axes.set_xticks(np.arange(across) * (side + 1) + (side - 1) / 2, classes)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
