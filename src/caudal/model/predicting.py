"""The distribution of a target in new rows: quantiles, means and probabilities of classes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import Tensor

from caudal.data import Column, Piece, TableWriter, like_data
from caudal.data.table.decode import decode_column
from caudal.errors import InputError
from caudal.report.items import place
from caudal.training.threads import uncrowded
from caudal.univariate import is_univariate, masses
from caudal.univariate import quantiles as quantiles_of

if TYPE_CHECKING:
    from caudal.model.model import Model

LEVELS = (0.05, 0.5, 0.95)
"""Levels of the quantiles that are predicted by default."""
MOST_CLASSES = 100  # classes whose probabilities have columns of their own
_SHARES = 100  # a mean is taken over the middles of so many equal shares of probability


@dataclass
class Predicted:
    """What predicting the rows of a table came to.

    Attributes:
        column: the one that was predicted.
        rows: how many rows there were.
        without: how many have no prediction, as they lack a value of the context.
    """

    column: str
    rows: int = 0
    without: int = 0

    def to_dict(self, out: str) -> dict[str, Any]:
        """For JSON."""
        return {
            "out": out,
            "column": self.column,
            "rows": self.rows,
            "rows_unpredicted": self.without,
        }


@uncrowded()
def predict(model: "Model", data: Any, *, levels: Sequence[float] = LEVELS, **reading: Any) -> Any:
    """The rows of `data`, with what a model expects of its target in each of them.

    For a target of numbers, such as `price`, it adds the columns `price_mean` and, for each
    level, a quantile such as `price_q95`, below which 95 % of the distribution lie. For one of
    categories it adds `price_likeliest`, its probability `price_p`, and that of each class as
    `price_p_CLASS`, if there are at most 100. All are exact: a flow of one number is monotone,
    so that no draws are needed; the mean is that of 100 quantiles.

    Args:
        data: as of `log_prob`; they need not have the target.
        levels: of the quantiles, between 0 and 1.
        reading: options of how such data are read, as of `caudal predict`.

    Raises:
        InputError: the model has no target, a level is out of its range, or the data do not
            fit the model.
    """
    items, seen = _opened(model, data, levels, reading)
    return like_data(pa.concat_tables(_predicted(model, items, levels, seen)), data)


@uncrowded()
def write_predictions(
    model: "Model",
    data: Any,
    out: str | Path,
    *,
    levels: Sequence[float] = LEVELS,
    overwrite: bool = False,
    **reading: Any,
) -> Predicted:
    """Writes `data` with what `predict` adds to the table file `out`.

    Raises:
        InputError: as `predict`, or the file cannot be written.
    """
    writer = TableWriter(out)
    writer.prepare(overwrite)
    items, seen = _opened(model, data, levels, reading)
    writer.check(items.arrow)
    items = items.beside_lines(writer)
    with writer:
        for table in _predicted(model, items, levels, seen):
            writer.write(table)
    return seen


def quantiles(model: "Model", data: Any, levels: Sequence[float], **reading: Any) -> np.ndarray:
    """Quantiles (N, L) of a target of numbers given each row of `data`, in its own units.

    Raises:
        InputError: as `predict`.
    """
    items, _ = _opened(model, data, levels, reading)
    column, parts = target_of(model), []
    for piece in items.pieces():
        made = np.full((piece.beside.num_rows, len(levels)), np.nan)
        made[_kept(piece)] = _values(model, piece, levels).cpu().double().numpy() + column.offset
        parts.append(made)
    return np.concatenate(parts)


def target_of(model: "Model") -> Column:
    """The one column that a model predicts.

    Raises:
        InputError: the model has no target.
    """
    columns: Sequence[Column] = getattr(model.schema, "columns", ())
    if len(columns) == 1 and columns[0].period is not None:
        raise InputError(
            f"{model.name}: '{columns[0].name}' is on a circle, where there are no quantiles to "
            f"predict: draw samples given the other columns"
        )
    if len(columns) != 1 or not model.schema.context or not is_univariate(model.flow):
        raise InputError(
            f"{model.name} has no target to predict: train one, as with `target` NAME, which is "
            f"modelled given the other columns"
        )
    return columns[0]


def check_levels(levels: Sequence[float], name: str = "levels") -> None:
    """Refuses levels of quantiles that are not between 0 and 1."""
    for level in levels:
        if not 0 < level < 1:
            raise InputError(f"`{name}` {level}: levels lie above 0 and below 1")


def _opened(
    model: "Model", data: Any, levels: Sequence[float], reading: dict[str, Any]
) -> tuple[Any, Predicted]:
    check_levels(levels)
    column = target_of(model)
    if column.categories is not None and tuple(levels) != LEVELS:
        raise InputError(f"`levels`: '{column.name}' is of categories, which have no quantiles")
    names = _names(column, levels)
    if twice := [name for i, name in enumerate(names) if name in names[:i]]:
        raise InputError(f"there would be two columns '{twice[0]}': give each of `levels` once")
    items = model.open_given(data, reading)
    items.refuse_columns(names)
    return items, Predicted(column.name)


def _predicted(
    model: "Model", items: Any, levels: Sequence[float], seen: Predicted
) -> Iterator[pa.Table]:
    """The rows piece by piece, with what is predicted beside them."""
    column = target_of(model)
    for piece in model.voice.track(items.pieces(), "predicting", items.total):
        keep, table = _kept(piece), piece.beside
        arrays = _numbers if column.categories is None else _classes
        for name, values in zip(
            _names(column, levels), arrays(model, column, piece, levels), strict=True
        ):
            table = table.append_column(name, _spread(values, keep))
        seen.rows += len(keep)
        seen.without += int((~keep).sum())
        yield table


def _names(column: Column, levels: Sequence[float]) -> list[str]:
    """The columns of what is predicted."""
    if column.categories is None:
        return [f"{column.name}_{what}" for what in ("mean", *(f"q{100 * q:g}" for q in levels))]
    shown = column.categories if len(column.categories) <= MOST_CLASSES else ()
    each = [f"{column.name}_p_{'missing' if c is None else c}" for c in shown]
    return [f"{column.name}_likeliest", f"{column.name}_p", *each]


def _numbers(
    model: "Model", column: Column, piece: Piece, levels: Sequence[float]
) -> Iterator[pa.Array]:
    """The mean, and the quantiles in the user's type."""
    middles = [(i + 0.5) / _SHARES for i in range(_SHARES)]
    mean = _values(model, piece, middles).double().mean(1).cpu().numpy()
    if column.unit is None and column.format is None:
        yield pa.array(mean + column.offset)
    else:
        yield decode_column(replace(column, step=None, atoms=()), mean)
    for values in _values(model, piece, levels).T:
        yield decode_column(column, values.double().cpu().numpy())


