"""The manifold between rows of a table that are little images, such as the built-in digits."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from caudal.cli.examples import Examples
from caudal.cli.opened import OpenedRun
from caudal.cli.screen import Screen
from caudal.data import Rows, TableSchema, open_rows
from caudal.data.images.grid import write_grid
from caudal.errors import InputError
from caudal.interpolation import manifold
from caudal.report.images import image_side

if TYPE_CHECKING:
    from caudal.cli.interpolate import InterpolateOptions


def table_examples(options: "InterpolateOptions", opened: OpenedRun, screen: Screen) -> Examples:
    """The test rows, or those of another table.

    Raises:
        InputError: the rows are no images.
    """
    if image_side(opened.table) is None:
        raise InputError(f"{options.run} models rows of a table, not images")
    if options.data is None:
        dataset = opened.dataset()
        rows, notes, where = dataset.test, dataset.notes, "test row"
    else:
        items = open_rows(options.data, opened.table)
        rows, notes = items.source, items.notes
        where = "row"
    for note in notes:
        screen.warn(note)
    assert isinstance(rows, Rows)
    names = [str(i + 1) for i in range(len(rows))]
    return Examples(rows, names, _classes(opened.table, rows.context), where)


def write_table_manifold(
    path: Path, opened: OpenedRun, images: Tensor, context: Tensor | None, n: int, seed: int
) -> None:
    """Writes the manifold as one sheet, white on black."""
    columns, side = opened.table.columns, image_side(opened.table) or 1
    cells = manifold(opened.flow, images, context, n, seed).flatten(0, 1).cpu().double().numpy()
    low, high = (np.array([getattr(c, end) or 0.0 for c in columns]) for end in ("low", "high"))
    ink = (cells - low) / np.maximum(high - low, 1)
    sheet = (255 * ink).clip(0, 255).round().astype(np.uint8)
    write_grid(path, sheet.reshape(-1, side, side, 1), across=n)


def _classes(schema: TableSchema, context: Tensor | None) -> list[object] | None:
    """Of rows given one category, which it is."""
    if context is None or len(schema.context) != 1 or schema.context[0].categories is None:
        return None
    names = schema.context[0].categories
    return [names[code] for code in context[:, 0].long().tolist()]
