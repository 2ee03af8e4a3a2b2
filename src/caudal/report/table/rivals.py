"""The models that a forecast is measured against: linear ones, and boosted trees."""

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import torch

from caudal.data import Batch, Rows, TableSchema
from caudal.flow import Flow
from caudal.report.items import Track, place, row_noise
from caudal.report.table.forecasts import ClassForecaster, NumberForecaster, encoded

LEVELS = (0.5, 0.05, 0.95, 0.25, 0.75, 0.1, 0.9, 0.025, 0.975)
"""Levels of the quantiles that trees are fitted to, one fit each, the most telling first.

Between them quantiles are interpolated. A fit takes a second on a core, so that these are few.
"""
MOST_ROWS = 50_000  # rows that trees and logistic regression are fitted to
MOST_CLASSES = 20  # classes up to which trees and logistic regression are fitted
_BINS = 255  # categories that trees can tell apart without an order
_RIDGES = (1e-9, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0)  # times the number of rows
_FOLDS = 5


@dataclass(frozen=True)
class Linear(NumberForecaster):
    """Ridge regression on the encoded context, with normal errors of one variance.

    The ridge is the one that predicts each fifth of the rows best by the others, and the variance
    is that of its errors there: so many rare levels of the context do not make it look certain.
    """

    name: ClassVar[str] = "linear model"

    flow: Flow
    weight: np.ndarray
    deviation: float
    note: str

    @classmethod
    def fit(cls, flow: Flow, rows: Rows, schema: TableSchema) -> Self:
        features, y = encoded(flow, rows), _lifted(flow, rows, 0)
        centre = np.append(features.mean(0), y.mean())
        count = min(_FOLDS, len(y))  # folds
        folds = [_Sums.of(features[k::count], y[k::count], centre) for k in range(count)]
        whole, squares = reduce(_Sums.joined, folds), np.zeros(len(_RIDGES))
        for k, fold in enumerate(folds):
            some, truth = features[k::count], y[k::count]
            fits = whole.without(fold).ridges(centre)
            squares += [np.square(truth - some @ w[:-1] - w[-1]).sum() for w in fits]
        best = int(squares.argmin())
        weight = whole.ridges(centre)[best]
        deviation = float(squares[best] / len(y)) ** 0.5
        note = f"ridge regression on the encoded context, normal errors, {len(y):,} training rows"
        return cls(flow, weight, max(deviation, 1e-12), note)

    def quantiles(self, batch: Batch, levels: Sequence[float]) -> np.ndarray:
        z = torch.special.ndtri(torch.tensor(levels, dtype=torch.float64)).numpy()
        y = self._mean(batch)[:, None] + self.deviation * z
        if (steps := self.flow.dequantization) is None:
            return y
        lowered = steps.lower(torch.from_numpy(y.reshape(-1, 1)).to(self.flow.base.like))
        return lowered.double().cpu().numpy().reshape(y.shape)

    def ranks(self, batch: Batch, seed: int) -> np.ndarray:
        z = (_lifted(self.flow, batch, seed) - self._mean(batch)) / self.deviation
        return torch.special.ndtr(torch.from_numpy(z)).numpy()

    def log_prob(self, batch: Batch, seed: int) -> np.ndarray:
        x, context = place(self.flow, batch)
        y, log_q = self.flow.lift(x, row_noise(self.flow, seed), context)
        z = (y[:, 0].double().cpu().numpy() - self._mean(batch)) / self.deviation
        constant = math.log(self.deviation) + 0.5 * math.log(2 * math.pi)
        return -0.5 * z**2 - constant - log_q.double().cpu().numpy()

    def _mean(self, batch: Batch) -> np.ndarray:
        return encoded(self.flow, batch) @ self.weight[:-1] + self.weight[-1]