def _classes(
    model: "Model", column: Column, piece: Piece, levels: Sequence[float]
) -> Iterator[pa.Array]:
    """The likeliest class, its probability, and those of all classes."""
    categories = column.categories or ()
    context = _context(model, piece)
    edges = torch.arange(len(categories) + 1).to(model.flow.base.like)
    shares = masses(model.flow, edges, context).cpu().numpy()
    yield decode_column(column, shares.argmax(1).astype(float))
    yield pa.array(shares.max(1))
    if len(categories) <= MOST_CLASSES:
        yield from map(pa.array, shares.T)


def _values(model: "Model", piece: Piece, levels: Sequence[float]) -> Tensor:
    """Quantiles (B, L) of the rows of a piece, encoded."""
    return quantiles_of(
        model.flow, torch.tensor(levels, dtype=torch.float64), _context(model, piece)
    )


def _context(model: "Model", piece: Piece) -> Tensor:
    context = place(model.flow, piece.batch).context
    assert context is not None
    return context


def _kept(piece: Piece) -> np.ndarray:
    """Mask (N,) of the rows that are predicted."""
    return np.ones(piece.beside.num_rows, bool) if piece.keep is None else piece.keep


def _spread(values: pa.Array, keep: np.ndarray) -> pa.Array:
    """Values of the rows in a mask as a column of all rows, null in the others."""
    if keep.all():
        return values
    return pc.take(values, pa.array(np.cumsum(keep) - 1, mask=~keep))
