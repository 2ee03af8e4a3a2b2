"""A target: one column given all others, with gaps and new categories in its context."""

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch

import caudal
from caudal.data import Batch, Rows, open_data
from caudal.dequantization.mass import log_between
from caudal.errors import InputError
from caudal.modalities.table.dressed import dress_table
from caudal.nets import ColumnEmbedding
from caudal.recipes import NSF
from caudal.report.style import house_style
from caudal.report.table.forecast_pictures import EXAMPLES, draw_predictions
from caudal.report.table.forecasts import Unconditional
from caudal.report.table.rivals import Linear
from caudal.report.table.target import crps
from caudal.univariate import masses
from command_line import caudal as command

SMALL = {"steps": 10, "size": "small", "report": False}


def houses(rows=300, seed=0):
    """A price that depends on what stands beside it, in which there are gaps."""
    rng = np.random.default_rng(seed)
    area, town = rng.uniform(30, 200, rows), rng.choice(["Rome", "Bari", "Pisa"], rows)
    price = 1000 + 20 * area + 500 * (town == "Rome") + rng.normal(0, 100, rows)
    age = np.where(rng.random(rows) < 0.1, np.nan, rng.integers(1, 90, rows))
    return pd.DataFrame(
        {
            "id": [f"h{i}" for i in range(rows)],
            "price": price.round(2),
            "area": area.round(1),
            "age": age,
            "town": town,
            "country": "Italy",
        }
    )


@pytest.fixture(scope="module")
def model():
    return caudal.train("nsf", houses(), target="price", **SMALL)


def names(columns):
    return [column.name for column in columns]


def test_all_other_columns_are_the_context_but_those_of_no_use():
    found = open_data(houses(), target="price")
    assert names(found.schema.columns) == ["price"]
    assert names(found.schema.context) == ["area", "age", "town"]
    assert names(found.schema.passed_over) == ["id", "country"]
    left_out = open_data(houses(), target="price", exclude=["area"])
    assert names(left_out.schema.context) == ["age", "town"]
    labels = open_data("digits", target="digit")
    assert names(labels.schema.columns) == ["digit"]
    assert len(labels.schema.context) == 64


def test_samples_have_the_columns_of_the_data(model):
    drawn = model.sample(20)
    assert list(drawn.columns) == list(houses().columns)
    assert set(drawn["country"]) == {"Italy"}
    assert drawn["area"].isin(houses()["area"]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "prise"}, "`target` prise: .* has no such column; did you mean 'price'"),
        ({"target": "id"}, "column 'id' .* looks like an identifier"),
        ({"target": "country"}, "column 'country' is constant"),
        ({"target": "price", "exclude": ["price"]}, "'price' is in `exclude` and in `target`"),
        ({"target": "price", "context": ["age"]}, "`target` price and `context` age: .* leave"),
        ({"target": "price", "columns": ["price"]}, "`target` price and `columns` price: "),
        ({"target": "price", "exclude": ["area", "age", "town"]}, "no column to predict 'price'"),
        (
            {"target": "price", "exclude": ["id", "area", "age", "town", "country"]},
            "no other column to predict it from",
        ),
    ],
)
def test_what_is_no_target_is_refused(options, words):
    with pytest.raises(InputError, match=words):
        open_data(houses(), **options)


def test_the_command_line_has_it_too(tmp_path, capsys):
    houses().to_csv(tmp_path / "houses.csv", index=False)
    run = tmp_path / "run"
    small = ["--steps", "3", "--size", "small", "--no-report", "--out", run]
    data = ["--data", tmp_path / "houses.csv"]
    assert command("train", "nsf", *data, "--target", "price", *small) == 0
    assert "target: price" in (run / "config.yaml").read_text()
    capsys.readouterr()
    assert command("train", "nsf", *data, "--target", "price", "--context", "age") == 2
    assert "--target price and --context age" in capsys.readouterr().err


# --- gaps and new categories in the context ------------------------------------------------------


def test_gaps_of_the_context_leave_no_row_out_and_those_of_the_target_do():
    table = houses()
    table.loc[:2, "price"] = np.nan
    found = open_data(table, target="price")
    rows = sum(part.n_rows for _, part in found.parts)
    assert rows == len(table) - 3
    assert found.schema.gaps_of_context == [False, True, False]
    kept = open_data(table, target="price", missing="drop")
    assert sum(part.n_rows for _, part in kept.parts) == len(table[3:].dropna())
    assert not any(kept.schema.gaps_of_context)


def test_a_gap_is_a_feature_of_its_own_with_the_number_at_its_mean():
    embedding = ColumnEmbedding([0, 3], [True, False])
    context = torch.tensor([[1.0, 0.0], [3.0, 2.0], [torch.nan, -1.0]])
    embedding.observe(context)
    expected = [[-1, 0, 1, 0, 0], [1, 0, 0, 0, 1], [0, 1, 1 / 3, 1 / 3, 1 / 3]]
    torch.testing.assert_close(embedding(context), torch.tensor(expected, dtype=torch.float32))


