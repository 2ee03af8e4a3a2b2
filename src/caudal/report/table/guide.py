"""Rows of a table on the page of `caudal explore`: tables, points of the plane, small images."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
from torch import Tensor

from caudal.data import Column, TableSchema, as_table
from caudal.flow import Flow
from caudal.report.distilled import ScreenTable
from caudal.report.guide import Guide, Side
from caudal.report.images.tiles import Panel, draw_greys, draw_panels, grid_of
from caudal.report.page import Beside, Block, Drawn, draw_one
from caudal.report.stages import (
    PlanePicture,
    animation,
    film_of,
    noise_in_turn,
    plane_of,
    stages_of,
)
from caudal.report.style import shorten
from caudal.report.table import pictures, pixels
from caudal.report.table.comparison import Comparison, draw_marginals
from caudal.report.table.points import draw_journey, draw_points, is_plane

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS, ACROSS = 8, 12  # rows, and columns of them, that are shown
SHOWN = 6  # images that are shown after each part of a flow
TILES = 40  # images of a side that are shown


class TableGuide(Guide):
    """Shows rows as tables; those of two numbers as points too, and pixels as images."""

    usual, most = 1000, 10_000
    file: ClassVar[str] = "samples.csv"
    suffixes: ClassVar[tuple[str, ...]] = (
        *(".csv", ".tsv", ".txt", ".parquet", ".json", ".jsonl", ".xlsx", ".feather"),
        *(".npy", ".npz"),
    )
    typed = True

    def show(self, schema: TableSchema, sides: Sequence[Side], ground: Any = None) -> list[Block]:
        tables = [as_table(side.items) for side in sides]
        if pixels.image_side(schema):
            return [draw_one("images", lambda: draw_tiles(schema, sides, tables))]
        shown = [_rows(side.title, table) for side, table in zip(sides, tables, strict=True)]
        blocks: list[Block] = [Beside(shown, [side.look for side in sides])]
        if is_plane(schema):
            blocks = [draw_one("points", lambda: draw_points(schema, sides, ground)), *blocks]
        return blocks

    def path(self, schema: TableSchema) -> int:
        return 121 if is_plane(schema) else 9

    def journey(
        self, schema: TableSchema, four: Side, point: Side, path: Side, ground: Any
    ) -> list[Block]:
        if not is_plane(schema):
            return super().journey(schema, four, point, path, ground)
        return [draw_one("points", lambda: draw_journey(schema, four, point, path, ground))]

    def noise(self, schema: TableSchema, z: Tensor) -> pa.Table:
        """The numbers z1, z2, ...; of images as shades, from -3 to 3."""
        values = z.double().cpu().numpy()
        if pixels.image_side(schema):
            low, high = _ends(schema)
            values = low + (high - low) * (values[:, : len(low)] + 3) / 6
            return pa.table(dict(zip([c.name for c in schema.columns], values.T, strict=True)))
        return pa.table({f"z{i + 1}": column for i, column in enumerate(values.T)})

    def joined(self, parts: Sequence[Any]) -> pa.Table:
        return pa.concat_tables([as_table(part) for part in parts])

    def compare(self, flow: Flow, schema: TableSchema, one: Side, other: Side) -> Iterator[Drawn]:
        (x, _), (y, _) = (schema.encode(side.items) for side in (one, other))
        sides = one.title, other.title
        both = Comparison(schema, x.double().numpy(), y.double().numpy(), None, "rows", sides)
        flat = pictures.has_density(flow, both)
        if flat and is_plane(schema):
            drawn = pictures.draw_density(flow, both)
            yield "density", "Density", DENSITY, drawn
        yield "marginals", "Each column", MARGINALS.format(*sides), draw_marginals(both)
        if len(schema.columns) > 1 and not flat:
            yield "pairs", "Pairs of columns", PAIRS, pictures.draw_pairs(both)
        if len(pictures.ordered_columns(both)) > 2:
            drawn = pictures.draw_correlations(both)
            yield "correlations", "Correlations", CORRELATIONS, drawn

    def givable(self, schema: TableSchema) -> tuple[Column, ...]:
        return schema.columns

    def layers(self, flow: Flow, schema: TableSchema) -> int:
        flat = is_plane(schema) and tuple(flow.base.event_shape) == (2,) and not schema.context
        if not flat and not (pixels.image_side(schema) and all(schema.levels_of_context)):
            return 0
        return len(stages_of(flow, *noise_in_turn(flow, schema, 1, 0))) - 1

    def stops(self, schema: TableSchema) -> bool:
        return is_plane(schema)

    def walk(self, flow: Flow, schema: TableSchema, seed: int) -> Callable[[float], list[Block]]:
        names, plane = [shorten(column.name) for column in schema.columns], plane_of(flow, seed)
        return lambda at: [draw_one("layer", lambda: PlanePicture(plane, names).draw(at))]

    def film(self, flow: Flow, schema: TableSchema, seed: int) -> list[Block]:
        if pixels.image_side(schema):
            return [draw_one("layers", lambda: _draw_stages(flow, schema, seed))]
        names = [shorten(column.name) for column in schema.columns]
        return [animation(film_of(flow, names, seed))]


DENSITY = "The density that the flow learned, between rows of both sides. Darker is denser."
MARGINALS = "Shares of {} (filled) and of {} (line) at each value."
PAIRS = "Both sides in the same frames; values in steps are spread over their step."
CORRELATIONS = "Spearman's rank correlation of every two columns that have an order."


# --- rows ----------------------------------------------------------------------------------------


def _rows(title: str, table: pa.Table) -> ScreenTable:
    """The first rows and columns, and how many more there are."""
    names = table.column_names[:ACROSS]
    columns = [table[name].slice(0, ROWS).to_pylist() for name in names]
    rows = [[_cell(value) for value in row] for row in zip(*columns, strict=True)]
    more = table.num_columns - len(names)
    head = [*names, *([f"and {more} more"] if more else [])]
    looks = "".join("n" if _is_number(column) else " " for column in columns)
    if table.num_rows > ROWS:
        title = f"{title}, the first {ROWS} of {table.num_rows:,}"
    return ScreenTable(title, head, rows, looks)


def _is_number(column: Sequence[Any]) -> bool:
    return all(isinstance(value, int | float | None) for value in column)


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# --- rows that are images ------------------------------------------------------------------------


def _ends(schema: TableSchema) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest value of each pixel; one scale where ends are not known."""
    low = np.array([c.low if c.low is not None else 0.0 for c in schema.columns])
    high = np.array([c.high if c.high is not None else 1.0 for c in schema.columns])
    return np.full(len(low), low.min()), np.full(len(high), high.max())