@dataclass(frozen=True)
class Trees(NumberForecaster):
    """Gradient boosted trees of scikit-learn, one model for each level of the quantiles."""

    name: ClassVar[str] = "boosted trees"

    models: dict[float, Any]
    mean: Any
    categorical: list[bool]
    note: str

    @classmethod
    def fit(
        cls, rows: Rows, schema: TableSchema, track: Track, levels: Sequence[float] = LEVELS
    ) -> Self:
        from sklearn.ensemble import HistGradientBoostingRegressor

        categorical = categories_of(schema)
        features, y = raw(rows, categorical), rows.x[:, 0].double().cpu().numpy()
        usual: Any = {"categorical_features": categorical, "random_state": 0}
        models = {}
        for level in track(levels, "fitting boosted trees", len(levels)):
            model = HistGradientBoostingRegressor(loss="quantile", quantile=level, **usual)
            models[level] = model.fit(features, y)
        mean = HistGradientBoostingRegressor(**usual).fit(features, y)
        note = (
            f"scikit-learn's HistGradientBoostingRegressor, one for each of {len(levels)} levels "
            f"and interpolated between, and one for the mean, {len(y):,} training rows"
        )
        return cls(models, mean, categorical, note)

    def quantiles(self, batch: Batch, levels: Sequence[float]) -> np.ndarray:
        knots, known = self._knots(batch)
        at, from_ = (_normal(np.array(part)) for part in (levels, known))
        upper = np.searchsorted(from_, at).clip(1, len(from_) - 1)
        share = ((at - from_[upper - 1]) / (from_[upper] - from_[upper - 1])).clip(0, 1)
        return knots[:, upper - 1] * (1 - share) + knots[:, upper] * share

    def ranks(self, batch: Batch, seed: int) -> np.ndarray:
        knots, known = self._knots(batch)
        y = batch.x[:, :1].double().cpu().numpy()
        levels, drawn = np.array([0.0, *known, 1.0]), np.random.default_rng(seed).random(len(y))
        first, last = (knots < y).sum(1), (knots <= y).sum(1)
        low, high = levels[first], levels[np.minimum(last + 1, len(levels) - 1)]
        tied = last > first  # with quantiles: anywhere between the middles to their neighbours
        inner = (first > 0) & (first < knots.shape[1]) & ~tied
        row, right = np.flatnonzero(inner), first[inner]
        left = knots[row, right - 1]
        drawn[inner] = (y[inner, 0] - left) / (knots[row, right] - left)
        middles = (levels[:-1] + levels[1:]) / 2
        low, high = np.where(tied, middles[first], low), np.where(tied, middles[last], high)
        return low + drawn * (high - low)

    def means(self, batch: Batch) -> np.ndarray:
        """The predicted means, (B,)."""
        made: np.ndarray = self.mean.predict(raw(batch, self.categorical))
        return made

    def _knots(self, batch: Batch) -> tuple[np.ndarray, list[float]]:
        """The fitted quantiles (B, L), in order, and their levels."""
        features, known = raw(batch, self.categorical), sorted(self.models)
        return np.sort(np.stack([self.models[q].predict(features) for q in known], 1), 1), known


@dataclass(frozen=True)
class Classifier(ClassForecaster):
    """A classifier of scikit-learn, fitted to the training rows."""

    model: Any
    levels: int
    note: str

    @abstractmethod
    def features(self, batch: Rows | Batch) -> np.ndarray:
        """What the classifier sees of the rows."""

    def probabilities(self, batch: Batch) -> np.ndarray:
        made = np.zeros((len(batch.x), self.levels))
        made[:, self.model.classes_.astype(int)] = self.model.predict_proba(self.features(batch))
        return made


@dataclass(frozen=True)
class Logistic(Classifier):
    """Logistic regression on the encoded context."""

    name: ClassVar[str] = "logistic regression"

    flow: Flow

    @classmethod
    def fit(cls, flow: Flow, rows: Rows, levels: int) -> Self:
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=300, tol=1e-3)
        model.fit(encoded(flow, rows), rows.x[:, 0].long().cpu().numpy())
        note = f"scikit-learn's LogisticRegression on the encoded context, {len(rows):,} rows"
        return cls(model, levels, note, flow)

    def features(self, batch: Rows | Batch) -> np.ndarray:
        return encoded(self.flow, batch)


