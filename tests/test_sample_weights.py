"""Rows that do not all count the same: as if those that count k times were there k times."""

import numpy as np
import pandas as pd
import pytest
import torch

import caudal
from caudal import InputError
from caudal.base import Normal
from caudal.bijections import ZCA, ActNorm, Correlate, Decorrelate, Gaussianise, Standardise
from caudal.bijections.weighted import Values
from caudal.data import open_data, open_rows
from caudal.data.source import Rows, as_often, effective_rows
from caudal.data.table.schema import TableSchema
from caudal.data.tensors import TensorSchema
from caudal.initialization import initialize
from caudal.report import Gaussian, evaluate
from caudal.sklearn import FlowDensity, FlowOutlier, FlowRegressor
from command_line import refused

SMALL = {"steps": 1, "layers": 1, "hidden": 4}


@pytest.fixture(scope="module")
def counted():
    """Rows (N, 2), and how often each counts, 0 to 3 times."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2100, 1)) @ [[1.0, 0.5]] + rng.normal(size=(2100, 2))
    return torch.from_numpy(x).float(), torch.from_numpy(rng.integers(0, 4, 2100)).double()


@pytest.fixture(scope="module")
def tilted():
    """A standard normal x and y = 2 x + noise, with weights exp(x): then x has the mean 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1500)
    return pd.DataFrame({"x": x, "y": 2 * x + rng.normal(size=1500), "w": np.exp(x)})


def repeated(x, weights):
    return x.repeat_interleave(weights.long(), 0)


