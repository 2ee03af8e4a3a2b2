"""Why rows of a table are unlikely: how surprising each of their values is, given the others."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from caudal.conditionals import DRAWS, Conditional, Line, conditionals
from caudal.data import Batch, Column, TableSchema, dtypes
from caudal.data.table.decode import decode_column
from caudal.flow import Flow
from caudal.modalities.table.pulling import pulls
from caudal.report.items import place
from caudal.training.dressing import dressing_of

_POINTS, _FAR = 33, 6.0  # with which a line begins, and its ends in deviations of the noise
_WHOLE = 256  # points of a lattice that is summed whole
_FINELY = 100  # how finely an expected value is told, as a share of the range of values
LOOKED_AT = 32  # columns of a row, where there are more than twice as many
_NUMBERS = 1 << 22  # at a time, at most: bounds the memory
UNSEEN_WORDS = "(not seen in training)"

EXPLAINED = pa.schema(
    [
        *(("item", pa.int64()), ("column", pa.string()), ("value", pa.string())),
        *(("expected", pa.string()), ("low", pa.string()), ("high", pa.string())),
        *(("surprise", pa.float64()), ("conditional", pa.float64())),
    ]
)
"""What `explain` tells of each value."""


def explain(flow: Flow, schema: TableSchema, batch: Batch, seed: int = 0) -> pa.Table:
    """How surprising each value of some rows is given the others of its row, as `EXPLAINED`.

    Each row, `item` from 0 on, has a line for each column, the most surprising first. Values are
    written as in the user's table; null is a missing one. See `caudal.conditionals` for `surprise`
    and `conditional`, the log-probability or log-density given the other values, both in nats.
    `expected`, `low` and `high` are the median and the quantiles of 5 and 95 % under the same
    distribution, of categories the likeliest one alone. A value outside of its column's support
    has the surprise inf; where another column is outside, that of a value is not known, null.

    Rows of more than 64 columns have lines of the 32 that pull most at their density (see
    `caudal.modalities.table.pulling`), so that the time they take has a bound.
    """
    x, context = place(flow, batch)
    lines = lines_of(flow, schema.lifted)
    if len(lines) > 2 * LOOKED_AT:
        return pa.Table.from_pylist(_of_few(flow, schema, batch, lines, seed), EXPLAINED)
    longest = max(len(line.start) for line in lines)
    draws = 1 if flow.dequantization is None else DRAWS
    rows = max(1, _NUMBERS // (draws * longest * len(lines)))
    described = []
    for first in range(0, len(x), rows):
        part = slice(first, first + rows)
        contexts = None if context is None else context[part]
        conditional = conditionals(flow, x[part], lines, contexts, seed=seed)
        told = _told(schema.columns, x[part].double().cpu(), conditional, first)
        described += [_with_mark(line, schema) for line in told]
    return pa.Table.from_pylist(described, EXPLAINED)


def _of_few(
    flow: Flow, schema: TableSchema, batch: Batch, lines: Sequence[Line], seed: int
) -> list[dict[str, Any]]:
    """The lines of the columns of each row that pull most at its density."""
    x, context = placed = place(flow, batch)
    pull, described = pulls(flow, placed, seed).cpu(), list[dict[str, Any]]()
    for d, column in enumerate(schema.columns):
        pull[_outside(column, x[:, d].double().cpu().numpy()), d] = torch.inf
    for row, each in enumerate(pull):
        chosen = each.topk(LOOKED_AT).indices.sort().values.tolist()
        part = slice(row, row + 1)
        given = None if context is None else context[part]
        found = conditionals(flow, x[part], lines, given, DRAWS // 4, seed, chosen)
        columns, values = [schema.columns[i] for i in chosen], x[part, chosen].double().cpu()
        described += [_with_mark(t, schema) for t in _told(columns, values, found, row)]
    return described


def lines_of(flow: Flow, columns: Sequence[Column]) -> list[Line]:
    """Where the values of each column are, by its distribution in the training rows.

    A column that is never below others has what it is above these for its values.
    """
    z = torch.linspace(-_FAR, _FAR, _POINTS).to(flow.base.like)
    y = z[:, None].expand(-1, *flow.base.event_shape)
    for part in dressing_of(flow):
        y, _ = part.forward(y)
    values = y.double().T[: len(columns)]
    lines = [_line(column, start) for column, start in zip(columns, values, strict=True)]
    support = getattr(flow.dequantization, "support", None)
    if support is None:
        return lines
    opened = zip(columns, lines, support.low.tolist(), support.high.tolist(), strict=True)
    return [
        line._replace(low=low, high=high) if column.atoms or column.whole or column.heaps else line
        for column, line, low, high in opened
    ]


def _line(column: Column, values: Tensor) -> Line:
    low = -math.inf if column.low is None else column.low
    high = math.inf if column.high is None else column.high
    step, origin = column.step or 0.0, column.origin
    if not step or column.heaps:
        return Line(values, 0.0, low, high, column.missing)
    points = (high - low) / step + 1
    if points <= _WHOLE:
        steps = torch.arange(round(points), device=values.device)
    else:
        steps = ((values - origin) / step).floor()
        last = math.inf if math.isinf(high) else round((high - origin) / step)
        steps = steps.clamp(0.0 if math.isfinite(low) else -math.inf, last).unique()
    if len(steps) == 1 and points > 1:  # a line has two points
        steps = torch.cat([steps, steps + (1 if origin + (steps + 1) * step <= high else -1)])
    start = (origin + steps.to(values) * step).sort().values
    return Line(start, step, low, high, column.missing)


def _told(
    columns: Sequence[Column], x: Tensor, found: Sequence[Conditional], first: int
) -> Iterator[dict[str, Any]]:
    """The lines of rows x (B, D), row by row."""
    outside = [
        _outside(column, values.numpy()) for column, values in zip(columns, x.T, strict=True)
    ]
    surprises = torch.stack([each.surprise for each in found], 1).cpu().numpy()
    surprises = np.where(np.stack(outside, 1), np.inf, surprises)
    texts = [
        _texts(column, values.numpy(), each, is_outside)
        for column, values, each, is_outside in zip(columns, x.T, found, outside, strict=True)
    ]
    for row, surprise in enumerate(surprises):
        for d in np.argsort(-np.nan_to_num(surprise, nan=-np.inf), kind="stable"):
            log_prob = -math.inf if outside[d][row] else float(found[d].log_prob[row])
            yield {
                "item": first + row,
                "column": columns[d].name,
                **{name: text[row] for name, text in texts[d].items()},
                "surprise": _known(float(surprise[d])),
                "conditional": _known(log_prob),
            }


def _with_mark(line: dict[str, Any], schema: TableSchema) -> dict[str, Any]:
    """A line whose plain numbers have the decimal mark of the user's file."""
    if schema.written.decimal == "." or line["column"] not in schema.in_plain_numbers:
        return line
    texts = {name: line[name] for name in ("value", "expected", "low", "high")}
    marked = {n: t.replace(".", schema.written.decimal) for n, t in texts.items() if t is not None}
    return {**line, **marked}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _outside(column: Column, values: np.ndarray) -> np.ndarray:
    """Mask (N,) of the values that the column cannot have."""
    low = -math.inf if column.low is None else column.low
    high = math.inf if column.high is None else column.high
    outside = (values < low) | (values > high)
    if column.atoms:
        away = np.abs(values[:, None] - np.array(column.atoms))
        outside &= (away > 1e-6 * np.abs(column.atoms)).all(1)
    if column.step:
        steps = (values - column.origin) / column.step
        outside |= np.abs(steps - np.round(steps)) > 0.01 + 1e-6 * np.abs(steps)
    elif column.kind == "positive" and not column.atoms:
        outside |= values <= low
    return outside


