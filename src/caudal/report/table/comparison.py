"""Rows of the data and samples of the flow, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from caudal.data import Batch, Column, Dataset, Source, TableSchema
from caudal.data.table.convert import into_support
from caudal.flow import Flow
from caudal.report.distilled import Samples
from caudal.report.items import noise, place
from caudal.report.two_sample import kolmogorov_smirnov

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


@torch.no_grad()
def compare(flow: Flow, dataset: Dataset, seed: int = 0, rows: int = ROWS) -> Comparison:
    """Takes test rows, or training rows if there are few of those, and draws as many samples."""
    source, what = _choose(dataset, rows)
    flow.eval()
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
        dataset.schema,
        data,
        _as_written(dataset.schema.columns, torch.cat(samples)),
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


@dataclass(frozen=True)
class Distance:
    """One column's data against its samples, missing values apart.

    Attributes:
        name: the column.
        measure: "KS" for numbers, the Kolmogorov-Smirnov distance: the largest difference between
            the two cumulative shares; "TV" for categories, total variation: the share that would
            have to change its category.
        value: 0 for equal, 1 for disjoint.
        missing: share of missing values in the data, and in the samples.
    """

    name: str
    measure: str
    value: float
    missing: tuple[float, float]


def distances(comparison: Comparison) -> list[Distance]:
    """The distance of each column, the worst first."""
    pairs = zip(comparison.columns, comparison.data.T, comparison.samples.T, strict=True)
    return sorted((_distance(column, a, b) for column, a, b in pairs), key=lambda d: -d.value)


def _distance(column: Column, data: np.ndarray, samples: np.ndarray) -> Distance:
    missing = (float(np.isnan(data).mean()), float(np.isnan(samples).mean()))
    data, samples = data[~np.isnan(data)], samples[~np.isnan(samples)]
    if not len(data) or not len(samples):
        return Distance(column.name, "KS", float(len(data) != len(samples)), missing)
    if column.categories is not None:
        return Distance(column.name, "TV", _total_variation(data, samples), missing)
    return Distance(column.name, "KS", kolmogorov_smirnov(data, samples), missing)


def _total_variation(a: np.ndarray, b: np.ndarray) -> float:
    levels = int(max(a.max(), b.max())) + 1
    shares = [np.bincount(v.astype(int), minlength=levels) / len(v) for v in (a, b)]
    return 0.5 * float(np.abs(shares[0] - shares[1]).sum())