def tiles_of(schema: TableSchema, table: pa.Table) -> np.ndarray:
    """Rows as black ink on paper (N, side, side, 1)."""
    side = pixels.image_side(schema) or 1
    low, high = _ends(schema)
    columns = [table[c.name].slice(0, TILES).to_numpy() for c in schema.columns]
    rows = np.stack([np.asarray(values, float) for values in columns], axis=1)
    ink = np.nan_to_num((rows - low) / np.maximum(high - low, 1e-9))
    return np.round(255 * (1 - ink.clip(0, 1))).astype(np.uint8).reshape(-1, side, side, 1)


def draw_tiles(schema: TableSchema, sides: Sequence[Side], tables: Sequence[pa.Table]) -> "Figure":
    """The images of each side in a panel, those of one image large."""
    panels = []
    for side, table in zip(sides, tables, strict=True):
        tiles = tiles_of(schema, table)
        across = len(tiles) if len(tiles) <= ACROSS else 10 if len(sides) == 1 else 5
        panels.append(Panel(_apart(grid_of(tiles, across)), side.title, side.colour))
    few = max(panel.tiles.shape[1] for panel in panels) == 1
    return draw_panels(panels, 200 if few else 84)


def _apart(tiles: np.ndarray) -> np.ndarray:
    """Tiles with a line of paper around each, as digits reach from edge to edge."""
    return np.pad(tiles, [(0, 0), (0, 0), (0, 1), (0, 1), (0, 0)], constant_values=255)


def _draw_stages(flow: Flow, schema: TableSchema, seed: int) -> "Figure":
    """Some images after some parts of the flow, each on its own scale of greys."""
    found = stages_of(flow, *noise_in_turn(flow, schema, SHOWN, seed))
    side = pixels.image_side(schema) or 1
    shades = (s.events[:, : side * side].reshape(-1, side, side, 1) for s in found)
    return draw_greys([(s.name, e) for s, e in zip(found, shades, strict=True)])