def _texts(
    column: Column, values: np.ndarray, found: Conditional, outside: np.ndarray
) -> dict[str, list[str | None]]:
    """A value and what was expected in its place, as they are written in the user's table."""
    value = _written(column, np.where(outside, column.origin, values))
    unseen = column.categories is not None  # all that is known of it is that it is new
    beyond = UNSEEN_WORDS if unseen else None
    numbers = zip(value, values, outside, strict=True)
    value = [(beyond or column.words(v)) if out else text for text, v, out in numbers]
    nothing: list[str | None] = [None] * len(values)
    if column.categories is not None:
        expected = _written(column, _of(found.likeliest, found))
        return {"value": value, "expected": expected, "low": nothing, "high": nothing}
    low, median, high = (_of(q, found) for q in (found.low, found.median, found.high))
    if column.step is None:
        low, median, high = (_rounded(q, high - low) for q in (low, median, high))
    gone = found.missing.cpu().numpy() > 0.5
    plain = replace(column, missing=True)
    return {
        "value": value,
        "expected": _written(plain, np.where(gone, np.nan, median)),
        "low": _written(plain, low),
        "high": _written(plain, high),
    }


def _of(quantile: Tensor, found: Conditional) -> np.ndarray:
    """Quantiles (N,), NaN where the distribution is not known."""
    known = ~found.missing.isnan() & ~found.surprise.isnan()
    return torch.where(known, quantile, torch.nan).cpu().numpy()


def _rounded(values: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """Values to about a hundredth of their spread."""
    pairs = zip(values.tolist(), spread.tolist(), strict=True)
    return np.array([round(v, _digits(s)) if s > 0 else v for v, s in pairs])


def _digits(spread: float) -> int:
    """The digits after the point that show a hundredth of the spread."""
    return -math.floor(math.log10(spread / _FINELY))


def _written(column: Column, values: np.ndarray) -> list[str | None]:
    """Values (N,) as the user's table has them, None where they are missing."""
    gone = np.isnan(values)
    cells = decode_column(column, np.where(gone, column.origin, values))
    texts = dtypes.plain(pa.chunked_array([cells])).cast(pa.string()).to_pylist()
    return [None if is_gone else text for text, is_gone in zip(texts, gone, strict=True)]
