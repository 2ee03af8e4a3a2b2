"""How well one column is predicted from the others, by the flow and by the models beside it."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch

from caudal.data import Batch, Column, Rows, Source, TableSchema
from caudal.flow import Flow
from caudal.report.distilled import ScreenTable
from caudal.report.items import Track, some_rows
from caudal.report.numbers import mean_two_se, number, plain, plus_minus
from caudal.report.table.forecasts import (
    ClassForecaster,
    FlowForecaster,
    Forecaster,
    NumberForecaster,
    Unconditional,
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
LEVELS = tuple((i + 0.5) / 50 for i in range(50))
"""Of the quantiles over which losses are averaged: the middles of fifty equal shares."""
INTERVALS = (0.5, 0.8, 0.9, 0.95)
_ENDS = (0.5, *(round(0.5 + side * p / 2, 4) for p in INTERVALS for side in (-1, 1)))
_GRID = np.arange(1, 100) / 100  # of levels at which calibration is looked at
_LEAST = 1e-9  # probability; less counts as this
_BINS = 15  # of the confidence, for the calibration of categories


class Curve(NamedTuple):
    """Calibration: what was predicted, and what came of it, both (L,)."""

    predicted: np.ndarray
    observed: np.ndarray


@dataclass(frozen=True)
class Judged:
    """What the predictions of one model come to.

    Attributes:
        name: of the model.
        note: what it is, in words.
        measures: by name.
        losses: of each row, (N,): the CRPS, or the log-loss.
        gain: by how much the flow's loss is less; None for the flow itself.
        gain_two_se: two standard errors of it, from the rows' own differences.
        curve: its calibration.
        shown: what pictures need: quantiles (N, 3) of 5, 50 and 95 %, or probabilities (N, K).
    """

    name: str
    note: str
    measures: dict[str, float]
    losses: np.ndarray = field(repr=False)
    gain: float | None
    gain_two_se: float | None
    curve: Curve = field(repr=False)
    shown: np.ndarray = field(repr=False)


@dataclass(frozen=True)
class Predictions(ABC):
    """One column, as the flow and the models beside it predict it.

    Attributes:
        column: that is predicted.
        judged: the flow first.
        truth: the values (N,), as the schema encodes them.
        rows: those that were predicted.
    """

    column: Column
    judged: tuple[Judged, ...]
    truth: np.ndarray = field(repr=False)
    rows: Rows = field(repr=False)

    loss: ClassVar[str]
    shown: ClassVar[tuple[tuple[str, str], ...]]

    def to_dict(self) -> dict[str, Any]:
        """All measures, for JSON."""
        models = {
            j.name: {
                **{name: plain(value) for name, value in j.measures.items()},
                **({} if j.gain is None else {"loss_above_flow": plain(j.gain)}),
                **({} if j.gain_two_se is None else {"two_se": plain(j.gain_two_se)}),
                "what": j.note,
            }
            for j in self.judged
        }
        return {"column": self.column.name, "rows": len(self.truth), "models": models}

    def table(self) -> ScreenTable:
        """The models beside each other."""
        title = f"predictions of '{self.column.name}', {len(self.truth):,} rows"
        head = ["", *(words for _, words in self.shown)]
        rows = [[j.name, *(self._cell(j, name) for name, _ in self.shown)] for j in self.judged]
        return ScreenTable(title, head, rows, " " + "n" * len(self.shown))

    def sentences(self) -> Iterator[str]:
        """What the numbers are, and what to think of them."""
        yield self.verdict
        yield self.meaning
        notes = (f"{j.name[0].upper()}{j.name[1:]}: {j.note}." for j in self.judged[1:])
        yield " ".join(notes)

    @property
    def verdict(self) -> str:
        """Beside which models the flow is ahead, level or behind, by the loss."""
        places: dict[str, list[str]] = {"ahead of": [], "level with": [], "behind": []}
        for j in self.judged[1:]:
            gain, error = j.gain or 0.0, j.gain_two_se or 0.0
            place = "level with" if abs(gain) <= error else "ahead of" if gain > 0 else "behind"
            by = f" by {plus_minus(abs(gain), error, self._digits)}"
            places[place].append(j.name + ("" if place == "level with" else by))
        told = [f"{place} {', '.join(names)}" for place, names in places.items() if names]
        start = f"By the {self.loss}, the flow"
        if not told:
            return f"{start} stands alone: others are fitted beside the run's own rows."
        return f"{start} is {'; '.join(reversed(told))} (± 2 s.e.)."

    @property
    @abstractmethod
    def meaning(self) -> str:
        """What is measured, in a sentence or two."""

    @property
    def _digits(self) -> int:
        return 4

    def _cell(self, judged: Judged, name: str) -> str:
        value = judged.measures.get(name)
        return number(value, self._digits)


class NumberPredictions(Predictions):
    """Predictions of a column of numbers."""

    loss = "CRPS"
    shown = (
        ("crps", "CRPS"),
        ("rmse", "RMSE"),
        ("mae", "MAE"),
        ("coverage_90", "in 90 % interval"),
        ("width_90", "its width"),
        ("calibration", "calibration error"),
        ("log_prob", "nats a row"),
    )

    @property
    def meaning(self) -> str:
        error = self.judged[0].measures["calibration_se"]
        return (
            f"CRPS: twice the mean pinball loss of {len(LEVELS)} quantiles, which the flow has "
            f"exactly; RMSE of the mean, MAE of the median. Calibration error: how far the share "
            f"of values below a quantile is from its level, at most (s.e. {error:.3f})."
        )

    @property
    def _digits(self) -> int:
        """So that errors have four significant digits."""
        largest = max(self.judged[0].measures["rmse"], 1e-12)
        return int(np.clip(3 - np.floor(np.log10(largest)), 0, 8))

    def _cell(self, judged: Judged, name: str) -> str:
        value = judged.measures.get(name)
        if name.startswith("coverage"):
            return f"{value:.1%}"
        return number(value, 3 if name in ("calibration", "log_prob") else self._digits)


class CategoryPredictions(Predictions):
    """Predictions of a column of categories."""

    loss = "log-loss"
    shown = (
        ("log_loss", "log-loss"),
        ("accuracy", "accuracy"),
        ("brier", "Brier"),
        ("calibration", "calibration error"),
    )

    @property
    def meaning(self) -> str:
        return (
            "Log-loss in nats of the class there is, and Brier's score; the flow's probabilities "
            "are exact, its density integrated over the step of each class. Calibration error: "
            f"between confidence and accuracy, the mean over {_BINS} bins of confidence."
        )


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
        batches = list(source.items(min(limit or MOST, MOST)))
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
    found = model.quantiles(batch, levels)
    quantiles = found[:, : len(LEVELS)]
    ends: dict[float, np.ndarray] = {}
    for level, values in zip(_ENDS, found[:, len(LEVELS) :].T, strict=True):
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
    which = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    counts = np.bincount(which, minlength=_BINS)
    there = counts > 0
    predicted, observed = (
        np.bincount(which, values, _BINS)[there] / counts[there] for values in (confidence, right)
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