@dataclass(frozen=True)
class TreesClassifier(Classifier):
    """Gradient boosted trees of scikit-learn."""

    name: ClassVar[str] = "boosted trees"

    categorical: list[bool]

    @classmethod
    def fit(cls, rows: Rows, schema: TableSchema, levels: int) -> Self:
        from sklearn.ensemble import HistGradientBoostingClassifier

        categorical = categories_of(schema)
        model = HistGradientBoostingClassifier(categorical_features=categorical, random_state=0)
        model.fit(raw(rows, categorical), rows.x[:, 0].long().cpu().numpy())
        note = f"scikit-learn's HistGradientBoostingClassifier, {len(rows):,} training rows"
        return cls(model, levels, note, categorical)

    def features(self, batch: Rows | Batch) -> np.ndarray:
        return raw(batch, self.categorical)


def seconds_of_trees(rows: int, schema: TableSchema) -> tuple[float, int]:
    """About how long one fit of trees takes on a core, and how many there are."""
    rows, levels = min(rows, MOST_ROWS), schema.columns[0].categories
    one = 0.15 + 1e-4 * min(rows, 10_000) + 1e-6 * rows * len(schema.context)
    if levels is None:
        return one, len(LEVELS)
    if len(levels) > MOST_CLASSES:
        return 0.0, 0
    return one * (len(levels) if len(levels) > 2 else 1), 1


def categories_of(schema: TableSchema) -> list[bool]:
    """Which columns of the context trees take as categories."""
    return [0 < levels <= _BINS for levels in schema.levels_of_context]


def raw(rows: Rows | Batch, categorical: Sequence[bool]) -> np.ndarray:
    """The context as trees take it: numbers and codes, NaN for gaps and unseen categories."""
    assert rows.context is not None
    made = rows.context.double().cpu().numpy()
    return np.where(np.array(categorical) & (made < 0), np.nan, made)


def _lifted(flow: Flow, rows: Rows | Batch, seed: int) -> np.ndarray:
    x, context = place(flow, Batch(rows.x, rows.context))
    return flow.lift(x, row_noise(flow, seed), context)[0][:, 0].double().cpu().numpy()


class _Sums(NamedTuple):
    """What ridge regression takes of rows (features, y): how many, their sums, their products.

    All rows without a fold are a difference of two of these, and no copy of the features.
    """

    n: int
    total: np.ndarray
    products: np.ndarray

    @classmethod
    def of(cls, features: np.ndarray, y: np.ndarray, centre: np.ndarray) -> Self:
        """The sums of features (N, E) and y (N,), counted from a point (E + 1,) among them."""
        rows = np.column_stack([features, y]) - centre
        return cls(len(rows), rows.sum(0), rows.T @ rows)

    def joined(self, other: Self) -> Self:
        """Those of these rows and of others."""
        return type(self)(
            self.n + other.n, self.total + other.total, self.products + other.products
        )

    def without(self, fold: Self) -> Self:
        """Those of the other rows."""
        return type(self)(self.n - fold.n, self.total - fold.total, self.products - fold.products)

    def ridges(self, centre: np.ndarray) -> list[np.ndarray]:
        """Weights of the features and a constant (E + 1,), for each of the ridges."""
        n = max(self.n, 1)  # none are left of a single row
        covariance = self.products - np.outer(self.total, self.total) / n
        means = centre + self.total / n
        values, vectors = np.linalg.eigh(covariance[:-1, :-1])
        along = vectors.T @ covariance[:-1, -1]
        fits = []
        for ridge in _RIDGES:
            weight = vectors @ (along / (values.clip(0.0) + ridge * n))
            fits.append(np.append(weight, means[-1] - means[:-1] @ weight))
        return fits


def _normal(levels: np.ndarray) -> np.ndarray:
    return torch.special.ndtri(torch.from_numpy(levels)).numpy()
