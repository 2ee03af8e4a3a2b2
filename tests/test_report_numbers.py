"""The numbers of the report against closed forms."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from caudal.data import Batch, Column, Rows, Summary, TableSchema
from caudal.errors import NumericalError
from caudal.modalities.table.preview import _cells
from caudal.modality import assemble
from caudal.numerics import Repeats
from caudal.recipes import NICE
from caudal.report import (
    Evaluation,
    Gaussian,
    evaluate,
    load_baseline,
    log_prob_items,
    number,
    plus_minus,
    save_baseline,
)
from caudal.report.items import row_noise
from caudal.report.numbers import span
from caudal.report.table.comparison import Comparison, distances
from caudal.report.table.pictures import rank_correlation
from caudal.report.two_sample import by_chance

REALS = (Column("a", "real"), Column("b", "real"), Column("c", "real"))


def small_flow(schema):
    return assemble(NICE(layers=2, hidden=(4,)), schema).eval()


def test_gaussian_of_far_and_unequal_columns():
    mix = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1e-3, 0.0], [0.0, 0.0, 1e4]])
    x = torch.randn(3000, 3) @ mix + torch.tensor([500.0, -0.1, 3e5])
    gaussian = Gaussian.fit(small_flow(TableSchema(REALS)), Rows(x))
    normal = torch.distributions.MultivariateNormal(x.double().mean(0), x.double().T.cov())
    torch.testing.assert_close(
        gaussian.log_density(x), normal.log_prob(x.double()), rtol=1e-3, atol=1e-2
    )
    assert "singular" not in gaussian.note


def test_gaussian_given_context_is_a_linear_regression():
    context = torch.stack([torch.randn(2000), torch.randint(3, (2000,)).float()], 1)
    levels = torch.tensor([0.0, 5.0, -3.0])[context[:, 1].long()]
    x = (2 * context[:, :1] + levels[:, None]) + 0.1 * torch.randn(2000, 1)
    kinds = (Column("age", "real"), Column("city", "categorical", 0, 2, 1, ("A", "B", "C")))
    flow = small_flow(TableSchema((Column("y", "real"),), kinds))
    gaussian = Gaussian.fit(flow, Rows(x, context))
    mean = float(gaussian.log_density(x, flow.embed_linear(context)).mean())
    ones = torch.nn.functional.one_hot(context[:, 1].long()).double()
    inputs = torch.cat([context[:, :1].double(), ones], 1)
    residual = x.double() - inputs @ torch.linalg.lstsq(inputs, x.double()).solution
    expected = -0.5 * (math.log(2 * math.pi) + 1) - 0.5 * float(residual.square().mean().log())
    assert mean == pytest.approx(expected, abs=1e-6)
    assert "linear in the context" in gaussian.note


def test_a_singular_covariance_is_regularised_and_said():
    x = torch.randn(500, 2)
    x = torch.cat([x, x[:, :1] + x[:, 1:]], 1).double().float()
    x[:, 2] = x[:, 0]
    gaussian = Gaussian.fit(small_flow(TableSchema(REALS)), Rows(x))
    assert "singular" in gaussian.note
    assert gaussian.log_density(x).isfinite().all()


def test_gaussian_is_saved_whole(tmp_path):
    gaussian = Gaussian.fit(small_flow(TableSchema(REALS)), Rows(torch.randn(50, 3)))
    save_baseline(tmp_path / "g.safetensors", gaussian)
    loaded = load_baseline(tmp_path / "g.safetensors", "table")
    assert loaded.note == gaussian.note
    assert torch.equal(loaded.factor, gaussian.factor)


def test_both_bounds_use_the_same_noise():
    """A Gaussian scored beside itself gains nothing, whatever noise was drawn."""
    schema = TableSchema((Column("k", "integer", step=1.0), Column("m", "real", missing=True)))
    flow = small_flow(schema)
    x = torch.stack([torch.randint(9, (300,)).float(), torch.randn(300)], 1)
    x[:40, 1] = torch.nan
    gaussian = Gaussian.fit(flow, Rows(x, gaps=True))
    result = evaluate(flow, Rows(x, gaps=True), gaussian, schema)
    y, log_q = flow.lift(x, row_noise(flow, 0, repeat=Repeats().of(x)))
    own = gaussian.log_density(y) - log_q
    assert result.baseline == pytest.approx(float(own.mean()), abs=1e-5)
    assert result.kind == "lower bound"


def test_nan_log_prob_raises():
    schema = TableSchema(REALS)
    flow = small_flow(schema)
    with torch.no_grad():
        next(iter(flow.parameters())).fill_(torch.nan)
    with pytest.raises(NumericalError, match="not a number"):
        log_prob_items(flow, Batch(torch.zeros(2, 3), None))


@pytest.mark.parametrize("limit", [None, 1, 10, 99, 100, 101, 1000])
def test_some_items(limit):
    source = Rows(torch.arange(100.0)[:, None])
    x = torch.cat([batch.x for batch in source.items(limit, rows=7)])
    assert len(x) == min(limit or 100, 100)
    assert len(x.unique()) == len(x)


def test_json_has_no_infinity():
    result = Evaluation(-math.inf, -1.0, math.nan, log_prob=-math.inf, rows=2, rows_outside=1)
    plain = result.to_dict()
    assert plain["log_prob"] is plain["two_se"] is None
    assert plain["log_prob_inside"] == -1.0
    assert "bits_per_dim" not in plain


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-1234.5678, "-1,234.568"),
        (-1.23456e59, "-1.23456e+59"),
        (1e6, "1e+06"),
        (-math.inf, "−∞"),
        (math.nan, ""),
        (None, ""),
    ],
)
def test_number(value, words):
    assert number(value) == words


def test_plus_minus_says_only_what_is_known():
    assert plus_minus(1.0, 0.5) == "1.000 ± 0.500"
    assert plus_minus(1.0, math.nan) == plus_minus(1.0, None) == "1.000"
    assert plus_minus(-math.inf, 0.5) == "−∞"
    assert plus_minus(None, None) == ""


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        ((1.6e9, 1.600005e9, 1.600014e9), "1600000000 .. 1600005000 .. 1600014000"),
        ((0.0, 1.5, 1e7), "0 .. 1.5 .. 1e+07"),
        ((3.0, 3.0, 3.0), "3 .. 3 .. 3"),
    ],
)
def test_span_tells_different_ends_apart(ends, words):
    low, median, high = ends
    summary = Summary("t", "event", "real", "guessed", "", None, 0.0)
    assert span(replace(summary, low=low, median=median, high=high)) == words


def test_span_of_categories():
    top = (("A", 0.6), ("B", 0.4))
    summary = Summary("t", "event", "categorical", "guessed", "", None, 0.0, top=top)
    assert span(summary) == "A 60%, B 40%"


def test_the_preview_shows_both_ends_of_times_whole():
    words = ("2024-03-01 00:00:00", "2024-03-02 09:10:00", "2024-03-03 18:30:00")
    summary = Summary("t", "event", "datetime", "guessed", "", 600, 0.0, unit="s", words=words)
    assert _cells(summary)[3] == f"{words[0]} .. {words[-1]}"


def compared(data, samples, *columns):
    return Comparison(
        TableSchema(columns), np.array(data, float), np.array(samples, float), None, ""
    )


def test_distances():
    city = Column("city", "categorical", 0, 2, 1, ("A", "B", "C"))
    data = [[0, 0], [1, 0], [2, 1], [3, 1]]
    samples = [[2, 0], [3, 1], [4, 2], [5, 2]]
    found = {d.name: d for d in distances(compared(data, samples, Column("n", "real"), city))}
    assert (found["n"].measure, found["n"].value) == ("KS", 0.5)
    assert (found["city"].measure, found["city"].value) == ("TV", 0.5)


def test_distances_count_gaps_apart():
    column = Column("n", "real", missing=True)
    found = distances(compared([[1], [np.nan]], [[1], [1]], column))
    assert (found[0].value, found[0].missing) == (0.0, (0.5, 0.0))


def test_chance():
    rng = np.random.default_rng(0)
    draws = [
        distances(compared(rng.normal(size=(500, 1)), rng.normal(size=(500, 1)), REALS[0]))[
            0
        ].value
        for _ in range(200)
    ]
    assert np.mean(np.array(draws) > by_chance(500)) == pytest.approx(0.05, abs=0.04)


def test_rank_correlation():
    from scipy.stats import spearmanr

    rows = np.random.default_rng(0).integers(0, 9, (200, 3)).astype(float)
    rows[:, 1] += rows[:, 0] ** 2
    np.testing.assert_allclose(rank_correlation(rows), spearmanr(rows).statistic, atol=1e-12)
    rows[::7, 2] = np.nan
    assert np.isfinite(rank_correlation(rows)).all()
