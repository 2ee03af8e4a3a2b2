"""Rows that are little images, such as the built-in digits."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from caudal.data import TableSchema, write_grid
from caudal.flow import Flow
from caudal.interpolation import manifold
from caudal.report.style import DATA, SAMPLES, WIDTH, bare, new_figure
from caudal.report.table.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

ROWS, ACROSS = 6, 10


def image_side(schema: TableSchema) -> int | None:
    """Side of the square images whose pixels are the columns p00, p01, ...; None for others."""
    side = round(len(schema.columns) ** 0.5)
    pixels = [f"p{row}{column}" for row in range(side) for column in range(side)]
    is_image = 2 <= side <= 10 and [c.name for c in schema.columns] == pixels
    return side if is_image else None


def write_table_manifold(
    path: str | Path,
    flow: Flow,
    schema: TableSchema,
    images: Tensor,
    context: Tensor | None = None,
    n: int = 8,
    seed: int = 0,
) -> None:
    """Writes the manifold between four rows that are images as one sheet, white on black.

    Args:
        path: a .png, .jpg or .webp file.
        flow: put into eval mode.
        schema: of rows with an `image_side`.
        images: four rows (4, D).
        context: (4, C) of the rows, where the flow has one.
        n: images along each side.
        seed: of the dequantisation noise.
    """
    columns, side = schema.columns, image_side(schema) or 1
    cells = manifold(flow, images, context, n, seed).flatten(0, 1).cpu().double().numpy()
    low, high = (np.array([getattr(c, end) or 0.0 for c in columns]) for end in ("low", "high"))
    ink = (cells - low) / np.maximum(high - low, 1)
    sheet = (255 * ink).clip(0, 255).round().astype(np.uint8)
    write_grid(path, sheet.reshape(-1, side, side, 1), across=n)


def draw_images(comparison: Comparison) -> "Figure":
    """Images left and sampled ones right; given a class, each column has one class."""
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
    """Indices (ROWS, ACROSS) of the rows to show, and the classes of columns if there are any."""
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
    """Draws one large image of all tiles, with a pixel of paper between them."""
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
