"""Which columns make rows unlikely, those of lowest log-density first."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa
import torch
from annotated_types import Ge

from caudal.data import Batch, Piece, container_of, like
from caudal.errors import InputError
from caudal.fields import check_value
from caudal.model.densities import COLUMN, draws_of, scored
from caudal.report import ScreenTable
from caudal.report.numbers import number, plain
from caudal.report.style import shorten
from caudal.training.options import Count
from caudal.training.seeds import check_seed

if TYPE_CHECKING:
    from caudal.model.model import Model

SHOWN = 3  # columns of a row, on screen and in JSON
_NAME, _CELL = 20, 19  # characters of what is on screen: a date and time fits


class Lowest:
    """Takes scored items piece by piece, and keeps those to be explained, lowest first.

    Args:
        n: how many of lowest log-density to keep.
        rows: the numbers (from 1) of those to keep instead, if any.

    Attributes:
        seen: how many items there were.
        rows: the numbers of those that are kept.
        log_prob: their log-densities.
    """

    def __init__(self, n: int, rows: Collection[int] = ()) -> None:
        self.n, self.asked = len(set(rows)) or n, np.array(sorted(rows), np.int64)
        self.seen = 0
        self.rows, self.log_prob = np.empty(0, np.int64), np.empty(0)
        self.batch: Batch | None = None

    def add(self, piece: Piece, log_prob: np.ndarray) -> None:
        """Takes in the next piece with its log-densities (N,); NaN is an item without one."""
        scored = ~np.isnan(log_prob)
        rows, log_prob = np.flatnonzero(scored) + self.seen + 1, log_prob[scored]
        self.seen += len(scored)
        batch = piece.batch if self.batch is None else _joined(self.batch, piece.batch)
        rows, log_prob = np.append(self.rows, rows), np.append(self.log_prob, log_prob)
        chosen = np.flatnonzero(np.isin(rows, self.asked)) if len(self.asked) else slice(None)
        order = np.arange(len(rows))[chosen]
        order = order[np.argsort(log_prob[order], kind="stable")][: self.n]
        self.rows, self.log_prob = rows[order], log_prob[order]
        index = torch.from_numpy(order)
        context = None if batch.context is None else batch.context[index]
        self.batch = Batch(batch.x[index], context)

    def explain(self, model: "Model", seed: int) -> pa.Table:
        """Each column of these items, the items and in each the columns to blame first."""
        batch = self.batch
        if batch is None:
            raise InputError(f"there are no {model.schema.many} to explain")
        explained = model.kind.explainer(model.flow, model.schema, batch, seed)
        item = explained["item"].to_numpy()
        table = explained.drop_columns("item")
        table = table.add_column(0, "row", pa.array(self.rows[item]))
        return table.add_column(1, COLUMN, pa.array(self.log_prob[item]))


def _joined(first: Batch, second: Batch) -> Batch:
    context = None
    if first.context is not None and second.context is not None:
        context = torch.cat([first.context, second.context])
    return Batch(torch.cat([first.x, second.x]), context)


def explain(
    model: "Model",
    data: Any,
    *,
    rows: tuple[int, ...] = (),
    n: int = 10,
    seed: int = 0,
    **reading: Any,
) -> Any:
    """Which columns make rows of a table unlikely: a table of the kind that `data` is.

    For each row, the lowest log-density first, it has a line for each column, the most
    surprising first. The columns are

    - `row`, its number from 1, and `log_prob`, its log-density in nats;
    - `column`, and its `value`, as text; null is a missing one;
    - `expected`, `low` and `high`: the median of the column given the others of the row, and
      its quantiles of 5 and 95 %; of categories the likeliest alone;
    - `surprise`: by how many nats the value is less likely, given the others, than such values
      are on average; so columns compare. inf outside of the column's support, null where the
      row is outside of another's;
    - `conditional`: log p(value | others) in nats.

    See `caudal.conditionals` for the equations. Columns of context are given, not explained. Of
    more than 64 columns the 32 that pull most at the density of a row are explained.

    Args:
        data: as of `log_prob`.
        rows: the numbers, from 1, of the rows to explain.
        n: how many rows of lowest log-density to explain, if `rows` names none.
        seed: of the noise that fills steps and gaps.
        reading: options of how such data are read, as of `caudal score`.

    Raises:
        InputError: as `log_prob`; the model is not one of tables, or there is no such row.
    """
    check_explains(model)
    check_seed(seed)
    check_value("n", n, Count)
    check_value("rows", tuple(rows), tuple[Count, ...])
    kept = Lowest(n, rows)
    items = model.open_all(data, reading)
    for piece, log_prob, _ in scored(model, items, seed, draws_of(model)):
        kept.add(piece, log_prob)
    for row in sorted(set(rows) - set(kept.rows.tolist())):
        why = "it has no log_prob" if row <= kept.seen else f"{items.name} has {kept.seen:,} rows"
        raise InputError(f"`rows` {row}: {why}; leave it out")
    form = container_of(data)
    return like(kept.explain(model, seed), form if form in ("pandas", "polars") else "pyarrow")


def lowest_of(model: "Model", n: int) -> Lowest | None:
    """What keeps the `n` lowest rows, to be explained; None for 0."""
    check_value("explain", n, Annotated[int, Ge(0)])
    if n:
        check_explains(model)
    return Lowest(n) if n else None


def check_explains(model: "Model") -> None:
    """Refuses a model whose items have no columns to blame."""
    if model.kind.explainer is None:
        raise InputError(
            f"`explain` tells which columns of a table are to blame, and {model.name} models "
            f"{model.schema.what}: leave it out"
        )


def most_surprising(table: pa.Table) -> list[dict[str, Any]]:
    """The rows that were explained, each with its most surprising columns, for JSON.

    JSON has no infinity: a value outside of its column's support has the surprise null, too.
    """
    names = ("column", "value", "expected", "low", "high", "surprise", "conditional")
    return [
        {
            "row": row,
            COLUMN: plain(lines[0][COLUMN]),
            "columns": [{name: plain(line[name]) for name in names} for line in lines],
        }
        for row, lines in _by_row(table).items()
    ]


def on_screen(table: pa.Table) -> ScreenTable:
    """The explanations as a table to read."""
    title = "Why the least likely rows are so, given the rest of each"
    head = ["row", COLUMN, "column", "value", "expected", "5% .. 95%", "surprise"]
    shown = []
    for row, lines in _by_row(table).items():
        start = [str(row), number(lines[0][COLUMN], 2)]
        for line in lines:
            shown.append([*start, shorten(line["column"], _NAME), *_cells(line)])
            start = ["", ""]
    return ScreenTable(title, head, shown, "nn    n")


def _by_row(table: pa.Table) -> dict[int, list[dict[str, Any]]]:
    """The lines of the most surprising columns of each row."""
    lines_of: dict[int, list[dict[str, Any]]] = {}
    for line in table.to_pylist():
        lines_of.setdefault(line["row"], []).append(line)
    return {row: lines[:SHOWN] for row, lines in lines_of.items()}


def _cells(line: Mapping[str, Any]) -> list[str]:
    low, high = line["low"], line["high"]
    between = f"{shorten(low, _CELL)} .. {shorten(high, _CELL)}" if low else ""
    value, expected = ("missing" if v is None else v for v in (line["value"], line["expected"]))
    if line["surprise"] is None:
        expected = ""
    return [shorten(value, _CELL), shorten(expected, _CELL), between, number(line["surprise"], 1)]
