"""The estimators of scikit-learn: its own checks, and the model's numbers."""

import math
import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import caudal
from caudal import InputError
from caudal.sklearn import FlowDensity, FlowOutlier, FlowRegressor, noise_log_prob

TINY = {"layers": 1, "hidden": 4}
SINGLE = {"check_methods_subset_invariance": "scores are float32: 2e-7 hang on the batch"}


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 2))
    return x, 2 * x[:, 0] + rng.normal(size=400)


@pytest.fixture(scope="module")
def regressor(rows):
    return FlowRegressor(steps=60, size="small", options={"lr": 5e-3}).fit(*rows)


@parametrize_with_checks(
    [FlowDensity("made", steps=1, options={"hidden": (4,)})],
    expected_failed_checks=lambda _: SINGLE,
)
def test_scikit_learn_finds_nothing_wrong(estimator, check):
    check(estimator)


def test_a_pipeline_and_a_search_take_it_and_it_is_pickled(rows):
    flow = make_pipeline(StandardScaler(), FlowDensity("maf", steps=1))
    search = GridSearchCV(flow, {"flowdensity__size": ["small", "medium"]}, cv=2).fit(rows[0])
    best = search.best_estimator_
    kept = pickle.loads(pickle.dumps(best))
    np.testing.assert_array_equal(kept.score_samples(rows[0]), best.score_samples(rows[0]))


def test_a_frame_keeps_its_text_and_its_names():
    frame = pd.DataFrame({"word": ["a", "b", "a", "c"] * 20, "size": np.arange(80) % 7 + 0.5})
    flow = FlowDensity(steps=1, options=TINY).fit(frame)
    assert list(flow.feature_names_in_) == ["word", "size"]
    drawn = flow.sample(5)
    assert list(drawn.columns) == ["word", "size"]
    assert set(drawn["word"]) <= {"a", "b", "c"}
    assert len(flow.score_samples(frame)) == 80
    with pytest.raises(ValueError, match="feature names"):
        flow.score_samples(frame.rename(columns={"size": "other"}))


def test_outliers_are_the_share_that_was_asked_for(rows):
    x = rows[0]
    found = FlowOutlier(steps=1, options=TINY, contamination=0.05).fit(x)
    assert (found.predict(x) == -1).mean() == pytest.approx(0.05, abs=0.005)
    assert found.predict([[9.0, -9.0]]) == [-1]
    with pytest.raises(InputError, match="`contamination` 0.9"):
        FlowOutlier(contamination=0.9).fit(x)


def test_an_outlier_among_dense_values_is_found_and_scores_do_not_hang_on_the_rows_beside_it():
    """Where columns are small their density is large, however unusual the row."""
    rng = np.random.default_rng(0)
    u = rng.normal(size=(400, 1))
    x = np.exp(3 * (u + [0, 0.1] * rng.normal(size=(400, 2))))
    odd = np.exp(3 * np.array([[-1.8, -1.4]]))
    flow = FlowOutlier(steps=1, options=TINY, contamination=0.02).fit(x)
    assert flow.model_.log_prob(odd)[0] > np.quantile(flow.model_.log_prob(x), 0.2)
    assert flow.predict(odd) == [-1]
    assert flow.score_samples(np.concatenate([odd, x]))[0] == pytest.approx(
        flow.score_samples(odd)[0], rel=1e-5
    )
    assert flow.score_samples([[-1e30, 1.0]]) < flow.offset_


def test_the_density_of_noise_is_the_same_in_all_units():
    rng = np.random.default_rng(1)
    x = np.stack([rng.normal(size=300), rng.integers(0, 9, 300)], 1)
    found = []
    for data in (x, x * [1e-3, 25]):
        model = caudal.train("nsf", data, steps=1, report=False, **TINY)
        rows = torch.as_tensor(data, dtype=torch.float32)
        values = rows - torch.tensor([c.offset for c in model.schema.columns])
        found.append(noise_log_prob(model.flow, values, draws=64))
    torch.testing.assert_close(found[0], found[1], atol=0.1, rtol=0)
    # Of two columns of normal noise it is -log 2 pi - (z_1^2 + z_2^2) / 2.
    assert found[0].mean() == pytest.approx(-math.log(2 * math.pi) - 1, abs=0.15)
    assert noise_log_prob(model.flow, values[:1] - 1e9).item() < found[0].min() - 9


def test_a_regression_is_as_good_as_the_line_that_made_the_data(rows, regressor):
    x, y = rows
    assert regressor.score(x, y) > LinearRegression().fit(x, y).score(x, y) - 0.03
    low, high = regressor.predict_quantile(x, [0.1, 0.9]).T
    assert ((y > low) & (y < high)).mean() == pytest.approx(0.8, abs=0.06)


def test_quantiles_and_densities_are_of_one_distribution(rows, regressor):
    x = rows[0][:5]
    below, middle, above = regressor.predict_quantile(x, [0.299, 0.3, 0.301]).T
    density = 0.002 / (above - below)
    np.testing.assert_allclose(regressor.log_prob(x, middle), np.log(density), atol=0.05)
    with pytest.raises(InputError, match="above 0 and below 1"):
        regressor.predict_quantile(x, 1.0)


def test_gaps_of_arrays_are_learned_and_refused_where_there_were_none(rows):
    x, y = rows[0].copy(), rows[1]
    x[::7, 1] = np.nan
    flow = FlowDensity(steps=1, options=TINY).fit(x)
    assert np.isfinite(flow.score(x))
    holed = np.array([[np.nan, 0.0]])
    with pytest.raises(InputError, match="X, row 1, column '.*': missing value"):
        flow.score_samples(holed)
    regressor = FlowRegressor(steps=1, options=TINY).fit(x, y)
    assert np.isfinite(regressor.predict(x[:9])).all()
    with pytest.raises(InputError, match="missing value"):
        regressor.predict(holed)


def test_options_are_in_a_grid_by_their_names(rows):
    flow = FlowDensity("maf", steps=1, options={"layers": 1})
    search = GridSearchCV(flow, {"options__hidden": [(4,), (8,)]}, cv=2).fit(rows[0])
    chosen = search.best_estimator_
    assert chosen.options == {"layers": 1, **{"hidden": search.best_params_["options__hidden"]}}
    assert flow.options == {"layers": 1}
    drawn = [chosen.sample(2, random_state=np.random.RandomState(3)) for _ in range(2)]
    np.testing.assert_array_equal(*drawn)


def test_refusals_say_what_is_wrong(rows):
    with pytest.raises(InputError, match="`contamination` 'auto'"):
        FlowOutlier(contamination="auto").fit(rows[0])
    with pytest.raises(InputError, match="3 rows: too few"):
        FlowDensity(steps=1).fit(rows[0][:3])
