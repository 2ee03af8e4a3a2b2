"""Flows as scikit-learn estimators, for its pipelines and searches: density, outliers, regression.

Each is a thin coat over a `caudal.Model`, which stands in `model_` after `fit`. They take arrays,
and DataFrames whose columns may hold text, dates and gaps, as `caudal.train` does.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import BaseEstimator, DensityMixin, OutlierMixin, RegressorMixin
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    check_is_fitted,
    column_or_1d,
    validate_data,
)
from torch import Tensor

from caudal.bijections.weighted import Values
from caudal.data import container_of
from caudal.data.table.convert import Place, encode_table
from caudal.data.table.frames import as_table
from caudal.errors import InputError
from caudal.flow import Flow
from caudal.model import Model, train
from caudal.model.predicting import check_levels
from caudal.numerics import RowGenerator

_LEVELS = 100  # quantiles over which a mean is taken
_TARGET, _WEIGHTS, _NESTED = "target", "sample_weight", "options__"
_LEAST = 8  # rows to train on
_ROWS = 2048  # rows whose densities are computed together
_LOW = 0.05  # share of the training rows that are a long way from the median


class _Estimator(BaseEstimator):
    """What the three share: their parameters, and how they train and check rows.

    Args:
        recipe: the name of a recipe, or a Recipe; "auto" is the usual one for tables.
        minutes: those that `fit` may take; it stops earlier where validation no longer gains.
        steps: optimiser steps, instead of minutes.
        size: of the flow: "small", "medium", "large" or "paper"; by rows and minutes if None.
        seed: of the split into training and validation rows, and of training.
        options: further options of `caudal.train`, such as {"layers": 3, "lr": 1e-3}.

    Attributes:
        model_: the trained `caudal.Model`.
        n_features_in_: the number of columns.
        feature_names_in_: their names, of a DataFrame.
    """

    def __init__(
        self,
        recipe: Any = "auto",
        *,
        minutes: float | None = None,
        steps: int | None = None,
        size: str | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self.recipe = recipe
        self.minutes = minutes
        self.steps = steps
        self.size = size
        self.seed = seed
        self.options = options

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.categorical = tags.input_tags.allow_nan = True
        return tags

    def set_params(self, **params: Any) -> Self:
        """Sets parameters; `options__layers=3`, as in the grid of a search, sets an option."""
        nested = {name: params.pop(name) for name in list(params) if name.startswith(_NESTED)}
        super().set_params(**params)
        if nested:
            options = {name.removeprefix(_NESTED): value for name, value in nested.items()}
            self.options = {**dict(self.options or {}), **options}
        return self

    def _train(self, data: Any, weights: Any = None, **more: Any) -> Model:
        """A model of a table, none of whose rows is kept for a test.

        Args:
            data: the rows.
            weights: (N,), how much each of them counts; all the same if None.
            more: options of `caudal.train`, before those of the user.

        Raises:
            InputError: there are too few rows, or they or an option cannot be used.
        """
        table, container = as_table(data), container_of(data)
        if weights is not None:
            each = _checked(weights, data)
            name = _free(_WEIGHTS, table.column_names)
            table = table.append_column(name, [each]).filter(each > 0)
            data, more = table, {**more, "weights": name}
        if (rows := table.num_rows) < _LEAST:
            raise InputError(
                f"{rows} rows: too few to learn anything from, give at least {_LEAST}"
            )
        chosen = {"minutes": self.minutes, "steps": self.steps, "size": self.size}
        limits = {name: value for name, value in chosen.items() if value is not None}
        # Another table for the test, here the same rows, leaves them all to training.
        usual = {"test": data, "report": False, "seed": self.seed, "split_seed": self.seed}
        given = {**usual, **limits, **more, **dict(self.options or {})}
        model = train(self.recipe, data, **given)
        model.container = container
        return model

    def _rows(self, x: Any, *, fitting: bool = False) -> Any:
        """The rows as `caudal.train` takes them: arrays of numbers, or a DataFrame as it is."""
        if hasattr(x, "columns") and container_of(x) in ("pandas", "polars"):
            validate_data(self, x, reset=fitting, skip_check_array=True)
            return x
        usual = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
        least = 2 if fitting else 1
        return validate_data(self, x, reset=fitting, ensure_min_samples=least, **usual)

    def _values(self, rows: Any, what: Literal["columns", "context"]) -> np.ndarray:
        """Rows as the model encodes its columns, or those of its context, (N, D).

        Raises:
            InputError: a value is missing where none was in training, or it is no such value.
        """
        columns = getattr(self.model_.schema, what)
        return encode_table(columns, as_table(rows), Place("X", unseen=True))


def _checked(weights: Any, rows: Any) -> np.ndarray:
    """The weights of rows as float64 (N,).

    Raises:
        ValueError: they are no numbers from 0 on, or not one a row, or all 0.
    """
    each: np.ndarray = _check_sample_weight(
        weights, rows, dtype=np.float64, ensure_non_negative=True
    )
    if not each.any():
        raise ValueError("`sample_weight` is 0 for all rows: at least one must count")
    return each


def _free(name: str, taken: list[str]) -> str:
    """The name for a new column, longer if it is taken."""
    while name in taken:
        name += "_"
    return name


class FlowDensity(DensityMixin, _Estimator):
    """The density of rows, by a normalizing flow.

    >>> from caudal.sklearn import FlowDensity
    >>> flow = FlowDensity(minutes=1)  # then flow.fit(X).score_samples(X), flow.sample(100)

    `score` is the mean log-density, so that a `GridSearchCV` compares recipes and their options.
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: N803
        """Trains on rows X (N, D); y is ignored.

        `sample_weight` (N,) says how much each row counts, in training and in validation.

        Raises:
            InputError: the rows cannot be used, or an option.
        """
        self.model_ = self._train(self._rows(X, fitting=True), sample_weight)
        return self

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """Log-densities of rows X (N, D), in nats, (N,)."""
        check_is_fitted(self)
        rows = self._rows(X)
        self._values(rows, "columns")
        return np.asarray(self.model_.log_prob(rows, seed=self.seed))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:  # noqa: N803
        """The mean log-density of rows X (N, D), weighted if asked for, in nats a row.

        Raises:
            ValueError: `sample_weight` is not one number from 0 on a row, or 0 for all rows.
        """
        scores = self.score_samples(X)
        if sample_weight is None:
            return float(scores.mean())
        each = _checked(sample_weight, scores)
        return float(np.average(scores[each > 0], weights=each[each > 0]))

    def sample(self, n_samples: int = 1, random_state: Any = None) -> Any:
        """New rows, in the form that `fit` was given; the same ones each time without a state."""
        check_is_fitted(self)
        seed = self.seed if random_state is None else random_state
        if isinstance(seed, np.random.RandomState):
            seed = int(seed.randint(1 << 31))
        return self.model_.sample(n_samples, seed=seed)