def test_gaps_and_new_categories_are_scored_and_told(model):
    told = []
    model.voice.note = told.append
    new = houses(6, seed=1)
    new["age"] = [np.nan, 10, 20, 30, 40, 50]
    new.loc[1:2, "town"] = "Oslo"
    assert np.isfinite(model.log_prob(new)).all()
    (note,) = told
    assert note == (
        "2 rows with a category of 'town' that training has not seen, such as 'Oslo', read as the "
        "mean of the known ones"
    )
    assert model.sample(3, given={"age": None, "area": 50, "town": "Bari"})["age"].isna().all()
    assert set(model.sample(3, given={"town": "Oslo"})["town"]) == {"Oslo"}


def test_numbers_far_outside_of_training_are_told_and_kept_in_reach(model):
    told = []
    model.voice.note = told.append
    new = houses(3, seed=1)
    new = new.assign(area=[50.0, 1e6, 1e12], age=30, town="Bari")
    found = model.predict(new)
    assert any("2 rows with 'area' outside of" in note for note in told)
    assert found["price_mean"][1] == found["price_mean"][2]
    assert np.isfinite(found["price_q95"]).all()


def test_a_new_category_of_a_modelled_column_has_no_density(tmp_path):
    table = houses().drop(columns=["id"])
    run = tmp_path / "run"
    model = caudal.train("nsf", table, target="town", out=run, **SMALL)
    told = []
    model.voice.note = told.append
    new = houses(6, seed=1)
    new.loc[1, "town"] = "Oslo"
    scores = model.log_prob(new)
    assert np.isneginf(scores[1])
    assert np.isfinite(scores.drop(1)).all()
    assert told == [
        "1 row with a category of 'town' that training has not seen, such as 'Oslo', whose "
        "log_prob is -inf"
    ]
    assert model.evaluate(new).rows_outside == 1
    (line,) = model.explain(new, rows=(2,)).to_dict("records")
    assert line["surprise"] == np.inf
    assert line["value"] == "(not seen in training)"
    assert json.loads((run / "eval.json").read_text())["rows_outside"] == 0
    model.config["strict"] = True
    with pytest.raises(InputError, match="row 2, column 'town': unknown category 'Oslo'"):
        model.log_prob(new)


# --- predictions ---------------------------------------------------------------------------------


def test_predictions_stand_beside_the_rows(model):
    new = houses(8, seed=1).drop(columns=["price", "id"])
    new.index = range(3, 11)
    made = model.predict(new, levels=(0.1, 0.5, 0.9))
    pd.testing.assert_frame_equal(made[new.columns], new)
    assert list(made.columns[-4:]) == ["price_mean", "price_q10", "price_q50", "price_q90"]
    levels = made[["price_q10", "price_q50", "price_q90"]].to_numpy()
    assert (np.diff(levels, axis=1) > 0).all()
    np.testing.assert_allclose(levels, model.quantiles(new, [0.1, 0.5, 0.9]), atol=0.006)
    with pytest.raises(InputError, match="`levels` 1: levels lie above 0 and below 1"):
        model.predict(new, levels=(1,))


def test_quantiles_are_those_of_many_draws(model):
    given = {"area": 100, "age": 20, "town": "Rome"}
    drawn = model.sample(20_000, given=given)["price"]
    row = pd.DataFrame([given])
    levels = [0.05, 0.5, 0.95]
    found = model.quantiles(row, levels)[0]
    shares = [(drawn < value).mean() for value in found]
    np.testing.assert_allclose(shares, levels, atol=0.012)
    assert model.predict(row)["price_mean"][0] == pytest.approx(drawn.mean(), rel=0.01)


def test_probabilities_of_classes_are_exact(tmp_path, capsys):
    table = houses().drop(columns=["id"])
    table.to_csv(tmp_path / "houses.csv", index=False)
    run = tmp_path / "run"
    small = ["--steps", "20", "--size", "small", "--no-report", "--out", run]
    data = ["--data", tmp_path / "houses.csv"]
    assert command("train", "nsf", *data, "--target", "town", *small) == 0
    table.head(5).drop(columns="town").to_csv(tmp_path / "new.csv", index=False)
    capsys.readouterr()
    new, out = tmp_path / "new.csv", tmp_path / "out.csv"
    assert command("predict", run, "--data", new, "--out", out) == 0
    assert "predictions of 'town' in 5 rows" in capsys.readouterr().out
    made = pd.read_csv(out)
    shares = made[["town_p_Bari", "town_p_Pisa", "town_p_Rome"]].to_numpy()
    np.testing.assert_allclose(shares.sum(1), 1)
    np.testing.assert_allclose(made["town_p"], shares.max(1))
    assert (out.read_text().splitlines()[1]).startswith(new.read_text().splitlines()[1])
    model = caudal.load(run)
    given = dict(made.loc[0, ["price", "area", "age"]])
    drawn = model.sample(20_000, given=given)["town"].to_numpy()
    rates = [(drawn == town).mean() for town in ("Bari", "Pisa", "Rome")]
    np.testing.assert_allclose(rates, shares[0], atol=0.02)


