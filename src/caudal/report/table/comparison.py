"""Rows of the data and samples of the flow, side by side, and column by column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from caudal.data import Batch, Column, Dataset, Source, TableSchema
from caudal.data.source import as_often
from caudal.data.table.decode import into_support
from caudal.flow import Flow
from caudal.report.distilled import Samples
from caudal.report.items import noise, place
from caudal.report.style import DATA, INK, QUIET, SAMPLES, grid, legend, shorten
from caudal.report.table.measures import Distance, distance

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure

ROWS = 5000
CHUNK = 1000


@dataclass(frozen=True)
class Comparison:
    """As many samples as rows of data; with context, each sample has the context of its row.

    Attributes:
        schema: the columns.
        data: rows (N, D) float64, as the schema encodes them: codes, NaN where missing.
        samples: samples (N, D), encoded alike.
        context: (N, C) float64, or None.
        rows: what the rows are, such as "2,000 test rows".
        sides: what to call the two in pictures.
    """

    schema: TableSchema
    data: np.ndarray
    samples: np.ndarray
    context: np.ndarray | None
    rows: str
    sides: tuple[str, str] = ("data", "samples")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of `data` and `samples`."""
        return self.schema.columns

    @property
    def both(self) -> tuple[tuple[str, np.ndarray, str], ...]:
        """Name, rows and colour of each side."""
        return (self.sides[0], self.data, DATA), (self.sides[1], self.samples, SAMPLES)


def compare(flow: Flow, dataset: Dataset, seed: int = 0, rows: int = ROWS) -> Comparison:
    """Takes test rows, or training rows if there are few of those, and draws as many samples."""
    source, what = _choose(dataset, rows)
    return beside(flow, source, dataset.schema, what, rows, seed)


@torch.no_grad()
def beside(
    flow: Flow, source: Source, schema: TableSchema, what: str, rows: int, seed: int = 0
) -> Comparison:
    """Takes at most so many rows of a source, which are called `what`, and draws as many samples.

    Rows with weights are taken as often as they count. The flow is put into eval mode.
    """
    flow.eval()
    source = as_often(source)
    generator = noise(flow, seed)
    kept: list[Batch] = []
    samples: list[Tensor] = []
    for batch in source.items(rows, CHUNK):
        kept.append(batch)
        context = place(flow, batch).context
        samples.append(flow.sample(len(batch.x), context, generator=generator).cpu())
    contexts = [batch.context for batch in kept if batch.context is not None]
    data = torch.cat([batch.x for batch in kept]).double().cpu().numpy()
    return Comparison(
        schema,
        data,
        _as_written(schema.columns, torch.cat(samples)),
        torch.cat(contexts).double().cpu().numpy() if contexts else None,
        f"{len(data):,} {what} rows",
    )


def compare_flows(samples: Samples, schema: TableSchema) -> Comparison:
    """Samples of a teacher beside those of its student."""
    teacher, student = (_as_written(schema.columns, x) for x in samples[:2])
    context = None if samples.context is None else samples.context.double().numpy()
    what = f"{len(teacher):,} samples of the teacher"
    return Comparison(schema, teacher, student, context, what, ("teacher", "student"))


def _choose(dataset: Dataset, rows: int) -> tuple[Source, str]:
    few = dataset.test.n_rows < min(1000, rows)
    return (dataset.train, "training") if few else (dataset.test, "test")


def _as_written(columns: Sequence[Column], samples: Tensor) -> np.ndarray:
    """Samples as they are written to a file: on their lattice and inside their support."""
    values = samples.double().numpy()
    return np.stack([into_support(c, v) for c, v in zip(columns, values.T, strict=True)], axis=1)


def distances(comparison: Comparison) -> list[Distance]:
    """The distance of each column, the worst first."""
    pairs = zip(comparison.columns, comparison.data.T, comparison.samples.T, strict=True)
    return sorted((distance(column, a, b) for column, a, b in pairs), key=lambda d: -d.value)


# --- pictures of the columns ---------------------------------------------------------------------

MOST = 24
LEVELS = 8
BINS = 40


def draw_marginals(comparison: Comparison) -> "Figure":
    """Histograms of numbers and bars of categories, in the data's order; the worst of many."""
    worst = [d.name for d in distances(comparison)[:MOST]]
    shown = [i for i, c in enumerate(comparison.columns) if c.name in worst]
    figure, panels = grid(len(shown), across=4)
    for axes, i in zip(panels, shown, strict=True):
        column = comparison.columns[i]
        data, samples = comparison.data[:, i], comparison.samples[:, i]
        draw = _draw_categories if column.categories is not None else draw_numbers
        draw(axes, column, data, samples)
        axes.set_title(_title(column, data, samples), loc="left")
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
    legend(figure, data=comparison.sides[0], samples=comparison.sides[1])
    return figure


def limits(values: np.ndarray) -> tuple[float, float]:
    """The range of all but the outermost 0.2 % of the values, and a little more."""
    values = values[~np.isnan(values)]
    low, high = np.quantile(values, [0.001, 0.999])
    if low == high:
        low, high = values.min(), values.max()
    margin = 0.03 * (high - low) or 0.5
    return float(low - margin), float(high + margin)


