"""How well a flow explains rows it has not seen, beside a Gaussian."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor

from caudal.data import Batch, Source, TableSchema
from caudal.errors import NumericalError
from caudal.flow import Flow
from caudal.losses import bits_per_dim
from caudal.report.estimates import REDRAWN, estimate_errors
from caudal.report.gaussian import ROWS, Gaussian, noise, place


@dataclass(frozen=True)
class Evaluation:
    """Mean log-likelihoods of rows, in nats a row, in the user's units.

    A row scores -inf outside the support, where the density is 0, and where it is so far from the
    data that the flow's floating point cannot hold its log-density. Then the mean over all rows is
    -inf; `log_prob_inside` and what follows from it are of the other rows, called inside.

    Attributes:
        log_prob: mean over all rows.
        two_se: two standard errors of the mean over the rows inside; NaN if they are fewer than 2.
        kind: what it is, "exact", a "lower bound" or an estimate (`Flow.kind`).
        rows: how many there were.
        split: which they were: train, valid, test, or a file.
        rows_outside: how many of them score -inf.
        log_prob_inside: mean over the others, NaN if there are none.
        bits_per_dim: where every column is an integer with two known ends, else None.
        seed: of the noise that rounded or missing values were filled with, and of estimates.
        estimate_std: of an estimated flow, standard deviation of one row's log-density over draws
            of the estimate (4 redraws of up to 256 rows, their variances averaged).
        estimate_two_se: two standard errors that this causes in the mean; two_se has them in it.
        bias_bound: of a biased one, how far the mean over such draws is off at most, nats a row.
        gaussian_log_prob: all rows under the Gaussian.
        gaussian_log_prob_inside: those inside.
        gain: mean by which the flow is above the Gaussian, over the rows inside.
        gain_two_se: two standard errors of that, from the rows' own differences.
        gaussian: what the Gaussian is, in words.
        unit: always "nats".
    """

    log_prob: float
    two_se: float
    kind: str
    rows: int
    split: str
    rows_outside: int
    log_prob_inside: float
    bits_per_dim: float | None
    seed: int
    estimate_std: float | None = None
    estimate_two_se: float | None = None
    bias_bound: float | None = None
    gaussian_log_prob: float | None = None
    gaussian_log_prob_inside: float | None = None
    gain: float | None = None
    gain_two_se: float | None = None
    gaussian: str = "not known, as the run's training rows are not"
    unit: str = "nats"

    def to_dict(self) -> dict[str, Any]:
        """For JSON, which knows neither infinity nor NaN: both are null."""
        return {k: plain(v) for k, v in asdict(self).items() if v is not None}


@torch.no_grad()
def evaluate(
    flow: Flow,
    source: Source,
    gaussian: Gaussian | None,
    schema: TableSchema,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
) -> Evaluation:
    """Scores rows with the flow and the Gaussian, with the same noise.

    Args:
        flow: put into eval mode.
        source: the rows.
        gaussian: the baseline, fitted to the training rows; None where it is not known.
        schema: says which values the columns can have.
        split: what to call the rows.
        limit: how many rows to take at most, spread over the source.
        seed: of the noise, and of estimates.

    Raises:
        NumericalError: a log-density is NaN, or infinite upwards.
    """
    flow.eval()
    generator = noise(flow, seed)
    scores = [
        _score(flow, place(flow, batch), gaussian, schema, generator)
        for batch in some_rows(source, limit)
    ]
    result = _summary(torch.cat(scores), flow, schema, gaussian, split, seed)
    some, inside = some_rows(source, REDRAWN, REDRAWN), result.rows - result.rows_outside
    return replace(result, **estimate_errors(flow, some, inside, seed + 1))


def some_rows(source: Source, limit: int | None, rows: int = ROWS) -> Iterator[Batch]:
    """All rows in batches, or `limit` of them from all over the source, always the same ones."""
    if limit is None or limit >= source.n_rows:
        yield from source.ordered(rows)
        return
    passes = math.ceil(limit / rows)
    size = math.ceil(limit / passes)
    # A shuffled pass leaves a ragged end out; so near to all the rows, the order hardly matters.
    fits = passes * size <= source.n_rows
    for batch in source.shuffled(size, seed=0) if fits else source.ordered(size):
        yield Batch(batch.x[:limit], None if batch.context is None else batch.context[:limit])
        limit -= len(batch.x)
        if limit <= 0:
            return


def log_prob_rows(flow: Flow, batch: Batch, generator: torch.Generator) -> Tensor:
    """Log-density of each row of the user's columns (B,), -inf outside what they can hold."""
    return _checked(flow.log_prob(batch.x, batch.context, generator).double())


def log_prob_rows_with_error(
    flow: Flow, batch: Batch, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """The same as the mean of a few estimates, and its standard error (B,), 0 of exact flows."""
    found = flow.log_prob_with_error(batch.x, batch.context, generator=generator)
    return _checked(found[0].double()), found[1].double()


def _checked(log_prob: Tensor) -> Tensor:
    if (log_prob.isnan() | (log_prob == torch.inf)).any():
        raise NumericalError("a row's log-density is not a number: the model is damaged, retrain")
    return log_prob


def _score(
    flow: Flow,
    batch: Batch,
    gaussian: Gaussian | None,
    schema: TableSchema,
    generator: torch.Generator,
) -> Tensor:
    """Log-densities of each row under the flow and the Gaussian, with the same noise: (B, 2)."""
    state = generator.get_state()
    log_prob = log_prob_rows(flow, batch, generator)
    if gaussian is None:
        return log_prob.unsqueeze(1).cpu()
    after = generator.get_state()
    generator.set_state(state)
    y, log_q = flow.lift(batch.x, generator)
    generator.set_state(after)  # past the estimates: the next rows have other ones
    baseline = gaussian.log_prob(y, flow.embed(batch.context)) - log_q.double()
    return torch.stack([log_prob, baseline], 1).cpu()


def _summary(
    scores: Tensor,
    flow: Flow,
    schema: TableSchema,
    gaussian: Gaussian | None,
    split: str,
    seed: int,
) -> Evaluation:
    inside = scores[scores[:, 0] > -torch.inf]
    log_prob, two_se = mean_two_se(inside[:, 0])
    elements = schema.countable
    result = Evaluation(
        log_prob=-math.inf if len(inside) < len(scores) else log_prob,
        two_se=two_se,
        kind=flow.kind,
        rows=len(scores),
        split=split,
        rows_outside=len(scores) - len(inside),
        log_prob_inside=log_prob,
        bits_per_dim=None if elements is None else bits_per_dim(log_prob, elements),
        seed=seed,
    )
    if gaussian is None:
        return result
    gain, gain_two_se = mean_two_se(inside[:, 0] - inside[:, 1])
    return replace(
        result,
        gaussian_log_prob=float(scores[:, 1].mean()),
        gaussian_log_prob_inside=float(inside[:, 1].mean()),
        gain=gain,
        gain_two_se=gain_two_se,
        gaussian=gaussian.note,
    )


def mean_two_se(values: Tensor) -> tuple[float, float]:
    """Mean and two standard errors, NaN where there are too few values for them."""
    if len(values) < 2:
        return float(values.mean()), math.nan
    return float(values.mean()), 2 * float(values.std()) / math.sqrt(len(values))


def plain(value: Any) -> Any:
    """A value as JSON can hold it: null for a number that is not finite."""
    return value if not isinstance(value, float) or math.isfinite(value) else None
