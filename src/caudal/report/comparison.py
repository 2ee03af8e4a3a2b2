"""Rows of the data and samples of the flow, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from caudal.data import Batch, Column, Dataset, Source, TableSchema
from caudal.data.table.decode import into_support
from caudal.flow import Flow
from caudal.report.evaluate import some_rows
from caudal.report.gaussian import noise, place

ROWS = 5000
CHUNK = 1000


@dataclass(frozen=True)
class Comparison:
    """As many samples as rows of data; with context, each sample has the context of its row.

    Attributes:
        schema: the columns.
        data: rows (N, D) float64, as the schema encodes them: codes, NaN where missing.
        samples: the same of the samples.
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
    """Takes test rows, or training rows where there are few of those, and samples as many."""
    source, what = _choose(dataset, rows)
    flow.eval()
    generator = noise(flow, seed)
    kept: list[Batch] = []
    samples: list[Tensor] = []
    for batch in some_rows(source, rows, CHUNK):
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


@torch.no_grad()
def compare_flows(
    student: Flow, teacher: Flow, schema: TableSchema, contexts: Tensor | None, seed: int = 0
) -> Comparison:
    """As many samples of a teacher as of its student, given the same contexts in turn."""
    given = None if contexts is None else contexts[torch.arange(ROWS) % len(contexts)]
    samples = []
    for which, flow in enumerate((teacher, student)):
        rows = None if given is None else given.to(flow.base.like)
        drawn = flow.eval().sample(ROWS, rows, generator=noise(flow, seed + which))
        samples.append(_as_written(schema.columns, drawn.cpu()))
    context = None if given is None else given.double().cpu().numpy()
    names = ("teacher", "student")
    what = f"{ROWS:,} samples of the teacher"
    return Comparison(schema, samples[0], samples[1], context, what, names)


def _choose(dataset: Dataset, rows: int) -> tuple[Source, str]:
    few = dataset.test.n_rows < min(1000, rows)
    return (dataset.train, "training") if few else (dataset.test, "test")


def _as_written(columns: Sequence[Column], samples: Tensor) -> np.ndarray:
    """Samples as they stand in the user's file: on their lattice, inside their support."""
    values = samples.double().numpy()
    return np.stack([into_support(c, v) for c, v in zip(columns, values.T, strict=True)], axis=1)
