"""Pictures of a table whose columns are the pixels of images."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from caudal.data import TableSchema, write_grid
from caudal.flow import Flow
from caudal.interpolation import manifold
from caudal.report.images.tiles import Panel, draw_panels
from caudal.report.table.comparison import Comparison

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
    chosen, classes = _choose(comparison)
    side = image_side(comparison.schema) or 1
    low, high = np.nanmin(comparison.data), np.nanmax(comparison.data)
    panels = []
    for title, rows, colour in comparison.both:
        paper = 255 * (high - rows[chosen]) / max(high - low, 1e-9)
        tiles = np.nan_to_num(paper, nan=255).clip(0, 255).round().astype(np.uint8)
        tiles = tiles.reshape(*chosen.shape, side, side, 1)
        # A line of paper keeps rows apart, as digits reach from the top to the bottom.
        tiles = np.pad(tiles, [(0, 0), (0, 0), (0, 1), (0, 0), (0, 0)], constant_values=255)
        panels.append(Panel(tiles, title, colour, columns=classes))
    return draw_panels(panels)


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
