"""Rows of two numbers as points of the plane."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caudal.data import Column, TableSchema, as_table
from caudal.data.table.convert import Place, encode_columns
from caudal.report.guide import Side
from caudal.report.style import INK, QUIET, WIDTH, new_figure, shorten
from caudal.report.table.comparison import limits, name_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS = 4000  # points of a side that are drawn
PANEL = 3.6  # inches
RINGS, FAR = (1.0, 2.0, 3.0), 3.6  # deviations of noise, and the end of its frame


def is_plane(schema: TableSchema) -> bool:
    """Whether rows are points of the plane."""
    return len(schema.columns) == 2 and all(c.categories is None for c in schema.columns)


def draw_points(schema: TableSchema, sides: Sequence[Side], ground: Any) -> "Figure":
    """Each side in a panel: rows before the ground, their noise on rings of equal density."""
    figure = new_figure(min(WIDTH, PANEL * len(sides) + 0.3), PANEL)
    panels = figure.subplots(1, len(sides), squeeze=False)[0]
    columns = schema.columns
    rows = {side.title: _points(columns, side.items) for side in sides}
    frame = _frame([*(found for found in rows.values() if found is not None)], columns, ground)
    for axes, side in zip(panels, sides, strict=True):
        found = rows[side.title]
        if found is None:
            _noise(axes)
            found = np.stack([z.to_numpy() for z in as_table(side.items).columns[:2]])
        else:
            _ground(axes, columns, ground, frame)
        _dots(axes, found, side)
        axes.set_title(side.title, color=side.colour, loc="left")
    return figure


def draw_journey(
    schema: TableSchema, four: Side, point: Side, path: Side, ground: Any
) -> "Figure":
    """Four rows, the path between them, and one row on it, before the ground."""
    figure = new_figure(1.4 * PANEL, 1.25 * PANEL)
    axes = figure.subplots()
    columns = schema.columns
    corners, way, here = (_points(columns, side.items) for side in (four, path, point))
    _ground(axes, columns, ground, _frame([corners, way, here], columns, ground))
    axes.plot(*way, color=path.colour, linewidth=1.2, marker="o", markersize=2)
    for number, (x, y) in enumerate(np.transpose(corners), 1):
        axes.plot(x, y, "o", color=four.colour, markersize=9)
        axes.annotate(f"z{number}", (x, y), (7, 5), textcoords="offset points", color=INK)
    axes.plot(*here, "o", color=point.colour, markersize=11, markeredgecolor="white")
    axes.set_title(path.title, color=path.colour, loc="left")
    return figure


def _points(columns: Sequence[Column], items: Any) -> Any:
    """The two columns as numbers of rows (2, N); None where there are none of their names."""
    table = as_table(items)
    if not {column.name for column in columns} <= set(table.column_names):
        return None
    return encode_columns(columns, table, Place()).T


def _frame(
    sides: Sequence[Any], columns: Sequence[Column], ground: Any
) -> list[tuple[float, float]]:
    """The range of nearly all points of each column, and of all where there are few."""
    known = [*sides, *([] if ground is None else [_points(columns, ground)])]
    values_of = [[points[i][np.isfinite(points[i])] for points in known] for i in range(2)]
    ends = [
        [limits(values) for values in each if len(values)] or [(0.0, 1.0)] for each in values_of
    ]
    return [(min(e[0] for e in each), max(e[1] for e in each)) for each in ends]


def _ground(
    axes: "Axes", columns: Sequence[Column], ground: Any, frame: Sequence[tuple[float, float]]
) -> None:
    if ground is not None:
        points = _points(columns, ground)[:, :DOTS]
        axes.scatter(points[0], points[1], s=5, color=QUIET, alpha=0.35, linewidths=0)
    axes.set_xlim(frame[0])
    axes.set_ylim(frame[1])
    axes.set_xlabel(shorten(columns[0].name))
    axes.set_ylabel(shorten(columns[1].name))
    for axis, column in zip((axes.xaxis, axes.yaxis), columns, strict=True):
        name_ticks(axis, column)
    if columns[0].unit:
        axes.locator_params(axis="x", nbins=2)  # dates are long


def _noise(axes: "Axes") -> None:
    """Rings of equal density of the noise."""
    turn = np.linspace(0, 2 * np.pi, 181)
    for radius in RINGS:
        axes.plot(radius * np.cos(turn), radius * np.sin(turn), color=QUIET, linewidth=0.7)
    axes.set_xlim(-FAR, FAR)
    axes.set_ylim(-FAR, FAR)
    axes.set_xlabel("z1")
    axes.set_ylabel("z2")


def _dots(axes: "Axes", points: np.ndarray, side: Side) -> None:
    """The points of a side: the fewer there are, the larger."""
    size = float(np.clip(6000 / max(points.shape[1], 1), 4, 70))
    x, y = points[:, :DOTS]
    axes.scatter(x, y, s=size, color=side.colour, alpha=0.7, linewidths=0)