def test_a_gaussian_of_rows_that_count_is_that_of_repeated_rows(counted):
    x, weights = (part.repeat(2, *[1] * (part.ndim - 1)) for part in counted)  # enough of them
    many = Correlate(2)
    many.observe(repeated(x, weights))
    few = Correlate(2)
    few.observe(x, weights=weights / weights.mean())
    torch.testing.assert_close(few.mean, many.mean, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(few.factor, many.factor, rtol=1e-5, atol=1e-6)


def test_correlations_are_shrunk_by_the_effective_rows():
    x = torch.randn(60_000, 20, generator=torch.Generator().manual_seed(0))
    few = Correlate(20)
    few.observe(x, weights=torch.where(torch.arange(60_000) % 999 == 0, 999.0, 0.001))
    left = few.factor - torch.diag(few.factor.diagonal())
    assert float(left.abs().max()) < 0.2


def test_marginals_of_rows_that_count_are_those_of_repeated_rows(counted):
    x, weights = counted
    x = x.exp()
    ends = torch.zeros(2), torch.full((2,), torch.inf)
    few, many, some, all_alike, plain = (Gaussianise(*ends) for _ in range(5))
    few.observe(x, weights=weights)
    many.observe(repeated(x, weights))
    grid = torch.linspace(0.1, 5, 50)[:, None].expand(-1, 2)
    shares = [torch.special.ndtr(layer.inverse(grid)[0]) for layer in (few, many)]
    assert float((shares[0] - shares[1]).abs().max()) < 0.01
    some.observe(x[:300], weights=(torch.arange(300) < 200).float())
    plain.observe(x[:200])
    assert torch.equal(some.x, plain.x)
    assert torch.equal(some.z, plain.z)
    all_alike.observe(x[:200], weights=torch.full((200,), 7.0))
    assert torch.equal(all_alike.x, plain.x)


@pytest.mark.parametrize(
    "layer", [Standardise, ActNorm, lambda _: ZCA(2), lambda _: Decorrelate(2)]
)
def test_layers_start_from_rows_as_often_as_they_count_in_any_scale(layer, counted):
    x, weights = counted
    flows = [caudal.Flow(layer((2,)), Normal((2,))) for _ in range(2)]
    initialize(flows[0], x, weights=5 * weights)
    initialize(flows[1], repeated(x, weights))
    torch.testing.assert_close(flows[0].state_dict(), flows[1].state_dict(), rtol=1e-4, atol=1e-5)


def test_validation_over_part_of_the_rows_is_a_weighted_mean():
    weights = torch.where(torch.arange(400) < 40, 1.0 + torch.arange(400), 0.0)
    rows = Rows(torch.zeros(400, 2), weights=weights)
    assert len(rows) == 40
    flow = caudal.recipes.MADE(hidden=(4,)).build((2,))
    brief = caudal.Training(steps=1, validate_rows=10)
    fitted = caudal.fit(flow, torch.randn(100, 2), rows, training=brief)
    with torch.no_grad():
        loss = -float(fitted.flow.log_prob(torch.zeros(1, 2)))
    assert fitted.best_valid == pytest.approx(loss, abs=1e-5)


def test_weights_are_of_any_scale():
    for scale in (1e-300, 1e300):
        weights = torch.tensor([1.0, 3.0], dtype=torch.float64) * scale
        assert Rows(torch.zeros(2, 1), weights=weights).weights.tolist() == [0.5, 1.5]


def test_quantiles_and_counts_of_weighted_values():
    values = Values.of(np.array([3.0, np.nan, 1.0, 2.0]), np.array([1.0, 9.0, 1.0, 2.0]))
    assert values.n == pytest.approx(16 / 6)
    assert values.mean() == pytest.approx(2.0)
    assert values.std() == pytest.approx(0.5**0.5)
    assert values.quantile(np.array([0.0, 0.5, 1.0])) == pytest.approx([1.0, 2.0, 3.0])
    assert values.below(np.array([2.0, 9.0])) / values.n == pytest.approx([0.25, 1.0])


def test_scores_of_rows_that_count_are_those_of_repeated_rows(counted):
    x, weights = counted
    flow = caudal.recipes.MADE(hidden=(4,)).build((2,))
    schema = TensorSchema.of((2,))
    results = []
    for source in (Rows(x, weights=weights), Rows(repeated(x, weights))):
        results.append(evaluate(flow, source, Gaussian.fit(flow, source), schema))
    few, many = results
    assert few.score == pytest.approx(many.score, abs=1e-5)
    assert few.gain == pytest.approx(many.gain, abs=1e-4)
    assert few.rows == int((weights > 0).sum())
    assert few.effective_rows == pytest.approx(effective_rows(weights))
    assert few.two_se > many.two_se  # copies tell nothing new
    assert "weighted (as 1,3" in few.title
    assert many.effective_rows is None


def test_rows_are_taken_as_often_as_they_count(counted):
    x, weights = counted
    source = as_often(Rows(x, weights=weights))
    assert source.weights is None
    assert float(source.x.mean()) == pytest.approx(float(repeated(x, weights).mean()), abs=0.05)
    zero = Rows(x, weights=(torch.arange(len(x)) < 700).double())
    assert torch.equal(as_often(zero).x, x[:700])
    heavy = Rows(x, weights=torch.where(torch.arange(len(x)) == 7, 1e7, 1.0))
    assert len(as_often(heavy)) <= 10_000
    plain = Rows(x)
    assert as_often(plain) is plain


def test_a_table_whose_rows_count_is_learned_so(tilted, tmp_path):
    model = caudal.train("nsf", tilted, weights="w", out=tmp_path / "run", report=False, **SMALL)
    assert model.schema.names == ("x", "y")
    drawn = model.sample(4000)
    assert drawn["x"].mean() == pytest.approx(1.0, abs=0.15)
    assert drawn["y"].mean() == pytest.approx(2.0, abs=0.3)
    assert drawn["x"].std() == pytest.approx(1.0, abs=0.15)
    evaluation = model.evaluation
    assert evaluation.effective_rows < 0.6 * evaluation.rows
    assert evaluation.score == pytest.approx(-2.84, abs=0.2)  # - log(2 pi e)
    again = caudal.load(tmp_path / "run")
    assert again.evaluate(tilted).effective_rows is not None
    assert again.evaluate(tilted[["x", "y"]]).effective_rows is None
    assert len(again.log_prob(tilted)) == len(tilted)


def test_weights_are_numbers_of_any_scale_as_people_write_them(tilted):
    rows = tilted.assign(x=tilted["x"].where(tilted.index != 4))
    tiny = rows.assign(w=1e-50 * rows["w"])
    written = rows.assign(w=(1e6 * rows["w"]).map("${:,.2f}".format))
    written.loc[4, "w"] = "n/a"  # a row that is dropped anyhow
    weights = [
        open_data(t, weights="w", missing="drop").train.weights for t in (rows, tiny, written)
    ]
    torch.testing.assert_close(weights[1], weights[0])
    torch.testing.assert_close(weights[2], weights[0])


def test_weights_are_written_alike_in_all_of_a_column():
    """`1,234` alone would be a thousand and more, as later rows and other tables have it alone."""
    rows = pd.DataFrame({"x": np.random.default_rng(0).normal(size=70_000), "w": "1,234"})
    rows.loc[:5000, "w"] = "0,5"
    data = open_data(rows, weights="w", valid=rows[60_000:])
    assert data.train.weights.unique().numpy() == pytest.approx([0.423, 1.045], abs=0.01)
    with pytest.raises(InputError, match="row 4, column 'w': 'half' is not a number"):
        open_data(rows.assign(w=rows["w"].where(rows.index != 3, "half")), weights="w")


def test_a_run_keeps_how_its_weights_are_written(tilted, tmp_path):
    """`1.234` alone would be one and a bit."""
    few = np.arange(len(tilted)) < 100
    rows, later = (
        tilted.assign(w=np.where(few, *w)) for w in (("1.234,50", "0,50"), ("1.234", "617"))
    )
    schema = TableSchema.from_dict(open_data(rows, weights="w").schema.to_dict())
    plain = tilted.assign(w=np.where(few, "0.5", "0.25"))
    for table in (later, plain):
        table.to_csv(tmp_path / "later.csv", index=False)
        for given in (table, tmp_path / "later.csv"):
            weights = open_rows(given, schema, weights="w").source.weights
            assert float(weights[few].min() / weights[~few].max()) == pytest.approx(2)
    whole = tilted.assign(w=np.where(few, "1.234.567", "617"))
    schema = open_data(whole, weights="w").schema
    assert schema.weight_format == "#.##0"
    weights = open_rows(tilted.assign(w=np.where(few, "1.5", "0.75")), schema, weights="w")
    weights = weights.source.weights
    assert float(weights[few].min() / weights[~few].max()) == pytest.approx(2)
    with pytest.raises(InputError, match="weight_format 'much' is not a format of numbers"):
        TableSchema.from_dict(schema.to_dict() | {"weight_format": "much"})


def test_rows_of_weight_0_are_told(tilted):
    schema = open_data(tilted, weights="w").schema
    items = open_rows(tilted.assign(w=tilted.index > 6), schema, weights="w")
    assert items.source.n_rows == len(tilted) - 7
    assert items.notes == ("dropped 7 rows with missing values or a weight of 0",)


def test_weights_that_are_none_are_refused_in_a_line(tilted, tmp_path, capsys):
    def refusal(weights, **more):
        with pytest.raises(InputError) as caught:
            caudal.train("nsf", tilted.assign(w=weights), weights="w", **SMALL, **more)
        return str(caught.value)

    w = tilted["w"]
    assert "row 3, column 'w': its weight is -1" in refusal(w.where(w.index != 2, -1.0))
    assert "row 3, column 'w': its weight is missing" in refusal(w.where(w.index != 2))
    assert "training rows have the weight 0" in refusal(0.0)
    assert "row 1, column 'w': 'much' is not a number" in refusal("much")
    assert "`weights` are numbers, and it holds" in refusal(pd.Timestamp("2021-01-01"))
    assert "table has no such column" in refusal(1.0, test=tilted[["x", "y"]])
    written = w.map("${:,.2f}".format)
    assert "row 3, column 'w': its weight is missing" in refusal(
        written.where(w.index != 2, "n/a")
    )
    assert "'w' is in `context` and in `weights`" in refusal(1.0, context=("w",))
    path = tmp_path / "rows.csv"
    tilted.to_csv(path, index=False)
    line = refused(capsys, "train", "nsf", "--data", path, "--weights", "weight")
    assert "--weights weight: " in line
    assert "no such column" in line


def test_estimators_take_the_weights_of_samples(tilted):
    x, w = tilted[["x", "y"]].to_numpy(), tilted["w"].to_numpy()
    flow = FlowDensity(steps=1, options={"layers": 1, "hidden": 4}).fit(x, sample_weight=w)
    drawn = flow.sample(4000)
    assert isinstance(drawn, np.ndarray)
    assert drawn[:, 0].mean() == pytest.approx(1.0, abs=0.15)
    assert flow.score(x, sample_weight=w) == pytest.approx(
        float(np.average(flow.score_samples(x), weights=w))
    )
    above = FlowDensity(steps=1, options={"layers": 1, "hidden": 4}).fit(np.exp(x))
    below = np.where(np.arange(len(x))[:, None] == 0, -1.0, np.exp(x))
    assert np.isneginf(above.score(below))
    assert np.isfinite(above.score(below, sample_weight=np.arange(len(x))))
    for wrong, words in ((-w, "Negative"), (0 * w, "zero|0 for all"), (w[:3], "shape")):
        for use in (flow.fit, flow.score):
            with pytest.raises(ValueError, match=words):
                use(x, sample_weight=wrong)
    found = FlowOutlier(steps=1, options={"layers": 1, "hidden": 4}, contamination=0.05)
    share = np.average(found.fit(x, sample_weight=w).predict(x) == -1, weights=w)
    assert share == pytest.approx(0.05, abs=0.005)
    one = np.where(x[:, 1] > 0, 1.0, 0.0)
    above = FlowRegressor(steps=1, size="small").fit(x[:, :1], x[:, 1], sample_weight=one)
    assert above.predict_quantile(x[:5, :1], 0.5).min() > 0
