"""How well one column is predicted from the others, by the flow and by the models beside it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch

from caudal.data import Batch, Rows, Source, TableSchema
from caudal.data.source import as_often
from caudal.flow import Flow
from caudal.report.items import Track, some_rows
from caudal.report.numbers import mean_two_se
from caudal.report.table.forecasts import (
    ClassForecaster,
    FlowForecaster,
    Forecaster,
    NumberForecaster,
    Unconditional,
)
from caudal.report.table.predictions import (
    BINS,
    INTERVALS,
    LEVELS,
    CategoryPredictions,
    Curve,
    Judged,
    NumberPredictions,
    Predictions,
)
from caudal.report.table.rivals import LEVELS as TREE_LEVELS
from caudal.report.table.rivals import (
    MOST_CLASSES,
    MOST_ROWS,
    Linear,
    Logistic,
    Trees,
    TreesClassifier,
    seconds_of_trees,
)
from caudal.univariate import is_univariate

MOST = 5000  # rows that are predicted
_ENDS = (0.5, *(round(0.5 + side * p / 2, 4) for p in INTERVALS for side in (-1, 1)))
_GRID = np.arange(1, 100) / 100  # levels at which calibration is measured
_LEAST = 1e-9  # probability; less counts as this


@dataclass(frozen=True)
class TargetJudge:
    """Measures predictions of the one column that a flow of a table models given others.

    Attributes:
        schema: of the table.
        models: the flow, and those beside it if training rows are at hand.
    """

    schema: TableSchema
    models: tuple[Forecaster, ...]

    @classmethod
    def fit(
        cls,
        flow: Flow,
        source: Source | None,
        schema: TableSchema,
        track: Track,
        fits: int | None = None,
        seed: int = 0,
    ) -> Self | None:
        """The judge of a flow, with models fitted to training rows; None without a target.

        Args:
            flow: of the run.
            source: the training rows; if None the flow is judged alone.
            schema: of the table.
            track: shows how far fitting has come.
            fits: how many fits of trees there is time for; None for all.
            seed: of the rows, where there are many.
        """
        if not is_target(flow, schema):
            return None
        models: list[Forecaster] = [FlowForecaster(flow)]
        if source is not None:
            source = as_often(source)
            rows = some_rows(source, MOST_ROWS, seed)
            categories = schema.columns[0].categories
            models.append(Unconditional.fit(flow, source, schema, seed))
            if categories is None:
                models.append(Linear.fit(flow, rows, schema))
                models.append(Trees.fit(rows, schema, track, TREE_LEVELS[:fits]))
            elif len(categories) <= MOST_CLASSES:
                several = len(rows.x.unique()) > 1
                models += [Logistic.fit(flow, rows, len(categories))] if several else []
                models += [TreesClassifier.fit(rows, schema, len(categories))] if several else []
        return cls(schema, tuple(models))

    @staticmethod
    def seconds(source: Source, schema: TableSchema) -> tuple[float, int]:
        """About how long a fit of trees takes, and how many there are; none without a target."""
        is_one = len(schema.columns) == 1 and bool(schema.context)
        return seconds_of_trees(source.n_rows, schema) if is_one else (0.0, 0)

    def judge(self, source: Source, limit: int | None = None, seed: int = 0) -> Predictions:
        """What the predictions of some rows come to, of at most 5,000 of them."""
        batches = list(as_often(source).items(min(limit or MOST, MOST)))
        x = torch.cat([batch.x for batch in batches])
        context = torch.cat([b.context for b in batches if b.context is not None])
        column, rows = self.schema.columns[0], Rows(x, context, gaps=True)
        truth = x[:, 0].double().cpu().numpy()
        measure: Any = _number if column.categories is None else _category
        judged: list[Judged] = []
        for model in self.models:
            judged.append(measure(model, Batch(x, context), truth, judged[:1], seed))
        made = NumberPredictions if column.categories is None else CategoryPredictions
        return made(column, tuple(judged), truth, rows)


def is_target(flow: Flow, schema: TableSchema) -> bool:
    """Whether a flow models one column, which has no gaps, given others."""
    return len(schema.columns) == 1 and bool(schema.context) and is_univariate(flow)


# --- measures ------------------------------------------------------------------------------------


def _number(
    model: NumberForecaster, batch: Batch, truth: np.ndarray, first: Sequence[Judged], seed: int
) -> Judged:
    levels = (*LEVELS, *_ENDS)
    all_quantiles = model.quantiles(batch, levels)
    quantiles = all_quantiles[:, : len(LEVELS)]
    ends: dict[float, np.ndarray] = {}
    for level, values in zip(_ENDS, all_quantiles[:, len(LEVELS) :].T, strict=True):
        ends[level] = values
    losses = crps(quantiles, truth)
    means = model.means(batch) if isinstance(model, Trees) else quantiles.mean(1)
    ranks = np.sort(model.ranks(batch, seed))
    observed = np.searchsorted(ranks, _GRID) / len(ranks)
    worst = int(np.abs(observed - _GRID).argmax())
    measures = {
        "crps": float(losses.mean()),
        "rmse": float(np.sqrt(np.square(means - truth).mean())),
        "mae": float(np.abs(ends[0.5] - truth).mean()),
        "calibration": float(abs(observed[worst] - _GRID[worst])),
        "calibration_se": float(np.sqrt(_GRID[worst] * (1 - _GRID[worst]) / len(truth))),
    }
    for share in INTERVALS:
        low, high = (ends[round(0.5 + side * share / 2, 4)] for side in (-1, 1))
        measures[f"coverage_{100 * share:g}"] = float(((low <= truth) & (truth <= high)).mean())
        measures[f"width_{100 * share:g}"] = float((high - low).mean())
    log_prob = model.log_prob(batch, seed)
    if log_prob is not None:
        measures["log_prob"] = float(log_prob.mean())
    shown = np.stack([ends[0.05], ends[0.5], ends[0.95]], 1)
    return _judged(model, measures, losses, first, Curve(_GRID, observed), shown)


def crps(quantiles: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """The continuous ranked probability score (N,) of values (N,), in their units.

    CRPS = 2 integral over levels q of (1[x <= F^-1(q)] - q) (F^-1(q) - x), as the mean over
    quantiles (N, L) at the middles of L equal shares. It is that of the L quantiles taken as
    equally likely values, and tends to the flow's own like 1 / L^2.
    Reference: Strictly proper scoring rules (Gneiting, Raftery, 2007).
    """
    levels = (np.arange(quantiles.shape[1]) + 0.5) / quantiles.shape[1]
    away = truth[:, None] - quantiles
    made: np.ndarray = 2 * np.maximum(levels * away, (levels - 1) * away).mean(1)
    return made


def _category(
    model: ClassForecaster, batch: Batch, truth: np.ndarray, first: Sequence[Judged], seed: int
) -> Judged:
    shares = model.probabilities(batch)
    known = truth >= 0  # the others are of categories that training has not seen
    codes = np.where(known, truth, 0).astype(int)
    own = np.where(known, shares[np.arange(len(codes)), codes], 0.0)
    losses = -np.log(np.maximum(own, _LEAST))
    right, confidence = (shares.argmax(1) == truth), shares.max(1)
    curve, error = _reliability(confidence, right)
    measures = {
        "log_loss": float(losses.mean()),
        "accuracy": float(right.mean()),
        "brier": float((np.square(shares).sum(1) - 2 * own + 1).mean()),
        "calibration": error,
    }
    return _judged(model, measures, losses, first, curve, shares)


def _reliability(confidence: np.ndarray, right: np.ndarray) -> tuple[Curve, float]:
    """Accuracy by confidence in bins of equal width, and the mean distance of the two."""
    which = np.minimum((confidence * BINS).astype(int), BINS - 1)
    counts = np.bincount(which, minlength=BINS)
    there = counts > 0
    predicted, observed = (
        np.bincount(which, values, BINS)[there] / counts[there] for values in (confidence, right)
    )
    error = float(np.average(np.abs(predicted - observed), weights=counts[there]))
    return Curve(predicted, observed), error


def _judged(
    model: Forecaster,
    measures: dict[str, float],
    losses: np.ndarray,
    first: Sequence[Judged],
    curve: Curve,
    shown: np.ndarray,
) -> Judged:
    gain: float | None = None
    gain_two_se: float | None = None
    if first:
        gain, gain_two_se = mean_two_se(torch.from_numpy(losses - first[0].losses))
    return Judged(model.name, model.note, measures, losses, gain, gain_two_se, curve, shown)