def edges(column: Column, values: np.ndarray) -> np.ndarray:
    """Edges of bins over the values' range; with steps, each bin covers whole steps."""
    low, high = limits(values)
    if column.step is None:
        return np.linspace(low, high, BINS + 1)
    first = np.ceil((low - column.origin) / column.step)
    last = np.floor((high - column.origin) / column.step)
    width = max(1, int(np.ceil((last - first + 1) / BINS)))
    # Half a step off the lattice, so that no value lies on an edge.
    return column.origin + (np.arange(first, last + width + 1, width) - 0.5) * column.step


def spike(values: np.ndarray) -> float | None:
    """The value of more than half of the rows, if beside it the others would be too flat."""
    distinct, counts = np.unique(values[~np.isnan(values)], return_counts=True)
    if len(distinct) <= LEVELS or 2 * counts.max() <= counts.sum():
        return None
    return float(distinct[counts.argmax()])


def spikes(comparison: Comparison) -> bool:
    """Whether a column of numbers has such a value."""
    pairs = zip(comparison.columns, comparison.data.T, strict=True)
    return any(column.categories is None and spike(data) is not None for column, data in pairs)


def draw_numbers(axes: "Axes", column: Column, data: np.ndarray, samples: np.ndarray) -> None:
    """Draws a filled histogram of the data and a line for the samples; words name a spike."""
    sides = [values[~np.isnan(values)] for values in (data, samples)]
    common = spike(data)
    if common is None:
        _histograms(axes, column, sides, [len(values) for values in sides])
        return
    near = (column.step or 0) / 2
    rest = [values[np.abs(values - common) > near] for values in sides]
    highest = _histograms(axes, column, rest, [len(values) for values in sides])
    # The data set the height, as samples may heap up beside the spike.
    axes.set_ylim(0, 1.5 * highest)
    shares = [1 - len(r) / max(len(v), 1) for r, v in zip(rest, sides, strict=True)]
    both = " | ".join(f"{share:.0%}" for share in shares)
    named = column.words(common) if column.unit else f"{common:.6g}"
    words = f"{named} is {both} of the rows\nand is left out"
    axes.text(1, 1, words, transform=axes.transAxes, ha="right", va="top", color=QUIET, fontsize=8)


def _histograms(
    axes: "Axes", column: Column, sides: Sequence[np.ndarray], counts: Sequence[int]
) -> float:
    """Draws both sides as shares of so many rows; returns the height of the data."""
    bins = edges(column, sides[0])
    filled: Any = {"histtype": "stepfilled", "color": DATA, "alpha": 0.55}
    line: Any = {"histtype": "step", "color": SAMPLES, "linewidth": 1.5}
    highest = []
    for values, n, look in zip(sides, counts, (filled, line), strict=True):
        weights = np.full(len(values), 1 / max(n, 1))
        heights, _, _ = axes.hist(values, bins=list(bins), weights=weights, **look)
        highest.append(float(np.max(heights)))
    axes.set_xlim(bins[0], bins[-1])
    whole = column.kind == "integer"
    bins_of_ticks = 2 if column.unit else 4  # dates are long
    axes.locator_params(axis="x", nbins=bins_of_ticks, integer=whole, min_n_ticks=1 + (not whole))
    name_ticks(axes.xaxis, column)
    return highest[0]


def name_ticks(axis: "Axis", column: Column) -> None:
    """Writes the user's numbers at the ticks of a column that is counted from an offset."""
    if column.unit or column.offset:
        axis.set_major_formatter(lambda number, _: column.words(number))


def level_names(column: Column) -> list[str]:
    """The categories of a column as pictures call them."""
    return ["missing" if level is None else str(level) for level in column.categories or ()]


def _draw_categories(axes: "Axes", column: Column, data: np.ndarray, samples: np.ndarray) -> None:
    """Draws horizontal bars, the most frequent category on top."""
    names = level_names(column)
    shares = [np.bincount(v.astype(int), minlength=len(names)) / len(v) for v in (data, samples)]
    order = np.argsort(-shares[0], kind="stable")[:LEVELS]
    heights = np.arange(len(order))
    axes.barh(heights - 0.2, shares[0][order], 0.4, color=DATA, alpha=0.55)
    axes.barh(heights + 0.2, shares[1][order], 0.4, color=SAMPLES)
    axes.set_ylim(len(order) - (0.4 if len(names) <= LEVELS else -0.4), -0.6)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)
    room = float(max(share[order].max() for share in shares))
    axes.set_xlim(0, 1.7 * room)
    for height, level in zip(heights, order, strict=True):
        end = float(max(shares[0][level], shares[1][level])) / room
        # The shorter the bars, the longer the name may be.
        name = shorten(names[level], int(34 - 20 * end))
        _beside(axes, end, float(height), name, INK)
    if len(names) > LEVELS:
        _beside(axes, 0, len(order), f"and {len(names) - LEVELS} more", QUIET)


def _beside(axes: "Axes", end: float, place: float, words: str, colour: str) -> None:
    """Writes words after a bar, whose `end` is a share of the longest one."""
    x = (end + 0.03) * axes.get_xlim()[1] / 1.7
    axes.text(x, place, words, va="center", color=colour, fontsize=8)


def _title(column: Column, data: np.ndarray, samples: np.ndarray) -> str:
    title = shorten(column.name, 24)
    if column.missing:
        title += f"  (missing {np.isnan(data).mean():.0%} | {np.isnan(samples).mean():.0%})"
    return title
