"""What is shown of a table before training: its columns, and what to beware of."""

import math
from collections.abc import Iterator
from typing import Any

from torch import Tensor

from caudal.data import Dataset, Summary
from caudal.data.table.guess import FOLLOWS, PASSED
from caudal.data.table.listed import COLUMNS_FILE
from caudal.recipes import Recipe
from caudal.report import ScreenTable
from caudal.report.numbers import span
from caudal.report.numbers import step as step_in_words
from caudal.report.style import shorten

_LISTED = 24  # columns
_NAME, _WIDE = 22, 30  # characters of their names, and of their values
_LOOKED_AT, _LEAST, _CROWDED = 4096, 100, 6.0  # rows; rows; nats
_GAUSSIAN_ALONE = ("made", "maf", "iaf")


def preview(dataset: Dataset) -> Iterator[Any]:
    """A table of the columns, and the sizes of the three parts."""
    shown = list(dataset.summary)
    if len(shown) > _LISTED:
        shown = shown[: _LISTED // 2]
    head = ["column", "kind", "missing", "values", ""]
    if shown:  # the columns of a finished run are known, and not told again
        yield ScreenTable("", head, [_cells(summary) for summary in shown], "")
    if len(shown) < len(dataset.summary):
        more = len(dataset.summary) - len(shown)
        yield f"... and {more} more columns; {COLUMNS_FILE} in the run has them all\n"
    yield ", ".join(f"{source.n_rows:,} {name}" for name, source in dataset.parts) + " rows"


def advice(recipe: Recipe, dataset: Dataset) -> list[str]:
    """What to beware of with this recipe and these columns."""
    lines = []
    if recipe.scores == "sequential" and len(dataset.schema.columns) > 1:
        lines.append(
            f"{recipe.name} scores one column at a time, and so it trains by maximum "
            f"likelihood; maf does both in one pass"
        )
    if len(dataset.schema.columns) == 1 and recipe.name in _GAUSSIAN_ALONE:
        lines.append(
            f"of a single column {recipe.name} can only make a Gaussian, before the column's "
            f"support bends it: use nsf-ar or maf-mog"
        )
    first = next(dataset.train.ordered(_LOOKED_AT)).x
    for column, values in zip(dataset.schema.columns, first.T, strict=True):
        if column.step or column.atoms or column.whole:
            continue
        if (nats := crowding(values)) > _CROWDED:
            lines.append(
                f"'{column.name}' crowds at few values, which alone give {nats:.0f} nats more "
                f"than a smooth column has: say in which steps it comes, as in `types` "
                f"{column.name}=real:0.01, or leave it out with `columns`"
            )
    return lines


def crowding(values: Tensor) -> float:
    """How much denser a column is than a Gaussian of its interquartile range, in nats a row.

    The density is estimated by the distances between every m-th of the sorted values, m the root
    of their number (Vasicek, 1976); distances of 0 count as a millionth of the range.
    """
    x = values[values.isfinite()].double().sort().values
    n, m = len(x), int(len(x) ** 0.5)
    quarter = (x[3 * n // 4] - x[n // 4]) if n > _LEAST else x.new_zeros(())
    if quarter <= 0:
        return 0.0
    gaps = (x[m:] - x[:-m]).clamp(min=1e-6 * float(quarter))
    entropy = float((gaps * n / m).log().mean())
    gaussian = math.log(float(quarter) / 1.349) + 0.5 * math.log(2 * math.pi * math.e)
    return gaussian - entropy


def _cells(s: Summary) -> list[str]:
    """One line of the preview; it ends with what was decided, and the argument that changes it."""
    missing = f"{_percent(s.missing)} {s.gaps}".rstrip() if s.missing else ""
    if s.role in (PASSED, FOLLOWS):
        how = f"{s.source}; {s.change}" if s.change else s.source
        why = s.why.removeprefix("is ").removeprefix("has ")
        return [shorten(s.name, _NAME), s.role, missing, shorten(why, _WIDE), how]
    kind = s.support if s.kind == "categorical" else f"{s.kind} {s.support}"
    step = step_in_words(s)
    by = "" if step in ("", "1") else f" by {step}"
    by += ", in heaps" if s.heaped else ""
    if s.above:  # which says more than the ends of what it may be
        kind, by = s.kind, f"{by}, never below {shorten(' or '.join(s.above), _NAME)}"
    values = span(s)
    if s.words and len(values) > _WIDE:
        values = f"{s.words[0]} .. {s.words[-1]}"  # no median, but both ends
    elif s.low is None and not s.words:
        values = shorten(values, _WIDE)
    source = "" if s.change and s.source == "guessed" else s.source
    remarks = [source, "context" if s.role == "context" else "", s.change]
    return [shorten(s.name, _NAME), kind + by, missing, values, ", ".join(filter(None, remarks))]


def _percent(share: float) -> str:
    return f"{share:.1%}" if share < 0.1 else f"{share:.0%}"