def test_a_run_without_a_target_predicts_nothing():
    model = caudal.train("nsf", houses()[["price", "area"]], **SMALL)
    with pytest.raises(InputError, match="has no target to predict: train one, as with `target`"):
        model.predict(houses())


# --- the evaluation ------------------------------------------------------------------------------


def test_an_evaluation_measures_predictions_beside_other_models(model):
    result = model.evaluate()
    told = result.to_dict()["target"]
    assert told["column"] == "price"
    names = ["flow", "training values alone", "linear model", "boosted trees"]
    assert list(told["models"]) == names
    for measures in told["models"].values():
        assert 0 < measures["crps"] < measures["rmse"]
        assert measures["width_50"] < measures["width_90"]
    linear, alone = (told["models"][name] for name in names[2:0:-1])
    assert linear["crps"] < 0.3 * alone["crps"]
    assert 0.85 < linear["coverage_90"] <= 1
    words = str(result)
    assert "By the CRPS, the flow is " in words
    assert "predictions of 'price'" in words
    assert json.dumps(told)


def test_a_linear_model_of_many_rare_levels_is_not_certain():
    """Weights of 200 levels fit 400 rows nearly exactly, and new ones not at all."""
    rng = np.random.default_rng(0)
    levels = np.r_[np.arange(200), rng.integers(0, 200, 300)].astype(str)
    data = open_data({"y": rng.normal(size=500), "street": levels}, target="y")
    flow = dress_table(NSF(layers=0), data.schema)
    caudal.initialize(flow, data.train.x, data.train.context)
    models = [m.fit(flow, data.train, data.schema) for m in (Linear, Unconditional)]
    linear, alone = (m.log_prob(next(data.test.items()), 0).mean() for m in models)
    assert linear > alone - 0.2


def test_the_crps_is_that_of_a_normal_in_closed_form():
    z = torch.special.ndtri((torch.arange(2000).double() + 0.5) / 2000).numpy()
    for x in (-2.0, 0.0, 0.7):
        phi, below = np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), 0.5 * (1 + math.erf(x / 2**0.5))
        exact = x * (2 * below - 1) + 2 * phi - 1 / np.sqrt(np.pi)
        assert crps(z[None], np.array([x]))[0] == pytest.approx(exact, abs=1e-3)


@pytest.mark.usefixtures("drawn")
def test_the_page_tells_and_draws_them(tmp_path):
    options = {**SMALL, "steps": 5, "report": True}
    caudal.train("nsf", houses(), target="town", out=tmp_path / "run", **options)
    names = {path.stem for path in (tmp_path / "run" / "pictures").glob("*.png")}
    assert {"calibration", "classes", "examples"} <= names
    assert "Predictions of &#39;town&#39;" in (tmp_path / "run" / "report.html").read_text()


@pytest.mark.usefixtures("drawn")
def test_predictions_of_numbers_are_drawn(model):
    predictions = model.evaluate().target
    with house_style():
        drawn = {name: figure for name, _, _, figure in draw_predictions(model.flow, predictions)}
    assert list(drawn) == ["predictions", "calibration", "examples"]
    bands = drawn["predictions"].axes
    assert [axes.get_title(loc="left") for axes in bands][0] == "flow"
    assert len(drawn["calibration"].axes[0].lines) == 1 + len(predictions.judged)
    assert len(drawn["examples"].axes) == EXAMPLES


def test_the_log_prob_of_a_class_is_exact():
    table = houses().drop(columns=["id", "country"])
    model = caudal.train("nsf", table, target="town", **SMALL)
    x, context = model.schema.encode(table)
    flow = model.flow
    assert flow.kind == "exact"
    assert not flow.noisy
    log_prob = flow.log_prob(x, context)
    shares = masses(flow, torch.arange(4.0), context)
    own = shares.gather(1, x.long())[:, 0].log()
    torch.testing.assert_close(log_prob.double(), own, atol=1e-5, rtol=0)
    noisy = [flow.continuous().log_prob(flow.lift(x)[0], context) for _ in range(50)]
    assert torch.stack(noisy).mean() < log_prob.mean()  # the bound that noise gives
    (-log_prob.mean()).backward()
    assert all(p.grad.isfinite().all() for p in flow.parameters() if p.grad is not None)


def test_the_mass_between_two_numbers_keeps_its_digits_in_both_tails():
    low = torch.tensor([-30.0, -12.0, -0.1, 11.0, 3.0])
    high = torch.tensor([-12.0, -11.0, 0.1, 12.0, 30.0])
    found = log_between(low, high)
    expected = torch.special.log_ndtr(torch.tensor([-12.0, -11.0, 0.0, -11.0, -3.0]))
    expected[2] = math.log(math.erf(0.1 / 2**0.5))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_linear_model_of_hardly_any_rows(rows):
    flow = caudal.recipes.MADE(hidden=(4,)).build((1,), context_shape=(2,))
    x, context = torch.full((rows, 1), 5.0), torch.randn(rows, 2)
    fitted = Linear.fit(flow, Rows(x, context), None)
    assert fitted.quantiles(Batch(x, context), [0.5]) == pytest.approx(5.0)