class FlowOutlier(OutlierMixin, _Estimator):
    """Unlikely rows are outliers: `predict` gives -1 for them, and 1 for the others.

    What is unlikely depends on what a column is measured in: squares of lengths find other rows
    than lengths, and at a value with a probability of its own there is no density at all. So a row
    has two measures: its log-density in the columns' own units, log p(x), and the log-density of
    the noise z from which the flow makes it, log p(z), which is the same in all units and tells
    how far from the middle the row is. Each is counted from its median over the training rows, in
    distances from there to their lowest twentieth, and the lower of the two tells how ordinary
    the row is.

    Args:
        contamination: the share of the training rows that are below the threshold.

    Attributes:
        offset_: the threshold of `score_samples`.
        centre_, spread_: medians of the two log-densities, and how far below these a twentieth
            of the training rows begins, nats, (2,).
    """

    def __init__(
        self,
        recipe: Any = "auto",
        *,
        contamination: float = 0.1,
        minutes: float | None = None,
        steps: int | None = None,
        size: str | None = None,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(
            recipe, minutes=minutes, steps=steps, size=size, seed=seed, options=options
        )
        self.contamination = contamination

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:  # noqa: N803
        """Trains on rows X (N, D), which count by `sample_weight` (N,); y is ignored.

        Raises:
            InputError: the rows cannot be used, or an option.
        """
        share = self.contamination
        if isinstance(share, str) or not 0 < share <= 0.5:
            raise InputError(f"`contamination` {share!r}: must be a share in (0, 0.5]")
        rows = self._rows(X, fitting=True)
        self.model_ = self._train(rows, sample_weight)
        densities = self._densities(rows)

        def quantiles(scores: np.ndarray, *levels: float) -> np.ndarray:
            each = None if sample_weight is None else _checked(sample_weight, scores)
            return Values.of(scores, each).quantile(np.array(levels))

        low, self.centre_ = np.stack([quantiles(row, _LOW, 0.5) for row in densities], 1)
        self.spread_ = np.maximum(self.centre_ - low, 1e-6)
        self.offset_ = float(quantiles(self._lower(densities), self.contamination)[0])
        return self

    def score_samples(self, X: Any) -> np.ndarray:  # noqa: N803
        """How ordinary rows X (N, D) are, (N,): about 0 in the middle, and less further out."""
        check_is_fitted(self)
        return self._lower(self._densities(self._rows(X)))

    def decision_function(self, X: Any) -> np.ndarray:  # noqa: N803
        """`score_samples` less the threshold, (N,); negative for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """1 for inliers, -1 for outliers, (N,)."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _densities(self, rows: Any) -> np.ndarray:
        """Log-densities in the columns' units and of the noise, (2, N)."""
        flow = self.model_.flow
        values = self._values(rows, "columns")
        x = torch.from_numpy(values).to(flow.base.like)
        parts = x.split(_ROWS)
        scores = [noise_log_prob(flow, part, seed=self.seed) for part in parts]
        in_units = np.asarray(self.model_.log_prob(rows, seed=self.seed), dtype=np.float64)
        return np.stack([in_units, torch.cat(scores).numpy()])

    def _lower(self, densities: np.ndarray) -> np.ndarray:
        return ((densities.T - self.centre_) / self.spread_).min(1)


@torch.no_grad()
def noise_log_prob(flow: Flow, x: Tensor, *, draws: int = 8, seed: int = 0) -> Tensor:
    """Log-density of the noise from which a flow makes rows x (B, D), in nats, (B,).

    It is the same in all units, and for any monotone map of a column. Values in steps, and those
    with a probability of their own, take a random place in theirs, which belongs to the row: the
    noise is then the mean over `draws` of them. Outside the support it is that of the nearest row.
    """
    generator = RowGenerator(x.device, seed, strata=draws)
    noisy = flow.estimated or flow.dequantization is not None
    each = [flow.encode(x, generator=generator) for _ in range(draws if noisy else 1)]
    log_prob = flow.base.log_prob(torch.stack(each).mean(0)).double()
    return log_prob.nan_to_num(-torch.inf, neginf=-torch.inf)


class FlowRegressor(RegressorMixin, _Estimator):
    """The whole distribution of a number y given x: its mean, its quantiles, its density.

    A flow of one column is monotone, so that the quantile of level q is the value that it makes of
    the noise's quantile: exact, without drawing. `predict` is the mean over a hundred of them.
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:  # noqa: N803
        """Trains on rows X (N, C) and their numbers y (N,), which count by `sample_weight` (N,).

        Raises:
            InputError: the rows cannot be used, or an option.
        """
        if y is None:
            raise ValueError("requires y to be passed, but the target y is None")
        rows = self._rows(X, fitting=True)
        target = column_or_1d(y, dtype=np.float64, warn=True)
        if not np.isfinite(target).all():
            raise InputError("`y`: Input contains NaN or infinity: leave those rows out")
        check_consistent_length(rows, target)
        table = as_table(rows)
        self.target_ = _free(_TARGET, table.column_names)
        table = table.append_column(self.target_, [target])
        self.model_ = self._train(table, sample_weight, target=self.target_)
        return self

    def predict(self, X: Any) -> np.ndarray:  # noqa: N803
        """The mean of y given each row of X (N, C): (N,)."""
        levels = (np.arange(_LEVELS) + 0.5) / _LEVELS
        return self.predict_quantile(X, levels).mean(1)

    def predict_quantile(self, X: Any, q: Any = 0.5) -> np.ndarray:  # noqa: N803
        """Quantiles of y given each row of X (N, C), of level q or of several levels (Q,).

        Returns:
            (N,) for one level, (N, Q) for several.
        """
        check_is_fitted(self)
        levels = np.atleast_1d(np.asarray(q, dtype=np.float64))
        check_levels(levels.tolist(), "q")
        rows = as_table(self._rows(X))
        self._values(rows, "context")
        quantiles = self.model_.quantiles(rows, levels.tolist())
        return quantiles[:, 0] if np.ndim(q) == 0 else quantiles

    def log_prob(self, X: Any, y: Any) -> np.ndarray:  # noqa: N803
        """The log-density of each number y (N,) given its row of X (N, C), in nats, (N,)."""
        check_is_fitted(self)
        table = as_table(self._rows(X)).append_column(
            self.target_, [np.asarray(y, dtype=np.float64)]
        )
        return np.asarray(self.model_.log_prob(table, seed=self.seed))
