"""Steps and missing values: `lower` undoes `lift` exactly, and the bound is a bound."""

import math

import pytest
import torch

from caudal import Chain, Flow, initialize
from caudal.base import Normal
from caudal.bijections import Standardise, Support
from caudal.dequantization import TableDequantization

NONE, INF = math.nan, math.inf


def table():
    """Real, integer >= 0, category of 3, rounded, positive with gaps, integer with gaps."""
    step = torch.tensor([0.0, 1.0, 1.0, 0.01, 0.0, 1.0])
    missing = torch.tensor([False, False, False, False, True, True])
    low = torch.tensor([-INF, 0.0, 0.0, -INF, 0.0, -INF])
    high = torch.tensor([INF, INF, 3.0, INF, INF, INF])
    rows = torch.tensor(
        [
            [0.3, 4, 2, 0.23, 1.5, -4],
            [-1.2, 0, 0, -1.07, NONE, 7],
            [9.9, 123456, 1, 88.88, 3e-4, NONE],
            [0.0, 1, 2, 0.0, NONE, NONE],
        ]
    )
    return TableDequantization(step, missing, low, high), rows


def test_what_is_lifted_can_be_lowered():
    dequantization, rows = table()
    dequantization.observe(rows)
    for _ in range(200):
        y, log_q = dequantization.lift(rows)
        assert y.shape == (4, 8)
        assert y.isfinite().all()
        assert log_q.isfinite().all()
        torch.testing.assert_close(
            dequantization.lower(y), rows, equal_nan=True, atol=1e-5, rtol=1e-6
        )
        assert (y[:, 4] > 0).all()  # a filled gap stays in its column's support


def test_the_lift_is_seeded():
    dequantization, rows = table()
    draws = [dequantization.lift(rows, torch.Generator().manual_seed(1))[0] for _ in range(2)]
    assert torch.equal(*draws)


def test_the_bound_of_an_integer_never_exceeds_its_log_mass():
    """x = floor(y), y ~ N(3, 2^2): the mean of the bound stays below log P(x), and near it."""
    dequantization = TableDequantization(
        torch.ones(1), torch.tensor([False]), torch.tensor([-INF]), torch.tensor([INF])
    )
    flow = Flow(Chain([Standardise((1,))]), Normal((1,)), dequantization=dequantization)
    flow.bijection.parts[0].mean.fill_(3.0)
    flow.bijection.parts[0].std.fill_(2.0)
    x = torch.arange(-2.0, 9.0)[:, None]
    normal = torch.distributions.Normal(3.0, 2.0)
    mass = (normal.cdf(x + 1) - normal.cdf(x)).log()[:, 0]
    bound = flow.log_prob(x.repeat(4000, 1)).view(4000, -1).mean(0)
    assert flow.kind == "lower bound"
    assert (bound <= mass + 0.01).all()
    assert (bound >= mass - 0.1).all()
    sample = flow.sample(100)
    assert torch.equal(sample, sample.floor())


def test_a_gap_costs_its_own_log_probability_and_no_more():
    """A flow that knows the fill draws gaps for free: log p(row) = log P(gap) + the rest."""
    missing, low, high = torch.tensor([True]), torch.tensor([-INF]), torch.tensor([INF])
    dequantization = TableDequantization(torch.zeros(1), missing, low, high, fillers="normal")
    dequantization.fill_mean.fill_(2.0)
    dequantization.fill_std.fill_(3.0)
    standardise = Standardise((2,))
    flow = Flow(Chain([standardise]), Normal((2,)), dequantization=dequantization)
    standardise.mean.copy_(torch.tensor([2.0, 0.5]))
    standardise.std.copy_(torch.tensor([3.0, 0.5]))
    rows = torch.full((20_000, 1), NONE)
    told = flow.log_prob(rows)
    flags = torch.linspace(1, 2, 10_001)
    truth = torch.distributions.Normal(0.5, 0.5).log_prob(flags).mean()
    assert told.mean().item() == pytest.approx(truth.item(), abs=0.03)


