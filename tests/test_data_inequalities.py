"""Columns that are never below others: found, modelled as differences, and kept in samples."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

import caudal
from caudal.bijections import Differences
from caudal.data import TableSchema, open_data
from caudal.errors import InputError
from caudal.modalities.table.dressed import dress_table
from caudal.recipes import NSF

N = 600
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(2, N))
DAYS = RNG.integers(0, 1400, N)
TOOK = RNG.integers(0, 8, N)


def day(number):
    return (pd.Timestamp("2021-01-01") + pd.to_timedelta(number, unit="D")).strftime("%d/%m/%Y")


LOW = RNG.gamma(3, 5, N).round(1)
MEAN = (LOW + RNG.gamma(2, 2, N)).round(1)
HIGH = (MEAN + RNG.gamma(2, 3, N)).round(1)
DATES = {"ordered": day(DAYS), "shipped": day(DAYS + TOOK), "x": X}
LEVELS = {"high": HIGH, "low": LOW, "mean": MEAN}
SOME = (110 + 20 * X).round()
A, B = RNG.poisson([30, 31], (N, 2)).T

RULES = {
    "dates": (DATES, {"shipped": ("ordered",)}),
    "a chain": (LEVELS, {"mean": ("low",), "high": ("mean",)}),
    "of two": (
        {"a": A, "b": B, "most": np.maximum(A, B) + RNG.poisson(3, N)},
        {"most": ("a", "b")},
    ),
    "no steps": ({"a": X, "b": X + RNG.gamma(1, 0.2, N), "c": Y}, {"b": ("a",)}),
    "gaps above, no steps": (
        {"a": X, "b": np.where(Y > 1, np.nan, X + RNG.gamma(1, 0.2, N)), "c": Y},
        {"b": ("a",)},
    ),
    "gaps above": (
        {
            **DATES,
            "shipped": [None if g else d for d, g in zip(DATES["shipped"], X > 1, strict=True)],
        },
        {"shipped": ("ordered",)},
    ),
    "capped": (
        {"a": np.minimum(SOME, 150), "b": np.minimum(SOME + 2 * TOOK, 150), "c": Y},
        {"b": ("a",)},
    ),
    "gaps below": ({"low": np.where(X > 1, np.nan, LOW), "high": HIGH}, {}),
    "once below": ({"low": np.r_[LOW[:-1], HIGH[-1] + 5], "high": HIGH}, {}),
    "apart": ({"a": A, "b": B + 200}, {}),
    "together": ({"a": X, "b": X + 5 + 0.1 * Y}, {}),
    "far above": ({"a": 9 * X, "b": 9 * X + 2 + 5 * (1 + np.sin(9 * X / 5)) + Y**2 / 99}, {}),
    "a series": (
        {f"y{i}": y for i, y in enumerate(RNG.gamma(1, 1, (20, N)).cumsum(0).round(1))},
        {},
    ),
    "other steps": ({"low": np.floor(LOW), "high": HIGH}, {}),
    "few rows": ({"low": LOW[:40], "high": HIGH[:40]}, {}),
}


def inequalities_of(schema):
    return {rule.name: rule.sources for rule in schema.inequalities}


@pytest.mark.parametrize("name", RULES)
def test_what_is_never_below_is_found(name):
    columns, rules = RULES[name]
    data = open_data(pd.DataFrame(columns), missing="model")
    assert inequalities_of(data.schema) == rules
    assert any("never below another column" in note for note in data.notes) == bool(rules)
    assert TableSchema.from_dict(data.schema.to_dict()) == data.schema
    assert {s.name: s.above for s in data.summary if s.above} == rules


def test_an_end_that_is_given_up_is_told():
    def told(columns):
        return [n for n in open_data(pd.DataFrame(columns)).notes if "no end where" in n]

    capped = {"low": LOW, "high": np.minimum(HIGH, np.quantile(HIGH, 0.97).round(1))}
    assert [note for note in told(capped) if ": high; samples may lie beyond" in note]
    assert not told(LEVELS)
    assert not told({"high": capped["high"], "x": X})


@pytest.mark.parametrize("name", [name for name, (_, rules) in RULES.items() if rules])
def test_rows_come_back_and_densities_stay(name):
    data = open_data(pd.DataFrame(RULES[name][0]), missing="model")
    flow = dress_table(NSF(layers=1, hidden=4), data.schema)
    x = data.train.x
    caudal.initialize(flow, x)
    lifted, log_q = flow.lift(x)
    torch.testing.assert_close(flow.dequantization.lower(lifted), x, equal_nan=True)
    assert log_q.isfinite().all()
    place = data.schema.names.index(data.schema.inequalities[0].name)
    below = x[:5].clone()
    below[:, place] = x[:, place].nan_to_num(torch.inf).min() - 1
    assert flow.log_prob(below).isneginf().all()
    drawn = flow.sample(2000)
    for rule in data.schema.inequalities:
        assert not rule.is_broken(drawn.double().numpy(), data.schema.columns).any()


def test_a_density_without_steps_is_exact():
    data = open_data(pd.DataFrame(RULES["no steps"][0]))
    assert dress_table(NSF(layers=1, hidden=4), data.schema).kind == "exact"


def test_differences_and_their_jacobian():
    above = Differences([(1, [0], [0.5]), (2, [0, 1], [0.0, -1.0])], torch.zeros(3))
    x = torch.randn(4, 3).double()
    torch.testing.assert_close(above.together(above.apart(x)), x)
    jacobian = torch.autograd.functional.jacobian(lambda row: above.apart(row[None])[0], x[0])
    assert jacobian.det() == pytest.approx(1.0)


@pytest.mark.parametrize("options", [{"types": ["shipped=datetime"]}, {"target": "x"}])
def test_what_the_user_says_is_modelled_by_itself(options):
    assert not open_data(pd.DataFrame(DATES), **options).schema.inequalities


def test_strict_refuses():
    with pytest.raises(InputError, match="'shipped' is never below ordered .*: say what it is"):
        open_data(pd.DataFrame(DATES), strict=True)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("orders")
    frame = pd.DataFrame({**DATES, **LEVELS})
    frame.to_csv(path / "orders.csv", index=False)
    data = str(path / "orders.csv")
    caudal.train("nsf", data=data, layers=0, steps=1, out=path / "run", report=False)
    return caudal.load(path / "run"), frame, (path / "run" / "columns.yaml").read_text("utf-8")


def broken(frame):
    days = [pd.to_datetime(frame[name], format="%d/%m/%Y") for name in ("ordered", "shipped")]
    low, mean, high = (frame[name] for name in ("low", "mean", "high"))
    return (days[1] < days[0]) | (mean < low) | (high < mean)


def test_samples_keep_the_inequality_in_the_users_columns(model):
    model, frame, _ = model
    drawn = model.sample(2000, seed=0).to_pandas()
    assert list(drawn) == list(frame)
    assert not broken(drawn).any()


@pytest.mark.parametrize("given", [{"ordered": "05/03/2023"}, {"shipped": "05/03/2023"}])
def test_given_dates(model, given):
    """Of the joint samples, those near the date took as long as conditional ones."""
    model, *_ = model
    drawn = model.sample(400, given=given, seed=0).to_pandas()
    ((name, value),) = given.items()
    assert (drawn[name] == value).all()
    assert not broken(drawn).any()
    days = [pd.to_datetime(drawn[n], format="%d/%m/%Y") for n in ("ordered", "shipped")]
    took = (days[1] - days[0]).dt.days
    assert took.mean() == pytest.approx(TOOK.mean(), abs=0.5)
    assert took.std() == pytest.approx(TOOK.std(), rel=0.15)


def test_given_the_ends_of_a_chain(model):
    model, *_ = model
    drawn = model.sample(100, given={"low": 5.0, "high": 30.0}, seed=0).to_pandas()
    assert drawn["mean"].between(5, 30).all()
    assert drawn["mean"].nunique() > 30
    with pytest.raises(InputError, match="probability 0"):
        model.sample(5, given={"low": 30.0, "mean": 5.0})


def test_gaps_are_filled_within_the_inequality(model):
    model, frame, _ = model
    rows = frame[:40].copy()
    rows.loc[:9, "ordered"] = rows.loc[10:19, "shipped"] = None
    rows.loc[20:29, "mean"] = rows.loc[30:39, "low"] = np.nan
    filled = model.impute(rows)
    assert not broken(filled).any()
    there = rows.notna()
    assert filled[there].equals(rows[there])


def test_rows_below_are_impossible_and_told(model):
    model, frame, _ = model
    rows = frame[:20].copy()
    rows.loc[3, "shipped"] = "01/01/2020"
    scores = model.log_prob(rows)
    assert np.isneginf(scores[3])
    assert np.isfinite(scores.drop(3)).all()
    notes = model.open_all(rows, {}).notes
    assert any("row 4 breaks" in note and "never below ordered" in note for note in notes)


def test_explanations_speak_of_the_users_columns(model):
    """Both dates are surprising where one came late, and what is expected is near the other."""
    model, frame, _ = model
    rows = frame[:3].copy()
    rows.loc[1, ["ordered", "shipped"]] = day(700), day(800)
    told = model.explain(rows, rows=(2,)).set_index("column")
    assert list(told.index[:2]) in (["shipped", "ordered"], ["ordered", "shipped"])
    expected = pd.to_datetime(told["expected"][["ordered", "shipped"]], format="%d/%m/%Y")
    away = (expected - pd.Timestamp("2021-01-01")).dt.days - [800, 700]
    assert (away.abs() <= 8).all()


def test_the_conditional_of_a_lattice_is_the_sum_over_its_line(model):
    model, frame, _ = model
    row = frame[:1]
    told = model.explain(row, rows=(1,)).set_index("column")["conditional"]
    for name in ("ordered", "shipped"):
        number = DAYS[0] + (TOOK[0] if name == "shipped" else 0)
        line = pd.concat([row] * 80)
        line[name] = day(number - 40 + np.arange(80))
        scores = model.log_prob(line)
        assert told[name] == pytest.approx(scores.iloc[40] - np.logaddexp.reduce(scores), abs=0.1)


def test_columns_yaml_has_the_inequality_and_gives_it_back(model, tmp_path):
    model, frame, written = model
    assert "above:\n  - ordered" in written
    path = tmp_path / "columns.yaml"
    path.write_text(written, "utf-8")
    again = open_data(frame, types_from=str(path)).schema
    assert inequalities_of(again) == inequalities_of(model.schema)
    path.write_text("shipped: {kind: datetime, format: '%d/%m/%Y'}", "utf-8")
    assert "shipped" not in inequalities_of(open_data(frame, types_from=str(path)).schema)
    path.write_text("low: {kind: real, step: 0.1, above: high}", "utf-8")
    with pytest.raises(InputError, match="'low' is below high in some row"):
        open_data(frame, types_from=str(path))


def test_columns_that_are_above_each_other_are_refused(tmp_path):
    path = tmp_path / "columns.yaml"
    path.write_text("{a: {kind: real, above: b}, b: {kind: real, above: a}}", "utf-8")
    with pytest.raises(InputError, match="a, b: each is `above` another one"):
        open_data({"a": X, "b": X, "c": Y}, types_from=str(path))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"exclude": ["low"]}, "'low' is left out"),
        ({"context": ["low"]}, "'low' is given as context"),
        ({"context": ["high"]}, "'high' is given as context"),
        ({}, "'empty' has no values"),
    ],
)
def test_columns_that_are_not_modelled_have_no_inequality(tmp_path, options, why):
    path, above = tmp_path / "columns.yaml", "low" if options else "empty"
    path.write_text(f"high: {{kind: real, step: 0.1, above: {above}}}", "utf-8")
    frame = pd.DataFrame({**LEVELS, "empty": np.nan})
    with pytest.raises(InputError, match=why):
        open_data(frame, types_from=str(path), **options)


def test_a_file_with_half_an_inequality_is_refused():
    described = open_data(pd.DataFrame(DATES)).schema.to_dict()
    (rule,) = described["inequalities"]
    for sources, words in ([], "`sources`"), (["z"], "no column 'z'"), (["shipped"], "`above`"):
        with pytest.raises(InputError, match=words):
            TableSchema.from_dict({**described, "inequalities": [{**rule, "sources": sources}]})


def test_models_of_other_inequalities_are_not_of_the_same_rows(model):
    from caudal.modalities.table.exact import check_same_columns

    model, *_ = model
    other = dataclasses.make_dataclass("Other", ["name", "schema"])
    plain = dataclasses.replace(model.schema, inequalities=())
    with pytest.raises(InputError, match="never below others"):
        check_same_columns(other("a", plain), model)