def test_gaps_are_filled_from_the_values_of_their_own_column():
    """Else a flow that takes a filler for a value draws values that no row has."""
    torch.manual_seed(0)
    missing, low, high = (
        torch.tensor([True, False]),
        torch.tensor([0.0, -INF]),
        torch.full((2,), INF),
    )
    dequantization = TableDequantization(torch.zeros(2), missing, low, high)
    values = torch.stack([torch.rand(4000).sqrt() * 80, torch.randn(4000)], 1)
    dequantization.observe(values.where(torch.rand(4000, 1) > 0.3, torch.tensor([NONE, 0.0])))
    rows = torch.stack([torch.full((4000,), NONE), torch.randn(4000)], 1)
    y, log_q = dequantization.lift(rows)
    assert 0 < y[:, 0].min() < 3
    assert 79 < y[:, 0].max() < 85
    assert y[:, 0].mean().item() == pytest.approx(80 * 2 / 3, abs=1)
    truth = (2 * y[:, 0] / 80**2).log()  # of the density 2 y / 80^2
    assert (log_q - truth)[y[:, 0] < 80].mean().item() == pytest.approx(0.0, abs=0.02)


def test_a_table_flow_is_fitted_to_its_rows():
    dequantization, _ = table()
    n = 4000
    rows = torch.stack(
        [
            torch.randn(n),
            torch.poisson(torch.full((n,), 3.0)),
            torch.randint(3, (n,)).float(),
            (torch.randn(n) * 100).round() / 100,
            torch.randn(n).exp().where(torch.rand(n) > 0.3, NONE),
            torch.randint(-5, 5, (n,)).float().where(torch.rand(n) > 0.5, NONE),
        ],
        1,
    )
    low = torch.tensor([-INF, 0.0, 0.0, -INF, 0.0, -INF, 0.0, 0.0])
    high = torch.tensor([INF, INF, 3.0, INF, INF, INF, 2.0, 2.0])
    flow = Flow(
        Chain([Standardise((8,)), Support(low, high)]), Normal((8,)), dequantization=dequantization
    )
    initialize(flow, rows)
    assert flow.event_shape == (6,)
    z = flow.encode(rows)
    torch.testing.assert_close(z.mean(0), torch.zeros(8), atol=0.1, rtol=0)
    torch.testing.assert_close(z.std(0), torch.ones(8), atol=0.1, rtol=0)
    x = flow.sample(500)
    assert x.shape == (500, 6)
    assert set(x[:, 2].unique().tolist()) <= {0.0, 1.0, 2.0}
    assert (x[:, 1] >= 0).all()
    assert 0.1 < x[:, 4].isnan().float().mean() < 0.6
    assert flow.log_prob(x).isfinite().all()


def lattices():
    """From 2 in ones, from 0.05 in tenths, tenths anywhere, a real one."""
    step = torch.tensor([1.0, 0.1, 0.1, 0.0])
    low = torch.tensor([2.0, 0.05, -INF, -INF])
    missing = torch.tensor([True, False, False, False])
    return TableDequantization(step, missing, low, torch.full((4,), INF))


def test_a_value_between_the_points_of_its_lattice_has_density_zero():
    rows = torch.tensor(
        [
            [3, 0.35, 0.3, 0.123],
            [3.5, 0.35, 0.3, 0],
            [3, 0.3, 0.3, 0],
            [3, 0.35, 0.35, 0],
            [NONE, 0.35, 7000.1, 1],
        ]
    )
    flow = Flow(Chain([Standardise((5,))]), Normal((5,)), dequantization=lattices())
    assert flow.log_prob(rows).isfinite().tolist() == [True, False, False, False, True]


def test_decimals_have_a_density_also_where_their_probabilities_are_exact():
    """A single column scores as it would beside others: so much a unit, and not a value."""
    step, none = torch.tensor([0.5]), torch.tensor([False])
    few = TableDequantization(step, none, torch.zeros(1), torch.full((1,), 5.0))
    flow = Flow(Chain([Standardise((1,))]), Normal((1,)), dequantization=few)
    assert flow.kind == "exact"
    densities = flow.log_prob(torch.arange(10)[:, None] * step).exp()
    assert float(densities.sum() * step) == pytest.approx(1.0)


def test_a_lattice_is_counted_from_its_first_point():
    dequantization, rows = lattices(), torch.tensor([[2.0, 0.05, -0.7, 1.0], [9, 99.95, 3.3, 2]])
    for _ in range(100):
        y, _ = dequantization.lift(rows)
        torch.testing.assert_close(dequantization.lower(y), rows, atol=1e-5, rtol=1e-6)
